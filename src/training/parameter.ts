import { elementCount, float32, WhittleError } from '../core/index.js';
import type { Tensor, TensorMap } from '../core/index.js';
import type { AdamUpdate } from './adam.js';
import type { Kernels } from './adam-kernel.js';
import type { FloatMemory, FloatRegion } from './float-memory.js';

/** Where parameters keep their numbers, and what computes on them. */
export interface ParameterSpace {
  readonly memory: FloatMemory;
  readonly kernels: Kernels;
}

/** A trained weight with its gradient and moments. In a step: `targets`, then ONNX Runtime, `collect`, `update`. */
export interface Parameter {
  readonly name: string;
  /** The weights as ONNX Runtime reads them; a view that is valid until the memory grows. */
  weights(): Tensor;
  /** Makes room for the gradients of a batch; called for every parameter before any `targets`. */
  reserve(feeds: TensorMap): void;
  /** Tensors by gradient name, into which ONNX Runtime writes. */
  targets(feeds: TensorMap): TensorMap;
  /** Brings the gradients written for `feeds` together. */
  collect(feeds: TensorMap): void;
  /** Sum of the squared elements of the collected gradient. */
  squaredNorm(): number;
  /** Moves the weights along the collected gradient and applies the mask. */
  update(step: AdamUpdate): void;
  /** Multiplies the weights by `mask` now and after each step. @throws INPUT_INVALID when the length differs. */
  setMask(mask: Float32Array): void;
}

/** Weights, moments and mask of a parameter, of which every step changes all or some elements. */
export class ParameterArrays {
  readonly #space: ParameterSpace;
  readonly #weights: FloatRegion;
  readonly #firstMoment: FloatRegion;
  readonly #secondMoment: FloatRegion;
  #mask: FloatRegion | undefined;
  readonly name: string;
  readonly dims: readonly number[];

  /** Copies `initial` in. */
  constructor(space: ParameterSpace, name: string, dims: readonly number[], initial: Float32Array) {
    this.#space = space;
    this.name = name;
    this.dims = dims;
    this.#weights = space.memory.allocate(initial.length);
    this.#firstMoment = space.memory.allocate(initial.length);
    this.#secondMoment = space.memory.allocate(initial.length);
    this.#weights.view().set(initial);
  }

  get length(): number {
    return this.#weights.length;
  }

  tensor(): Tensor {
    return float32(this.#weights.view(), this.dims);
  }

  /** Updates `bytes` from byte `offset` with the gradient at address `gradient`. */
  update(step: AdamUpdate, offset: number, gradient: number, bytes: number): void {
    const weights = this.#weights.address + offset;
    const firstMoment = this.#firstMoment.address + offset;
    const secondMoment = this.#secondMoment.address + offset;
    step({ weights, gradient, firstMoment, secondMoment }, bytes);
    if (this.#mask) this.#space.kernels.multiply(weights, this.#mask.address + offset, bytes);
  }

  setMask(mask: Float32Array): void {
    if (mask.length !== this.length)
      throw new WhittleError('INPUT_INVALID', `The mask of ${this.name} has ${mask.length} elements`, {
        field: 'mask',
        parameter: this.name,
        length: mask.length,
        allowed: this.length,
      });
    this.#mask ??= this.#space.memory.allocate(this.length);
    this.#mask.view().set(mask);
    this.#space.kernels.multiply(this.#weights.address, this.#mask.address, this.length * 4);
  }
}

/** A parameter whose whole gradient is computed in the graph under `gradientName`. */
export function denseParameter(
  space: ParameterSpace,
  arrays: ParameterArrays,
  gradientName: string,
): Parameter {
  const gradient = space.memory.allocate(arrays.length);
  const bytes = arrays.length * 4;
  return {
    name: arrays.name,
    weights: () => arrays.tensor(),
    reserve: () => undefined,
    targets: () => ({ [gradientName]: float32(gradient.view(), arrays.dims) }),
    collect: () => undefined,
    squaredNorm: () => space.kernels.sumOfSquares(gradient.address, bytes),
    update: (step) => {
      arrays.update(step, 0, gradient.address, bytes);
    },
    setMask: (mask) => {
      arrays.setMask(mask);
    },
  };
}

/** Elements in one row of a table. */
export function rowLength(dims: readonly number[]): number {
  return elementCount(dims.slice(1));
}

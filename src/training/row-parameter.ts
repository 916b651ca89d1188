import { elementCount, float32, must, WhittleError } from '../core/index.js';
import type { Tensor, TensorMap } from '../core/index.js';
import type { AdamUpdate } from './adam.js';
import type { RowGradient } from './backward.js';
import { fedValue } from './feed-check.js';
import type { FloatRegion } from './float-memory.js';
import { rowLength } from './parameter.js';
import type { Parameter, ParameterArrays, ParameterSpace } from './parameter.js';

const UNTOUCHED = -1;

/**
 * A table of which a step moves only the rows that the batch reads (lazy Adam: other rows keep weights and moments).
 * Every Gather on the table gives the gradients of the rows it read; those of one row are summed onto the first.
 */
export class RowParameter implements Parameter {
  readonly #space: ParameterSpace;
  readonly #arrays: ParameterArrays;
  readonly #parts: readonly { readonly gradient: RowGradient; region: FloatRegion }[];
  readonly #rowBytes: number;
  /** By row: address of its gradient in this step, or {@link UNTOUCHED}. */
  readonly #slots: Float64Array;
  /** Rows of this step, in order of first use. */
  #touched: number[] = [];

  constructor(space: ParameterSpace, arrays: ParameterArrays, gradients: readonly RowGradient[]) {
    this.#space = space;
    this.#arrays = arrays;
    this.#parts = gradients.map((gradient) => ({ gradient, region: space.memory.allocate(0) }));
    this.#rowBytes = rowLength(arrays.dims) * 4;
    this.#slots = new Float64Array(arrays.dims[0] ?? 0).fill(UNTOUCHED);
  }

  get name(): string {
    return this.#arrays.name;
  }

  weights(): Tensor {
    return this.#arrays.tensor();
  }

  reserve(feeds: TensorMap): void {
    for (const part of this.#parts) {
      const length = elementCount(this.#gradientDims(part.gradient, feeds));
      // At least doubled: regions are never given back, so ever larger batches must not leave many behind.
      if (part.region.length < length)
        part.region = this.#space.memory.allocate(Math.max(length, 2 * part.region.length));
    }
  }

  targets(feeds: TensorMap): TensorMap {
    const targets: Record<string, Tensor> = {};
    for (const { gradient, region } of this.#parts) {
      const dims = this.#gradientDims(gradient, feeds);
      targets[gradient.values] = float32(region.view().subarray(0, elementCount(dims)), dims);
    }
    return targets;
  }

  collect(feeds: TensorMap): void {
    for (const row of this.#touched) this.#slots[row] = UNTOUCHED;
    this.#touched = [];
    for (const { gradient, region } of this.#parts)
      this.#collectPart(fedValue(feeds, gradient.indices), region.address);
  }

  squaredNorm(): number {
    let sum = 0;
    for (const row of this.#touched) sum += this.#space.kernels.sumOfSquares(this.#slot(row), this.#rowBytes);
    return sum;
  }

  update(step: AdamUpdate): void {
    for (const row of this.#touched)
      this.#arrays.update(step, row * this.#rowBytes, this.#slot(row), this.#rowBytes);
  }

  setMask(mask: Float32Array): void {
    this.#arrays.setMask(mask);
  }

  #collectPart(indices: Tensor, address: number): void {
    const { data } = indices;
    for (let position = 0; position < data.length; position++) {
      const row = this.#rowOf(Number(data[position]));
      const source = address + position * this.#rowBytes;
      const slot = this.#slot(row);
      if (slot !== UNTOUCHED) this.#space.kernels.add(slot, source, this.#rowBytes);
      else {
        this.#slots[row] = source;
        this.#touched.push(row);
      }
    }
  }

  #slot(row: number): number {
    return must(this.#slots[row], 'slot of a row');
  }

  /** Gather counts negative indices from the end. */
  #rowOf(index: number): number {
    const row = index < 0 ? index + this.#slots.length : index;
    if (row >= 0 && row < this.#slots.length) return row;
    throw new WhittleError('INPUT_INVALID', `Row ${index} is outside table ${this.name}`, {
      field: this.name,
      value: index,
      allowed: `-${this.#slots.length} to ${this.#slots.length - 1}`,
    });
  }

  #gradientDims(gradient: RowGradient, feeds: TensorMap): readonly number[] {
    return [...fedValue(feeds, gradient.indices).dims, ...this.#arrays.dims.slice(1)];
  }
}

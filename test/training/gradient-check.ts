import { createRandom, elementCount, float32, int64, must } from '../../src/core/index.js';
import type { Random, Session, Tensor, TensorMap } from '../../src/core/index.js';
import { encodeModel, GraphBuilder, probeShapes, tensorOf } from '../../src/onnx/index.js';
import type { Model, Ops } from '../../src/onnx/index.js';
import { openSession } from '../../src/runtime/index.js';
import { backward } from '../../src/training/backward.js';
import type { BackwardResult } from '../../src/training/backward.js';
import { toDifferentiable } from '../../src/training/differentiable.js';
import { tensorToFloat64, toFloat64 } from './float64.js';

/** What a case writes its graph with. Values are uniform in ±scale from a fixed seed. */
export class Sketch {
  readonly builder: GraphBuilder;
  readonly op: Ops;
  readonly parameters: string[] = [];
  readonly random: Random = createRandom(20_231);
  readonly #feeds: ((batch: number) => readonly [string, Tensor])[] = [];

  constructor(opset?: number) {
    this.builder = new GraphBuilder(opset === undefined ? {} : { opset });
    this.op = this.builder.op;
  }

  parameter(name: string, dims: readonly number[], scale = 0.5): string {
    this.parameters.push(name);
    return this.builder.initializer(name, this.uniform(dims, scale));
  }

  /** An input whose first dimension is the batch, unless `dims` says where 'B' is. */
  input(name: string, dims: readonly (number | string)[], scale = 1): string {
    this.#feeds.push((batch) => [name, this.uniform(sized(dims, batch), scale)]);
    return this.builder.input(name, 'float32', dims);
  }

  indices(name: string, dims: readonly (number | string)[], limit: number): string {
    this.#feeds.push((batch) => {
      const shape = sized(dims, batch);
      const values = Array.from({ length: elementCount(shape) }, () => this.random.integer(limit));
      return [name, int64(values, shape)];
    });
    return this.builder.input(name, 'int64', dims);
  }

  feeds(batch: number): TensorMap {
    return Object.fromEntries(this.#feeds.map((feed) => feed(batch)));
  }

  uniform(dims: readonly number[], scale: number): Tensor {
    const draw = (): number => scale * (2 * this.random.uniform() - 1);
    return float32(Float32Array.from({ length: elementCount(dims) }, draw), dims);
  }
}

function sized(dims: readonly (number | string)[], batch: number): number[] {
  return dims.map((dim) => (typeof dim === 'string' ? batch : dim));
}

export interface CheckOptions {
  readonly sparse?: readonly string[];
  readonly stopGradients?: readonly string[];
  readonly opset?: number;
  /** Where an operator has no double kernel: difference along the gradient instead, in float32. */
  readonly single?: boolean;
}

/** Operators of every forward graph checked so far. */
export const checkedOperators = new Set<string>();

/**
 * Largest difference between gradients of the graph and central differences, relative to the gradient's size. The
 * graph is run in double precision; up to 12 elements of each parameter are moved.
 */
export async function gradientError(
  write: (sketch: Sketch) => string,
  options: CheckOptions = {},
): Promise<number> {
  const sketch = new Sketch(options.opset);
  const loss = write(sketch);
  const model = sketch.builder.build();
  for (const node of model.graph.nodes) checkedOperators.add(node.op);
  const weights = Object.fromEntries(
    sketch.parameters.map((name) => [name, tensorOf(must(model.graph.initializers.get(name), name))]),
  );
  const result = await differentiate(sketch, model, weights, loss, options);
  const single = options.single ?? false;
  const retype = single ? clone : tensorToFloat64;
  const session = await openSession(encodeModel(single ? result.model : toFloat64(result.model)));
  const feeds = mapTensors({ ...sketch.feeds(4), ...weights }, retype);
  try {
    const checker = new Checker(session, feeds, loss, single);
    let worst = 0;
    for (const name of sketch.parameters) worst = Math.max(worst, await checker.error(name, result));
    return worst;
  } finally {
    await session.release();
  }
}

async function differentiate(
  sketch: Sketch,
  model: Model,
  weights: TensorMap,
  loss: string,
  options: CheckOptions,
): Promise<BackwardResult> {
  const { parameters } = sketch;
  const forward = toDifferentiable(model, parameters);
  const [small, large] = [
    { ...sketch.feeds(3), ...weights },
    { ...sketch.feeds(5), ...weights },
  ];
  const shapes = await probeShapes(forward, openSession, small, large);
  const { sparse = [], stopGradients = [] } = options;
  return backward(forward, { loss, parameters, shapes, sparse, stopGradients });
}

class Checker {
  readonly #session: Session;
  readonly #feeds: TensorMap;
  readonly #loss: string;
  readonly #single: boolean;

  constructor(session: Session, feeds: TensorMap, loss: string, single: boolean) {
    const taken = new Set(session.inputs.map((input) => input.name));
    this.#session = session;
    this.#feeds = Object.fromEntries(Object.entries(feeds).filter(([name]) => taken.has(name)));
    this.#loss = loss;
    this.#single = single;
  }

  async error(name: string, result: BackwardResult): Promise<number> {
    const gradient = await this.#gradient(name, result);
    const norm = Math.sqrt(gradient.reduce((sum, value) => sum + value * value, 0));
    // An exact zero would agree with anything that is broken off from the loss.
    if (norm === 0) throw new Error(`The gradient of ${name} is zero`);
    const size = norm / Math.sqrt(gradient.length);
    let worst = 0;
    for (const direction of directions(gradient, norm, this.#single)) {
      const expected = await this.#difference(name, direction);
      let actual = 0;
      for (const [index, share] of direction) actual += share * (gradient[index] ?? Number.NaN);
      const error = Math.abs(actual - expected) / Math.max(Math.abs(expected), size);
      // Written so that NaN counts as wrong.
      if (!(error <= worst)) worst = Number.isNaN(error) ? Infinity : error;
    }
    return worst;
  }

  async #gradient(name: string, result: BackwardResult): Promise<Float64Array> {
    const found = must(result.gradients.get(name), `gradient of ${name}`);
    const weights = must(this.#feeds[name], name);
    const outputs = await this.#session.run(this.#feeds);
    if (found.kind === 'dense') return Float64Array.from(must(outputs[found.value], name).data, Number);
    const sums = new Float64Array(weights.data.length);
    const rowLength = elementCount(weights.dims.slice(1));
    for (const { indices, values } of found.parts) {
      const rows = must(this.#feeds[indices], indices).data;
      const parts = must(outputs[values], values).data;
      for (let index = 0; index < parts.length; index++) {
        const row = Number(rows[Math.floor(index / rowLength)]);
        const at = row * rowLength + (index % rowLength);
        sums[at] = (sums[at] ?? 0) + Number(parts[index]);
      }
    }
    return sums;
  }

  async #difference(name: string, direction: Direction): Promise<number> {
    const data = must(this.#feeds[name], name).data as Float64Array;
    const step = this.#single ? 3e-3 : 1e-6;
    const kept = direction.map(([index]) => data[index] ?? 0);
    const lossAt = async (distance: number): Promise<number> => {
      for (const [position, [index, share]] of direction.entries())
        data[index] = (kept[position] ?? 0) + distance * share;
      const outputs = await this.#session.run(this.#feeds, [this.#loss]);
      return Number(must(outputs[this.#loss], 'loss').data[0]);
    };
    const [above, below] = [await lossAt(step), await lossAt(-step)];
    await lossAt(0);
    return (above - below) / (2 * step);
  }
}

type Direction = readonly (readonly [index: number, share: number])[];

function directions(gradient: Float64Array, norm: number, single: boolean): readonly Direction[] {
  if (single) return [Array.from(gradient, (value, index) => [index, value / norm] as const)];
  const count = Math.min(12, gradient.length);
  return Array.from({ length: count }, (_, position) => [
    [Math.floor((position * gradient.length) / count), 1] as const,
  ]);
}

function clone(tensor: Tensor): Tensor {
  return { ...tensor, data: tensor.data.slice() };
}

function mapTensors(tensors: TensorMap, convert: (tensor: Tensor) => Tensor): TensorMap {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, convert(tensor)]));
}

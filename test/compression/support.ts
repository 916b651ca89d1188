import { createRandom, float32, int64, must, silentLog } from '../../src/core/index.js';
import type { Random, Tensor, TensorMap } from '../../src/core/index.js';
import type { PassContext } from '../../src/compression/index.js';
import { encodeModel, GraphBuilder } from '../../src/onnx/index.js';
import type { Model } from '../../src/onnx/index.js';
import { openSession } from '../../src/runtime/index.js';

/** A context with the real runtime. */
export function contextWith(calibration: readonly TensorMap[] = []): PassContext {
  return { openSession, calibration, seed: 1, log: silentLog };
}

export function normals(random: Random, dims: readonly number[], scale = 1): Tensor {
  const count = dims.reduce((product, dim) => product * dim, 1);
  return float32(
    Float32Array.from({ length: count }, () => scale * random.normal()),
    dims,
  );
}

/** A dense weight scaled so that a layer keeps the size of what goes through it. */
export function denseWeight(random: Random, inputs: number, outputs: number): Tensor {
  return normals(random, [inputs, outputs], Math.sqrt(2 / inputs));
}

/** Feeds of the input `x`, `[rows, width]`. */
export function rowFeeds(width: number, rows: number, count = 1, seed = 5): readonly TensorMap[] {
  const random = createRandom(seed);
  return Array.from({ length: count }, () => ({ x: normals(random, [rows, width]) }));
}

export async function run(model: Model, feed: TensorMap): Promise<TensorMap> {
  const session = await openSession(encodeModel(model));
  const results = await session.run(feed);
  await session.release();
  return results;
}

/** Numbers of one output. */
export async function values(model: Model, feed: TensorMap, output = 'y'): Promise<readonly number[]> {
  return Array.from(must((await run(model, feed))[output], output).data, Number);
}

/** Root mean square of the difference over that of the reference. */
export function relativeRms(reference: readonly number[], actual: readonly number[]): number {
  const difference = reference.reduce((sum, value, i) => sum + ((actual[i] ?? NaN) - value) ** 2, 0);
  return Math.sqrt(difference / reference.reduce((sum, value) => sum + value ** 2, 0));
}

export function maxDifference(reference: readonly number[], actual: readonly number[]): number {
  return reference.reduce((most, value, i) => Math.max(most, Math.abs((actual[i] ?? NaN) - value)), 0);
}

/** The model with a hidden layer that nothing reads, on the same input. */
export function withDeadLayer(model: Model, width: number): Model {
  const builder = GraphBuilder.from(model);
  const weight = builder.initializer('dead', denseWeight(createRandom(1), width, width));
  builder.op.MatMul(builder.op.Relu(builder.op.MatMul('x', weight)), weight);
  return builder.build();
}

/** Gemm layers of the given widths with ReLU between them, from `x` to `y`. */
export function gemmMlp(widths: readonly number[], seed = 3): Model {
  const random = createRandom(seed);
  const builder = new GraphBuilder();
  let value = builder.input('x', 'float32', ['rows', widths[0] ?? 0]);
  for (let layer = 1; layer < widths.length; layer++) {
    const [inputs = 0, outputs = 0] = [widths[layer - 1], widths[layer]];
    const weight = builder.initializer(`w${layer}`, denseWeight(random, inputs, outputs));
    const bias = builder.initializer(`b${layer}`, normals(random, [outputs], 0.3));
    const last = layer === widths.length - 1;
    const [sum = ''] = builder.node('Gemm', [value, weight, bias], {}, [last ? 'y' : `h${layer}`]);
    value = last ? sum : builder.op.Relu(sum);
  }
  builder.output('y', 'float32', ['rows', widths.at(-1) ?? 0]);
  return builder.build();
}

export const RANKER = { items: 50, history: 6, width: 16 } as const;

/**
 * A DCN-v2 ranker as it is served: tables, mean over the history, features of history and candidate, two cross layers
 * and a deep branch 32-24-16, joined by Concat before the last layer.
 */
export function ranker(seed = 9): Model {
  const random = createRandom(seed);
  const builder = new GraphBuilder({ opset: 17 });
  const { op } = builder;
  const { items, history, width } = RANKER;
  const features = 3 * width;
  const dense = (input: string, name: string, inputs: number, outputs: number): string => {
    const weight = builder.initializer(`${name}.weight`, denseWeight(random, inputs, outputs));
    const bias = builder.initializer(`${name}.bias`, normals(random, [outputs], 0.1));
    const [product = ''] = builder.node('MatMul', [input, weight], {}, [`${name}.product`]);
    return must(builder.node('Add', [product, bias], {}, [name])[0], name);
  };
  const past = builder.input('history', 'int64', ['requests', history]);
  const candidate = builder.input('candidate', 'int64', ['candidates']);
  const requestIndex = builder.input('request_index', 'int64', ['candidates']);
  const table = builder.initializer('items.table', normals(random, [items, width]));
  const user = op.ReduceMean(op.Gather(table, past), { axes: [1], keepdims: 0 });
  const mine = op.Gather(user, requestIndex);
  const item = op.Gather(table, candidate);
  const start = op.Concat(mine, item, op.Mul(mine, item), { axis: 1 });
  let cross = start;
  for (const layer of [1, 2])
    cross = op.Add(op.Mul(start, dense(cross, `cross${layer}`, features, features)), cross);
  const deep1 = op.Relu(dense(start, 'deep1', features, 32));
  const deep2 = op.Relu(dense(deep1, 'deep2', 32, 24));
  const deep3 = op.Relu(dense(deep2, 'deep3', 24, 16));
  const head = builder.initializer('head.weight', denseWeight(random, features + 16, 1));
  const headBias = builder.initializer('head.bias', normals(random, [1]));
  const [score = ''] = builder.node('Gemm', [op.Concat(cross, deep3, { axis: 1 }), head, headBias], {}, [
    'head',
  ]);
  builder.node('Squeeze', [score, [1]], {}, ['score']);
  builder.output('score', 'float32', ['candidates']);
  return builder.build();
}

export function rankerFeeds(count: number, candidates = 100, seed = 4): readonly TensorMap[] {
  const random = createRandom(seed);
  const { items, history } = RANKER;
  const ids = (length: number, limit: number): number[] =>
    Array.from({ length }, () => random.integer(limit));
  return Array.from({ length: count }, () => ({
    history: int64(ids(2 * history, items), [2, history]),
    candidate: int64(ids(candidates, items)),
    request_index: int64(Array.from({ length: candidates }, (_, i) => (i < candidates / 2 ? 0 : 1))),
  }));
}

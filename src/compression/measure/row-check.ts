import { must, toWhittleError, WhittleError } from '../../core/index.js';
import type { Session, Tensor, TensorMap } from '../../core/index.js';
import type { Graph, Model, ValueInfo } from '../../onnx/index.js';
import { layerName } from '../graph/dense-layers.js';
import { generateFeed } from '../calibration/generate-feed.js';
import type { PassContext } from '../pass.js';
import { withSession } from '../calibration/session.js';

/** Enough that rows which are summed, averaged or compared with each other cannot come out right. */
const ROWS = 3;
const TOLERANCE = 1e-5;

/**
 * Runs `rowModel` on random rows one at a time and `batchModel` on all of them at once. Answers the largest difference
 * of a row in one of `outputs`, relative to the largest absolute value of that output.
 * @throws GRAPH_UNSUPPORTED where it is above 1e-5 or `batchModel` cannot run, naming the node.
 */
export async function checkRowByRow(
  rowModel: Model,
  batchModel: Model,
  rowInputs: readonly ValueInfo[],
  outputs: readonly string[],
  context: PassContext,
): Promise<number> {
  const feeds = rowFeeds(rowModel, rowInputs, context.seed);
  const batch = joinRows(feeds, rowInputs);
  const single = await runAll(rowModel, feeds, context);
  const joined = must((await runBatch(batchModel, batch, context))[0], 'outputs of the batch');
  const errors = outputs.map((name) => rowError(name, single, joined));
  const worst = Math.max(0, ...errors);
  if (worst <= TOLERANCE) return worst;
  const node = await firstMixing(rowModel, batchModel, feeds, batch, context);
  throw new WhittleError(
    'GRAPH_UNSUPPORTED',
    `Rows of a batch change each other at ${node}, so the first dimension cannot become dynamic`,
    { node, output: outputs[errors.indexOf(worst)], relativeError: worst, allowed: TOLERANCE },
  );
}

/** Feeds of one row each; inputs without rows are the same in all. */
function rowFeeds(model: Model, rowInputs: readonly ValueInfo[], seed: number): readonly TensorMap[] {
  const first = generateFeed(model, seed);
  return Array.from({ length: ROWS }, (_, row) => {
    const own = generateFeed(model, seed + row);
    return { ...first, ...Object.fromEntries(rowInputs.map(({ name }) => [name, must(own[name], name)])) };
  });
}

function joinRows(feeds: readonly TensorMap[], rowInputs: readonly ValueInfo[]): TensorMap {
  const joined = rowInputs.map(
    ({ name }) => [name, joinTensors(feeds.map((feed) => must(feed[name], name)))] as const,
  );
  return { ...feeds[0], ...Object.fromEntries(joined) };
}

function joinTensors(tensors: readonly Tensor[]): Tensor {
  const { dtype, dims, data } = must(tensors[0], 'row');
  const bytes = tensors.map((tensor) => {
    const view = tensor.data as Uint8Array;
    return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  });
  const joined = Uint8Array.from(Buffer.concat(bytes));
  const ArrayType = data.constructor as new (buffer: ArrayBuffer) => Uint8Array;
  return { dtype, dims: [tensors.length, ...dims.slice(1)], data: new ArrayType(joined.buffer) };
}

function runAll(
  model: Model,
  feeds: readonly TensorMap[],
  { openSession }: PassContext,
  optimization: 'all' | 'disabled' = 'all',
): Promise<TensorMap[]> {
  const run = async (session: Session): Promise<TensorMap[]> => {
    const results: TensorMap[] = [];
    for (const feed of feeds) results.push(await session.run(feed));
    return results;
  };
  return withSession(model, openSession, run, { optimization });
}

async function runBatch(model: Model, batch: TensorMap, context: PassContext): Promise<TensorMap[]> {
  try {
    return await runAll(model, [batch], context);
  } catch (thrown) {
    const error = toWhittleError(thrown);
    throw new WhittleError(
      'GRAPH_UNSUPPORTED',
      `The model cannot run a batch: ${error.message}`,
      error.details,
      error,
    );
  }
}

/** Largest difference relative to the output's largest value; infinite where the shape does not hold the rows. */
function rowError(name: string, single: readonly TensorMap[], joined: TensorMap): number {
  const all = must(joined[name], name);
  const rows = single.map((outputs) => must(outputs[name], name));
  const [first] = rows;
  const expected = [(first?.dims[0] ?? NaN) * rows.length, ...(first?.dims.slice(1) ?? [])];
  if (all.dims.join() !== expected.join()) return Infinity;
  const wanted = rows.flatMap((row) => Array.from(row.data, Number));
  const largest = wanted.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const difference = wanted.reduce(
    (most, value, i) => Math.max(most, Math.abs(Number(all.data[i]) - value)),
    0,
  );
  // A comparison that NaN makes false must count as a difference.
  if (!(difference >= 0)) return Infinity;
  return largest === 0 ? difference : difference / largest;
}

/** Label of the first node with an output that is not the rows' outputs one after the other. */
async function firstMixing(
  rowModel: Model,
  batchModel: Model,
  feeds: readonly TensorMap[],
  batch: TensorMap,
  context: PassContext,
): Promise<string> {
  const single = await runAll(withInnerOutputs(rowModel), feeds, context, 'disabled');
  const [joined = {}] = await runAll(withInnerOutputs(batchModel), [batch], context, 'disabled');
  const mixes = (name: string): boolean => name in joined && rowError(name, single, joined) > TOLERANCE;
  const node = rowModel.graph.nodes.find((candidate) => candidate.outputs.some(mixes));
  return node === undefined ? 'the outputs' : `${layerName(node)} (${node.op})`;
}

function withInnerOutputs(model: Model): Model {
  const { graph } = model;
  const names = graph.nodes.flatMap((node) => node.outputs).filter((name) => name !== '');
  const outputs = names.map((name): ValueInfo => ({ name, dtype: undefined, dims: undefined }));
  const all: Graph = { ...graph, outputs };
  return { ...model, graph: all };
}

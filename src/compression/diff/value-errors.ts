import type { OpenSession, Tensor, TensorMap } from '../../core/index.js';
import { removeUnused, valuesRead, withModelSession } from '../../onnx/index.js';
import type { Graph, Model, Node } from '../../onnx/index.js';
import { layerName } from '../graph/dense-layers.js';
import { addDifference, errorOf, newSums } from './difference-kernel.js';
import type { DifferenceSums, Floats, TensorError } from './difference-kernel.js';

/** A value that both models compute. */
export interface ValueError extends TensorError {
  readonly value: string;
  /** The node of the first model that computes it, and its operator. */
  readonly node: string;
  readonly op: string;
  /**
   * Decibels lost since the values before it that both models compute too, the worst of them; above 100 dB counts as 100.
   */
  readonly dropDb: number;
}

/** Values asked of one run, at first, and bytes of them that may be held. */
const FIRST_VALUES = 32;
const MAX_VALUES = 512;
const MAX_BYTES = 2 ** 27;

/** As good as exact: float32 has no more. */
const EXACT_DB = 100;

/**
 * Error of every float value that nodes of both models compute under the same name and with the same shape, in the order
 * of the first, over all feeds. Both run without ONNX Runtime's optimizations, which would fuse values away.
 */
export async function valueErrors(
  a: Model,
  b: Model,
  feeds: readonly TensorMap[],
  openSession: OpenSession,
  progress?: (done: number, total: number, detail: string) => void,
): Promise<readonly ValueError[]> {
  const names = commonValues(a.graph, b.graph);
  const errors = new Map<string, TensorError>();
  for (let start = 0, size = FIRST_VALUES; start < names.length;) {
    progress?.(start, names.length, 'values');
    const chunk = names.slice(start, start + size);
    const { sums, bytes } = await compareChunk(a, b, chunk, feeds, openSession);
    for (const [name, sum] of sums) errors.set(name, errorOf(sum));
    start += chunk.length;
    const each = Math.max(1, bytes / chunk.length);
    size = Math.min(MAX_VALUES, Math.max(1, Math.floor(MAX_BYTES / each)));
  }
  return withDrops(a.graph, errors);
}

function commonValues(a: Graph, b: Graph): string[] {
  const outputsOf = (graph: Graph): string[] =>
    graph.nodes.flatMap(({ op, outputs }) =>
      op === 'Constant' ? [] : outputs.filter((name) => name !== ''),
    );
  const inB = new Set(outputsOf(b));
  return outputsOf(a).filter((name) => inB.has(name));
}

async function compareChunk(
  a: Model,
  b: Model,
  names: readonly string[],
  feeds: readonly TensorMap[],
  openSession: OpenSession,
): Promise<{ sums: ReadonlyMap<string, DifferenceSums>; bytes: number }> {
  const sums = new Map<string, DifferenceSums>();
  const differing = new Set<string>();
  let bytes = 0;
  await withTapped(a, names, openSession, (runA) =>
    withTapped(b, names, openSession, async (runB) => {
      for (const feed of feeds) {
        const [valuesA, valuesB] = [await runA(feed), await runB(feed)];
        let held = 0;
        for (const name of names) {
          const pair = comparable(valuesA[name], valuesB[name]);
          if (pair === undefined) differing.add(name);
          else {
            held += 2 * pair[0].byteLength;
            const sum = sums.get(name) ?? newSums();
            sums.set(name, sum);
            addDifference(sum, ...pair);
          }
        }
        bytes = Math.max(bytes, held);
      }
    }),
  );
  for (const name of differing) sums.delete(name);
  return { sums, bytes };
}

/** Both as floats, where they are floats of the same shape. */
function comparable(a: Tensor | undefined, b: Tensor | undefined): readonly [Floats, Floats] | undefined {
  if (a === undefined || a.dims.join() !== b?.dims.join()) return undefined;
  return isFloats(a.data) && isFloats(b.data) ? [a.data, b.data] : undefined;
}

function isFloats(data: Tensor['data']): data is Floats {
  return data instanceof Float32Array || data instanceof Float64Array;
}

type Run = (feed: TensorMap) => Promise<TensorMap>;

/** Opens the model cut down to the named values. */
function withTapped<Result>(
  model: Model,
  names: readonly string[],
  openSession: OpenSession,
  use: (run: Run) => Promise<Result>,
): Promise<Result> {
  const known = new Map(model.graph.outputs.map((output) => [output.name, output]));
  const outputs = names.map((name) => known.get(name) ?? { name, dtype: undefined, dims: undefined });
  const tapped = { ...model, graph: removeUnused({ ...model.graph, outputs }) };
  return withModelSession(tapped, openSession, (session) => use((feed) => session.run(feed)), {
    optimization: 'disabled',
  });
}

/** Decibels with a bound on both sides, so that any two can be subtracted. */
function quality({ sqnrDb, maxAbsolute, nonFinite }: TensorError): number {
  if (sqnrDb !== null) return Math.max(0, Math.min(EXACT_DB, sqnrDb));
  return maxAbsolute === 0 && nonFinite === 0 ? EXACT_DB : 0;
}

function withDrops(graph: Graph, errors: ReadonlyMap<string, TensorError>): ValueError[] {
  // By value: how good the nearest compared values are that it depends on; its own where it is compared.
  const reached = new Map<string, number>();
  const rows: ValueError[] = [];
  for (const node of graph.nodes) {
    const before = Math.min(EXACT_DB, ...[...valuesRead(node)].map((name) => reached.get(name) ?? EXACT_DB));
    for (const value of node.outputs) {
      const error = errors.get(value);
      reached.set(value, error === undefined ? before : quality(error));
      if (error !== undefined) rows.push(rowOf(node, value, error, before));
    }
  }
  return rows;
}

function rowOf(node: Node, value: string, error: TensorError, before: number): ValueError {
  return {
    value,
    node: layerName(node),
    op: node.op,
    ...error,
    dropDb: Math.max(0, before - quality(error)),
  };
}

/** Where accuracy is lost, of values in the order of the graph. */
export interface Loss {
  /** The first value below the threshold; undefined where none is. */
  readonly first: ValueError | undefined;
  /** The values that lost the most decibels against what they are computed from, the most first. */
  readonly steepest: readonly ValueError[];
}

const STEEPEST = 10;

/** @param thresholdDb Below this a value counts as damaged. */
export function findLoss(values: readonly ValueError[], thresholdDb: number): Loss {
  const steepest = values.filter(({ dropDb }) => dropDb >= 1).sort((x, y) => y.dropDb - x.dropDb);
  return {
    first: values.find((value) => quality(value) < thresholdDb),
    steepest: steepest.slice(0, STEEPEST),
  };
}

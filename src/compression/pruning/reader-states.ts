import { must, WhittleError } from '../../core/index.js';
import type { TensorMap } from '../../core/index.js';
import { consumers } from '../../onnx/index.js';
import type { Graph, Model, Node } from '../../onnx/index.js';
import { secondMoments, withoutOnes } from '../calibration/second-moments.js';
import type { ChannelGroup } from '../graph/channel-groups.js';
import type { ChannelReader } from '../graph/channel-trace.js';
import { FIXED } from '../graph/channel-units.js';
import type { ChannelUnits, Labels } from '../graph/channel-units.js';
import { findDenseLayers } from '../graph/dense-layers.js';
import { readerWeights } from '../graph/reader-weights.js';
import type { ReaderWeights } from '../graph/reader-weights.js';
import { energyOf } from '../kernels/prune-kernel.js';
import type { PassContext } from '../pass.js';

/** The weights of the layers that read a value, as the model has them now. */
export function weightsOf(model: Model, reader: ChannelReader): ReaderWeights {
  const outputs = new Set(reader.layers.map((layer) => layer.output));
  const layers = findDenseLayers(model).layers.filter((layer) => outputs.has(layer.output));
  return readerWeights(model.graph, layers, readersIn(model.graph));
}

/** Second moment of what a reader reads, with a row and column of ones where it has a bias. */
export interface ReaderMoment {
  readonly gram: Float64Array;
  readonly width: number;
  /** `|X W|²`, what changes are relative to; 1 where it is zero. */
  readonly energy: number;
}

/** Bytes of the moments that are worked out in one run. */
const MAX_MOMENT_BYTES = 2 ** 28;

interface LastMoment {
  readonly value: string;
  readonly feeds: readonly TensorMap[];
  readonly moment: ReaderMoment;
}

// The last one of each model: what was ranked is refitted next.
const lastMoments = new WeakMap<Model, LastMoment>();

/**
 * Do not write to its matrix.
 * @throws GRAPH_UNSUPPORTED where the value is not finite on the calibration requests.
 */
export async function readerMoment(
  model: Model,
  reader: ChannelReader,
  feeds: readonly TensorMap[],
  context: PassContext,
): Promise<ReaderMoment> {
  const known = lastMoments.get(model);
  if (known?.value === reader.value && known.feeds === feeds) return known.moment;
  let result: ReaderMoment | undefined;
  await eachMoment(model, [reader], feeds, context, (_, __, moment) => (result = moment));
  const moment = must(result, 'second moment');
  lastMoments.set(model, { value: reader.value, feeds, moment });
  return moment;
}

/** Works out the moments of several readers, as many in a run as memory allows. */
export async function eachMoment(
  model: Model,
  readers: readonly ChannelReader[],
  feeds: readonly TensorMap[],
  context: PassContext,
  take: (reader: ChannelReader, weights: ReaderWeights, moment: ReaderMoment) => void,
): Promise<void> {
  for (const part of partsOf(readers)) {
    const taps = part.map(({ value, labels }) => ({ value, width: labels.length }));
    const moments = await secondMoments(model, taps, feeds, quickly(context));
    for (const reader of part) {
      const weights = weightsOf(model, reader);
      const moment = must(moments.get(reader.value), 'second moment');
      const gram = weights.biased ? moment.gram : withoutOnes(moment);
      if (!Number.isFinite(gram.reduce((sum, each) => sum + each, 0))) throw notFinite(reader.value);
      const width = weights.biased ? weights.inputs + 1 : weights.inputs;
      take(reader, weights, {
        gram,
        width,
        energy: energyOf(gram, weights.weight, width, weights.outputs) || 1,
      });
    }
  }
}

/** Large graphs take longer to optimize further than to run on calibration requests. */
export function quickly(context: PassContext): PassContext {
  return {
    ...context,
    openSession: (model, options) => context.openSession(model, { ...options, optimization: 'basic' }),
  };
}

function partsOf(readers: readonly ChannelReader[]): ChannelReader[][] {
  const parts: ChannelReader[][] = [];
  let bytes = Infinity;
  for (const reader of readers) {
    const own = 8 * (reader.labels.length + 1) ** 2;
    if (bytes + own > MAX_MOMENT_BYTES) {
      parts.push([]);
      bytes = 0;
    }
    parts.at(-1)?.push(reader);
    bytes += own;
  }
  return parts;
}

export function notFinite(value: string): WhittleError {
  const message = `${value} is not finite on the calibration requests`;
  return new WhittleError('GRAPH_UNSUPPORTED', message, { value });
}

/** Which of a group's units each index is of, by the position in `units`; -1 for none. */
export function unitIndexes(labels: Labels, units: readonly number[], of: ChannelUnits): Int32Array {
  const position = new Map(units.map((unit, index) => [unit, index]));
  return labels.map((label) => (label === FIXED ? -1 : (position.get(of.root(label)) ?? -1)));
}

/** The indexes of each unit. */
export function rowsOfUnits(unitOf: Int32Array, count: number): readonly Int32Array[] {
  const rows = Array.from({ length: count }, (): number[] => []);
  unitOf.forEach((unit, row) => rows[unit]?.push(row));
  return rows.map((each) => Int32Array.from(each));
}

/** Nodes that read a value of the graph. */
function readersIn(graph: Graph): (value: string) => readonly Node[] {
  const uses = consumers(graph);
  return (value) => uses.get(value) ?? [];
}

/** Dense layers that write the group's channels, and their columns. */
export function producersOf(model: Model, group: ChannelGroup) {
  const layers = new Map(findDenseLayers(model).layers.map((layer) => [layer.output, layer]));
  return group.sources.flatMap(({ node, labels }) => {
    const layer = layers.get(node);
    return layer === undefined ? [] : [{ layer, labels }];
  });
}

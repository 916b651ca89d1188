import { must } from '../../core/index.js';
import type { TensorMap } from '../../core/index.js';
import { constantTensor } from '../../onnx/index.js';
import type { Model } from '../../onnx/index.js';
import { eachGradientProduct } from '../calibration/gradient-products.js';
import type { ChannelGroup, ChannelGroups } from '../graph/channel-groups.js';
import type { ChannelReader } from '../graph/channel-trace.js';
import type { ChannelUnits } from '../graph/channel-units.js';
import { weightOf } from '../graph/dense-layers.js';
import { addColumnSquares, addTaylorScores, eliminationOrder, submatrix } from '../kernels/prune-kernel.js';
import type { Elimination, RemovalOrder } from '../kernels/prune-kernel.js';
import {
  addRidge,
  choleskyInPlace,
  dot,
  invertPositiveDefinite,
  multiply,
  transpose,
} from '../kernels/linear-algebra-kernel.js';
import type { PassContext } from '../pass.js';
import type { ReaderWeights } from '../graph/reader-weights.js';
import {
  eachMoment,
  notFinite,
  producersOf,
  readerMoment,
  rowsOfUnits,
  unitIndexes,
  weightsOf,
} from './reader-states.js';
import type { ReaderMoment } from './reader-states.js';

/**
 * By what units are chosen: what their loss costs once the rest is refitted; their activations times weights; the
 * change of the outputs to first order; or their weights alone.
 */
export type Importance = 'repair' | 'activation' | 'taylor' | 'magnitude';

/** What a ranking works on. */
export interface Ranking {
  readonly units: ChannelUnits;
  readonly importance: Importance;
  readonly ridge: number;
  /** Empty with `magnitude`. */
  readonly feeds: readonly TensorMap[];
  readonly context: PassContext;
  /** Score of each unit by its root, with `taylor`. */
  readonly taylor: ReadonlyMap<number, number>;
}

/**
 * The first `count` removable units of a group in the order in which they should go. Costs are shares of what all
 * units of the group are worth, or of the readers' output energy with `repair`; with `taylor` changes of the loss.
 */
export async function rankUnits(
  model: Model,
  group: ChannelGroup,
  count: number,
  ranking: Ranking,
): Promise<RemovalOrder> {
  const units = group.removable;
  if (ranking.importance === 'repair') {
    const order = eliminationOrder(await eliminations(model, group, ranking), units.length, count);
    return { ...order, units: order.units.map((index) => must(units[index], 'unit')) };
  }
  const scores = await scoresOf(model, group, ranking.importance, ranking);
  const order = units.map((_, index) => index).sort((a, b) => (scores[a] ?? 0) - (scores[b] ?? 0) || a - b);
  const chosen = order.slice(0, count);
  return {
    units: chosen.map((index) => must(units[index], 'unit')),
    costs: chosen.map((index) => scores[index] ?? 0),
  };
}

function scoresOf(
  model: Model,
  group: ChannelGroup,
  importance: Exclude<Importance, 'repair'>,
  ranking: Ranking,
): Promise<Float64Array> | Float64Array {
  switch (importance) {
    case 'activation':
      return activationScores(model, group, ranking);
    case 'taylor':
      return Float64Array.from(group.removable, (unit) => ranking.taylor.get(unit) ?? 0);
    case 'magnitude':
      return magnitudeScores(model, group, ranking.units);
  }
}

/** Bytes that choosing units may hold. */
const MAX_ELIMINATION_BYTES = 2 ** 28;

/** The readers of a group; of a stream with more than memory allows, evenly spaced ones. */
async function eliminations(model: Model, group: ChannelGroup, ranking: Ranking): Promise<Elimination[]> {
  const [first] = group.readers;
  if (first === undefined) return [];
  const most = Math.max(1, Math.floor(MAX_ELIMINATION_BYTES / (16 * first.labels.length ** 2)));
  const step = Math.ceil(group.readers.length / most);
  const readers = group.readers.filter((_, index) => index % step === 0);
  if (readers.length === 1) {
    const moment = await readerMoment(model, first, ranking.feeds, ranking.context);
    return [elimination(group, first, weightsOf(model, first), moment, ranking)];
  }
  const all: Elimination[] = [];
  await eachMoment(model, readers, ranking.feeds, ranking.context, (reader, weights, moment) => {
    all.push(elimination(group, reader, weights, moment, ranking));
  });
  return all;
}

/** The part of a reader that concerns the units; other inputs only help to take over, which the inverse knows. */
function elimination(
  group: ChannelGroup,
  reader: ChannelReader,
  weights: ReaderWeights,
  { gram, width, energy }: ReaderMoment,
  { units, ridge }: Ranking,
): Elimination {
  const damped = gram.slice();
  addRidge(damped, width, ridge);
  const inverse = invertPositiveDefinite(damped, width);
  if (inverse === undefined) throw notFinite(reader.value);
  const unitOf = unitIndexes(reader.labels, group.removable, units);
  const concerned = Int32Array.from(unitOf.keys()).filter((row) => (unitOf[row] ?? -1) >= 0);
  const columns = Int32Array.from({ length: weights.outputs }, (_, index) => index);
  const weight = submatrix(weights.weight, weights.outputs, concerned, columns);
  return {
    inverse: submatrix(inverse, width, concerned, concerned),
    ...withFewerOutputs(weight, concerned.length, weights.outputs),
    inputs: concerned.length,
    rows: rowsOfUnits(
      Int32Array.from(concerned, (row) => unitOf[row] ?? -1),
      group.removable.length,
    ),
    scale: 1 / energy,
  };
}

/** Costs only depend on the products of rows: a factor of `W Wᵀ` stands in for weights with more outputs than inputs. */
function withFewerOutputs(
  weight: Float64Array,
  inputs: number,
  outputs: number,
): { weight: Float64Array; outputs: number } {
  if (outputs <= inputs) return { weight, outputs };
  const factor = new Float64Array(inputs * inputs);
  const transposed = transpose(weight, inputs, outputs);
  multiply(weight, transposed, factor, inputs, outputs, inputs);
  addRidge(factor, inputs, 1e-12);
  return choleskyInPlace(factor, inputs) ? { weight: factor, outputs: inputs } : { weight, outputs };
}

/** `Σ |x_j|² |w_j|²` over a unit's inputs `j` of all readers (Wanda, Sun et al. 2023, for whole rows). */
async function activationScores(
  model: Model,
  group: ChannelGroup,
  { units, feeds, context }: Ranking,
): Promise<Float64Array> {
  const scores = new Float64Array(group.removable.length);
  await eachMoment(model, group.readers, feeds, context, (reader, weights, { gram, width, energy }) => {
    unitIndexes(reader.labels, group.removable, units).forEach((unit, row) => {
      const square = (gram[row * width + row] ?? 0) * rowSquare(weights.weight, row, weights.outputs);
      if (unit >= 0) scores[unit] = (scores[unit] ?? 0) + square / energy;
    });
  });
  return scores;
}

/** Squared weights that write a unit times those that read it, as a share of all units'. */
function magnitudeScores(model: Model, group: ChannelGroup, units: ChannelUnits): Float64Array {
  const { length } = group.removable;
  const [written, read] = [new Float64Array(length), new Float64Array(length)];
  const add = (sums: Float64Array, unitOf: Int32Array, squares: Float64Array): void => {
    unitOf.forEach((unit, index) => {
      if (unit >= 0) sums[unit] = (sums[unit] ?? 0) + (squares[index] ?? 0);
    });
  };
  for (const { layer, labels } of producersOf(model, group)) {
    const squares = new Float64Array(layer.outputs);
    addColumnSquares(weightOf(model.graph, layer), layer.outputs, squares);
    add(written, unitIndexes(labels, group.removable, units), squares);
  }
  for (const { squares, labels } of tableSquares(model, group))
    add(written, unitIndexes(labels, group.removable, units), squares);
  for (const reader of group.readers) {
    const { weight, outputs } = weightsOf(model, reader);
    const squares = Float64Array.from(reader.labels, (_, row) => rowSquare(weight, row, outputs));
    add(read, unitIndexes(reader.labels, group.removable, units), squares);
  }
  const scores = written.map((square, unit) => square * (read[unit] ?? 0));
  const total = scores.reduce((sum, score) => sum + score, 0) || 1;
  return scores.map((score) => score / total);
}

/** Mean squares of each column of the tables that feed a stream: what a row that is looked up has. */
function tableSquares(model: Model, { uses }: ChannelGroup): { squares: Float64Array; labels: Int32Array }[] {
  return uses.flatMap((use) => {
    if (use.kind !== 'constant' || use.input !== 0 || use.axis !== 1) return [];
    const node = model.graph.nodes.find(({ outputs }) => outputs[0] === use.node);
    const table = node?.op === 'Gather' ? constantTensor(model.graph, node.inputs[0] ?? '') : undefined;
    if (table === undefined) return [];
    const squares = new Float64Array(use.labels.length);
    (table.data as Float32Array).forEach((value, at) => {
      squares[at % squares.length] = (squares[at % squares.length] ?? 0) + value ** 2 / (table.dims[0] ?? 1);
    });
    return [{ squares, labels: use.labels }];
  });
}

function rowSquare(weight: Float64Array, row: number, outputs: number): number {
  return dot(weight, row * outputs, weight, row * outputs, outputs);
}

/**
 * `Σ |Σ x ∂L/∂x|` of each unit: the inner sum over its channels in one row of what is read, the outer one over rows and
 * readers. By the unit's root.
 * @throws GRADIENT_UNSUPPORTED naming the node without a gradient rule.
 */
export async function taylorScores(
  model: Model,
  { units }: Pick<ChannelGroups, 'units'>,
  groups: readonly ChannelGroup[],
  feeds: readonly TensorMap[],
  context: PassContext,
): Promise<ReadonlyMap<number, number>> {
  const parts = groups.flatMap((group) => {
    const scores = new Float64Array(group.removable.length);
    return group.readers.map((reader) => ({
      group,
      scores,
      value: reader.value,
      unitOf: unitIndexes(reader.labels, group.removable, units),
    }));
  });
  const values = [...new Set(parts.map(({ value }) => value))];
  if (values.length > 0)
    await eachGradientProduct(model, values, feeds, context, (products) => {
      for (const { value, unitOf, scores } of parts)
        addTaylorScores(must(products.get(value), value), unitOf.length, unitOf, scores);
    });
  return new Map(
    parts.flatMap(({ group, scores }) => group.removable.map((unit, index) => [unit, scores[index] ?? 0])),
  );
}

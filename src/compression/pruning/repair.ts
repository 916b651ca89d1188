import { float32, must } from '../../core/index.js';
import type { TensorMap } from '../../core/index.js';
import type { Model } from '../../onnx/index.js';
import { GramAccumulator } from '../calibration/gram-accumulator.js';
import { withTaps } from '../calibration/tap-values.js';
import { denseWith, keptIndexes, prunedName } from '../graph/cut-channels.js';
import type { Keeps } from '../graph/cut-channels.js';
import type { ChannelReader, Use } from '../graph/channel-trace.js';
import { GraphEdit } from '../graph/graph-edit.js';
import type { ReaderWeights } from '../graph/reader-weights.js';
import { outputChange, refitWeights, submatrix } from '../kernels/prune-kernel.js';
import type { RefitProblem } from '../kernels/prune-kernel.js';
import type { PassContext } from '../pass.js';
import { notFinite, quickly, readerMoment, weightsOf } from './reader-states.js';

/** A reader before and after the cut. */
export interface CutReader {
  readonly before: Model;
  /** In `before`. */
  readonly reader: ChannelReader;
  /** All that the cut concerns: a layer may read and write the same channels. */
  readonly uses: readonly Use[];
  readonly keeps: Keeps;
  /** Whether what is left of the reader's inputs changed too, as behind a normalisation. */
  readonly shifted: boolean;
}

/** How a reader is fitted. */
export interface RepairOptions {
  readonly feeds: readonly TensorMap[];
  /** Without it, weights stay, and only the error is measured. */
  readonly repair: boolean;
  readonly ridge: number;
  readonly context: PassContext;
}

export interface RepairResult {
  readonly model: Model;
  /** Root mean square of the readers' outputs' change over that of the outputs, on the calibration requests. */
  readonly relativeError: number;
}

/**
 * Refits the weights and biases of the layers that read a value to what they gave before the cut, by least squares on
 * the calibration requests.
 * @throws GRAPH_UNSUPPORTED where the value is not finite there.
 */
export async function repairReader(
  model: Model,
  cut: CutReader,
  { feeds, repair, ridge, context }: RepairOptions,
): Promise<RepairResult> {
  const { before, reader, keeps, shifted } = cut;
  const old = withColumns(weightsOf(before, reader), cut);
  const rows = keptIndexes(reader.labels, keeps);
  const kept = old.biased ? Int32Array.of(...rows, old.inputs) : rows;
  const problem = shifted
    ? await jointProblem(before, model, reader, old, rows.length, feeds, context)
    : await subsetProblem(before, reader, old, kept, feeds, context);
  const columns = Int32Array.from({ length: old.outputs }, (_, index) => index);
  const start = submatrix(old.weight, old.outputs, kept, columns);
  const fitted = repair ? refitWeights(problem, start, ridge) : start;
  if (fitted === undefined) throw notFinite(reader.value);
  const relativeError = outputChange(problem, fitted);
  return { model: repair ? writeReaders(model, reader, fitted, rows.length) : model, relativeError };
}

/** The weights as they were, without the outputs that are gone too. */
function withColumns(weights: ReaderWeights, { uses, keeps }: CutReader): ReaderWeights {
  const columns = Int32Array.from(
    weights.readers.flatMap(({ layer, column }) => {
      const use = uses.find(({ kind, node }) => kind === 'columns' && node === layer.output);
      const kept = use === undefined ? [...Array(layer.outputs).keys()] : [...keptIndexes(use.labels, keeps)];
      return kept.map((index) => column + index);
    }),
  );
  if (columns.length === weights.outputs) return weights;
  const rows = Int32Array.from({ length: weights.weight.length / weights.outputs }, (_, row) => row);
  const weight = submatrix(weights.weight, weights.outputs, rows, columns);
  return { ...weights, weight, outputs: columns.length };
}

/** What is left of the inputs is as it was. */
async function subsetProblem(
  model: Model,
  reader: ChannelReader,
  old: ReaderWeights,
  kept: Int32Array,
  feeds: readonly TensorMap[],
  context: PassContext,
): Promise<RefitProblem> {
  const { gram, width } = await readerMoment(model, reader, feeds, context);
  const all = Int32Array.from({ length: width }, (_, index) => index);
  return { moment: gram, width, before: all, after: kept, weight: old.weight, outputs: old.outputs };
}

/** Both models run side by side, for what is left of the inputs is not as it was. */
async function jointProblem(
  before: Model,
  after: Model,
  { value }: ChannelReader,
  { inputs, biased, weight, outputs }: ReaderWeights,
  width: number,
  feeds: readonly TensorMap[],
  context: PassContext,
): Promise<RefitProblem> {
  const { openSession } = quickly(context);
  const gram = await GramAccumulator.open(inputs + width, openSession);
  try {
    await withTaps(before, [value], openSession, (readBefore) =>
      withTaps(after, [value], openSession, async (readAfter) => {
        for (const feed of feeds) {
          const [x, y] = [await readBefore(feed), await readAfter(feed)];
          await gram.add(sideBySide(must(x.get(value), value), inputs, must(y.get(value), value), width));
        }
      }),
    );
    await gram.flush();
  } finally {
    await gram.close();
  }
  const ones = biased ? [inputs + width] : [];
  const range = (from: number, length: number): Int32Array =>
    Int32Array.of(...Array.from({ length }, (_, index) => from + index), ...ones);
  return {
    moment: gram.sum,
    width: inputs + width + 1,
    before: range(0, inputs),
    after: range(inputs, width),
    weight,
    outputs,
  };
}

/** `[rows, left + right]`. */
function sideBySide(a: Float32Array, left: number, b: Float32Array, right: number): Float32Array {
  const rows = a.length / left;
  const out = new Float32Array(rows * (left + right));
  for (let row = 0; row < rows; row++) {
    out.set(a.subarray(row * left, (row + 1) * left), row * (left + right));
    out.set(b.subarray(row * right, (row + 1) * right), row * (left + right) + left);
  }
  return out;
}

/** The model with fitted weights `[inputs (+ 1), outputs]` in the layers that read the value. */
function writeReaders(model: Model, reader: ChannelReader, fitted: Float64Array, inputs: number): Model {
  const edit = new GraphEdit(model);
  const { readers, outputs, biased } = weightsOf(model, reader);
  for (const { layer, bias, column } of readers) {
    const part = (row: number): Float64Array =>
      fitted.subarray(row * outputs + column, row * outputs + column + layer.outputs);
    const weight = new Float32Array(inputs * layer.outputs);
    for (let row = 0; row < inputs; row++) weight.set(part(row), row * layer.outputs);
    const values = biased ? Float32Array.from(part(inputs)) : bias?.values;
    const ownBias = bias?.add === undefined ? values : undefined;
    edit.replace(layer.node, [denseWith(edit, layer, float32(weight, [inputs, layer.outputs]), ownBias)]);
    if (bias?.add === undefined || values === undefined) continue;
    const { node, input, dims } = bias.add;
    const name = edit.tensor(prunedName(must(node.inputs[input], 'bias')), float32(values, dims));
    edit.replace(node, [{ ...node, inputs: node.inputs.with(input, name) }]);
  }
  return edit.build();
}

import { float32, WhittleError } from '../../core/index.js';
import { initializerOf } from '../../onnx/index.js';
import type { Initializer, Model } from '../../onnx/index.js';
import { GraphEdit } from '../graph/graph-edit.js';
import { excludedBy, NAME_PATTERNS } from '../graph/name-patterns.js';
import { findSparseWeights, unitSizes, valuesOf } from '../graph/sparse-layers.js';
import type { InputSizes, SparseWeight } from '../graph/sparse-layers.js';
import { smallestScores } from '../graph/sparse-threshold.js';
import { repairZeros } from '../kernels/sparse-repair-kernel.js';
import { weightedChange, zeroBelow, zeroGroups, zeroPerOutput } from '../kernels/sparsity-kernel.js';
import { inputSizes, notFinite, weightGrams } from '../calibration/sparse-calibration.js';
import { addSizes, NO_BYTES, storedSize } from '../measure/stored-size.js';
import type { StoredSize } from '../measure/stored-size.js';
import type { LayerChange, LeftLayer, Pass, PassDefinition } from '../pass.js';
import { SHARE } from '../pass.js';

export interface PruneUnstructuredParameters {
  /** Share of the weights that become zero, above 0 and below 1; not with an N:M pattern. Default 0.5. */
  readonly sparsity?: number;
  /** Among which weights the share is taken: those of each output, of each layer, or of all layers. Default `layer`. */
  readonly allocation?: 'global' | 'layer' | 'output';
  /** `N:M` keeps at most N of every M weights that follow each other on the input axis. Default `unstructured`. */
  readonly pattern?: string;
  /** What makes a weight worth keeping: its magnitude, or that times the size of its input. Default `magnitude`. */
  readonly importance?: 'magnitude' | 'activation';
  /** Refit the weights that stay on the calibration requests. Default false. */
  readonly repair?: boolean;
  /** Prune convolutions too. Default false. */
  readonly conv?: boolean;
  /** Names of layers or weights to leave as they are; `*` stands for any text, `?` for one character. */
  readonly exclude?: readonly string[];
}

type Settings = Required<PruneUnstructuredParameters>;

const NAME = 'prune-unstructured';
const DEFAULTS: Settings = {
  sparsity: 0.5,
  allocation: 'layer',
  pattern: 'unstructured',
  importance: 'magnitude',
  repair: false,
  conv: false,
  exclude: [],
};

/** Largest group of an N:M pattern. */
const MAX_GROUP = 64;

/**
 * Unstructured pruning: single weights of dense layers (and convolutions) become zero, the least important first. The
 * importance is the magnitude, or the magnitude times the root mean square of the input on the calibration requests
 * (Wanda, Sun et al. 2023); equal weights go in the order in which they are stored, so that the share is exact. Zeros
 * save bytes in a sparse or compressed file and no time in ONNX Runtime: the report says so, with the bytes. Handles
 * MatMul and Gemm of the main graph with constant float32 weights that nothing else reads, from opset 7 on.
 * @throws RECIPE_INVALID for a pattern that is none, or a sparsity or an allocation beside one that fixes them.
 */
export function pruneUnstructured(parameters: PruneUnstructuredParameters = {}): Pass {
  const settings = { ...DEFAULTS, ...parameters };
  const pattern = parsePattern(parameters);
  return async (model, context) => {
    const { chosen, left } = choose(model, settings);
    const sizes = settings.importance === 'activation' ? await inputSizes(model, chosen, context) : unitSizes;
    const zero = zeroer(model, chosen, sizes, settings, pattern);
    const edit = new GraphEdit(model);
    const changed: LayerChange[] = [];
    let stored = NO_BYTES;
    let done = 0;
    for await (const { weight, gram } of settings.repair
      ? weightGrams(model, chosen, context, 'repair', false)
      : chosen.map((each) => ({ weight: each, gram: undefined }))) {
      context.progress?.(done++, chosen.length, weight.weightName);
      const before = valuesOf(model.graph, weight);
      const data = before.slice();
      zero(weight, data);
      const relativeError =
        gram === undefined
          ? weightedChange(before, data, weight.axis, sizes(weight))
          : repair(weight, gram, before, data);
      stored = addSizes(stored, await storedSize(replaceWeights(edit, weight, data)));
      changed.push(...changesOf(weight, data, relativeError));
    }
    if (changed.length === 0) return { model, report: { changed, left } };
    return { model: edit.build(), report: { changed, left, notes: notesOf(stored) } };
  };
}

interface Pattern {
  readonly kept: number;
  readonly group: number;
}

function parsePattern(parameters: PruneUnstructuredParameters): Pattern | undefined {
  const { pattern = 'unstructured' } = parameters;
  if (pattern === 'unstructured') return undefined;
  const [kept = 0, group = 0] = pattern.split(':').map(Number);
  if (!(/^\d+:\d+$/.test(pattern) && kept >= 1 && kept < group && group <= MAX_GROUP))
    throw invalid(
      'pattern',
      pattern,
      `unstructured, or N:M with 1 ≤ N < M ≤ ${MAX_GROUP} (2:4 keeps 2 of every 4)`,
    );
  for (const field of ['sparsity', 'allocation'] as const)
    if (parameters[field] !== undefined)
      throw invalid(field, parameters[field], `absent beside the pattern ${pattern}, which fixes it`);
  return { kept, group };
}

function invalid(field: string, value: unknown, allowed: string): WhittleError {
  return new WhittleError('RECIPE_INVALID', `${NAME}: field ${field} is wrong; allowed: ${allowed}`, {
    pass: NAME,
    field,
    value,
    allowed,
  });
}

function choose(
  model: Model,
  { conv, exclude, importance, repair }: Settings,
): { chosen: SparseWeight[]; left: LeftLayer[] } {
  const { weights, left } = findSparseWeights(model, conv);
  const namesOf = ({ weightName, layers }: SparseWeight): string[] => [
    weightName,
    ...layers.map(({ name }) => name),
  ];
  const excluded = excludedBy(exclude, weights.map(namesOf), NAME);
  const chosen: SparseWeight[] = [];
  const refused: LeftLayer[] = [];
  for (const weight of weights) {
    const calibrated = importance === 'activation' || repair;
    const reason = excluded(namesOf(weight))
      ? 'excluded by name'
      : weight.kind === 'conv' && calibrated
        ? 'importance by activation and repair are for dense layers'
        : undefined;
    if (reason === undefined) chosen.push(weight);
    else refused.push(...weight.layers.map(({ name, node }) => ({ layer: name, op: node.op, reason })));
  }
  return { chosen, left: [...left, ...refused] };
}

function zeroer(
  model: Model,
  chosen: readonly SparseWeight[],
  sizes: InputSizes,
  { sparsity, allocation }: Settings,
  pattern: Pattern | undefined,
): (weight: SparseWeight, data: Float32Array) => void {
  if (pattern !== undefined)
    return (weight, data) => zeroGroups(data, weight.axis, sizes(weight), pattern.kept, pattern.group);
  if (allocation === 'output')
    return (weight, data) => {
      // A filter of a convolution is one output with all its kernel.
      const { axis, kind } = weight;
      const whole = kind === 'conv' ? { length: axis.length * axis.stride, stride: 1 } : axis;
      const ownSizes = kind === 'conv' ? new Float64Array(whole.length).fill(1) : sizes(weight);
      zeroPerOutput(data, whole, ownSizes, Math.round(sparsity * whole.length));
    };
  const under = (weights: readonly SparseWeight[]) => smallestScores(model.graph, weights, sizes, sparsity);
  let global = allocation === 'global' && chosen.length > 0 ? under(chosen) : undefined;
  return (weight, data) => {
    const left = zeroBelow(data, weight.axis, sizes(weight), global ?? under([weight]));
    if (global !== undefined) global = left;
  };
}

/** How strongly refitted weights are held to the old ones, in mean squared inputs: as in prune-structured. */
const RIDGE = 0.01;

/** Refits `data`, the weights with their zeros, from what they were; answers the outputs' relative change. */
function repair(weight: SparseWeight, gram: Float64Array, before: Float32Array, data: Float32Array): number {
  const { length, stride } = weight.axis;
  // A Gemm may hold its weights transposed.
  const order = stride === 1 ? transposed : (values: Float32Array): Float32Array => values;
  const outputs = data.length / length;
  const fitted = Float64Array.from(order(before, outputs, length));
  const zero = Uint8Array.from(order(data, outputs, length), (value) => (value === 0 ? 1 : 0));
  const change = repairZeros(gram, fitted, zero, length, outputs, RIDGE);
  if (change === undefined || !Number.isFinite(change)) throw notFinite(weight);
  const stored = stride === 1 ? transposed(Float32Array.from(fitted), length, outputs) : fitted;
  data.set(stored);
  return change;
}

function transposed(values: Float32Array, rows: number, columns: number): Float32Array {
  const turned = new Float32Array(values.length);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++)
      turned[column * rows + row] = values[row * columns + column] ?? 0;
  return turned;
}

function replaceWeights(
  edit: GraphEdit,
  { weightName, layers, dims }: SparseWeight,
  data: Float32Array,
): Initializer {
  const tensor = float32(data, dims);
  // Names do not grow when a tensor is pruned again.
  const name = edit.tensor(`${weightName.replace(/\/sparse(_\d+)?$/, '')}/sparse`, tensor);
  for (const { node } of layers) edit.replace(node, [{ ...node, inputs: node.inputs.with(1, name) }]);
  return initializerOf(name, tensor);
}

function changesOf(weight: SparseWeight, data: Float32Array, relativeError: number): LayerChange[] {
  const zeros = data.reduce((count, value) => count + (value === 0 ? 1 : 0), 0);
  return weight.layers.map(({ name }) => ({
    layer: name,
    change: `${zeros} of ${data.length} weights are zero (${((100 * zeros) / data.length).toFixed(1)} %)`,
    weightsBefore: data.length,
    weightsAfter: data.length,
    relativeError,
  }));
}

function notesOf(size: StoredSize): string[] {
  return [
    'Zeros do not make this faster: ONNX Runtime multiplies dense matrices and reads every zero. They save bytes in storage and download only, and only where the file is compressed or the weights are stored sparse.',
    `The pruned weights take ${size.rawBytes} bytes as ONNX stores them, ${size.deflateBytes} deflated (gzip, ZIP), ` +
      `${size.brotliBytes} with Brotli, ${size.bitmapBytes} as a bitmap and the other values, ` +
      `${size.indexBytes} as values with 16-bit gaps.`,
  ];
}

/** As recipes name it. */
export const pruneUnstructuredPass: PassDefinition<PruneUnstructuredParameters> = {
  summary:
    'Sets single weights to zero, also N of every M: smaller when compressed or stored sparse, not faster.',
  parameters: {
    sparsity: SHARE,
    allocation: { enum: ['global', 'layer', 'output'] },
    pattern: { type: 'string', minLength: 1 },
    importance: { enum: ['magnitude', 'activation'] },
    repair: { type: 'boolean' },
    conv: { type: 'boolean' },
    exclude: NAME_PATTERNS,
  },
  create: pruneUnstructured,
};

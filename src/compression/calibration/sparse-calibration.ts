import { must, WhittleError } from '../../core/index.js';
import type { Model } from '../../onnx/index.js';
import type { InputSizes, SparseWeight } from '../graph/sparse-layers.js';
import type { PassContext } from '../pass.js';
import { secondMoments, withoutOnes } from './second-moments.js';

/** The second moment of what a weight tensor is multiplied with. */
export interface WeightGram {
  readonly weight: SparseWeight;
  /** `Xᵀ X`, `[inputs, inputs]`, over the inputs of all layers that share the weights. The receiver may write to it. */
  readonly gram: Float64Array;
  readonly rows: number;
}

/** Second moments that are held at once. */
const MAX_BYTES = 2 ** 28;

/**
 * The second moments on the calibration requests, in the order of `weights`, a few at a time.
 * @throws RECIPE_INVALID where there are no requests: `field` asked for them, and may be `otherwise` without.
 */
export async function* weightGrams(
  model: Model,
  weights: readonly SparseWeight[],
  context: PassContext,
  field: string,
  otherwise: string | boolean,
): AsyncGenerator<WeightGram> {
  const { calibration = [] } = context;
  if (calibration.length === 0)
    throw new WhittleError(
      'RECIPE_INVALID',
      `prune-unstructured needs calibration requests: give some, or set ${field} to ${otherwise}`,
      { pass: 'prune-unstructured', field, allowed: [otherwise] },
    );
  for (const group of groupsOf(weights)) {
    const taps = group.flatMap(({ layers, axis }) =>
      layers.map(({ input }) => ({ value: input, width: axis.length })),
    );
    const moments = await secondMoments(model, taps, calibration, context);
    for (const weight of group) {
      const own = weight.layers.map(({ input }) => must(moments.get(input), input));
      const gram = withoutOnes(must(own[0], 'second moment'));
      for (const other of own.slice(1)) addInPlace(gram, withoutOnes(other));
      yield { weight, gram, rows: own.reduce((sum, { rows }) => sum + rows, 0) };
    }
  }
}

/** Root mean square of each input on the calibration requests. @throws as {@link weightGrams}. */
export async function inputSizes(
  model: Model,
  weights: readonly SparseWeight[],
  context: PassContext,
): Promise<InputSizes> {
  const sizes = new Map<SparseWeight, Float64Array>();
  for await (const { weight, gram, rows } of weightGrams(
    model,
    weights,
    context,
    'importance',
    'magnitude',
  )) {
    context.progress?.(sizes.size, weights.length, `inputs of ${weight.weightName}`);
    const { length } = weight.axis;
    const own = new Float64Array(length);
    for (let i = 0; i < length; i++) own[i] = Math.sqrt((gram[i * length + i] ?? 0) / rows);
    if (!own.every(Number.isFinite)) throw notFinite(weight);
    sizes.set(weight, own);
  }
  return (weight) => must(sizes.get(weight), weight.weightName);
}

/** The error for activations that no weights can be fitted to. */
export function notFinite({ weightName, layers }: SparseWeight): WhittleError {
  const input = layers[0]?.input;
  return new WhittleError(
    'GRAPH_UNSUPPORTED',
    `${input ?? weightName} is not finite on the calibration requests, or ${weightName} is not`,
    { input, weights: weightName },
  );
}

function groupsOf(weights: readonly SparseWeight[]): SparseWeight[][] {
  const groups: SparseWeight[][] = [];
  let bytes = Infinity;
  for (const weight of weights) {
    const own = 8 * weight.layers.length * (weight.axis.length + 1) ** 2;
    if (bytes + own > MAX_BYTES) {
      groups.push([]);
      bytes = 0;
    }
    groups.at(-1)?.push(weight);
    bytes += own;
  }
  return groups;
}

function addInPlace(target: Float64Array, added: Float64Array): void {
  for (let i = 0; i < target.length; i++) target[i] = (target[i] ?? 0) + (added[i] ?? 0);
}

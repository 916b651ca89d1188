import { elementCount, must } from '../../core/index.js';
import type { TensorMap } from '../../core/index.js';
import { intAttribute } from '../../onnx/index.js';
import type { Model } from '../../onnx/index.js';
import { activationScales } from '../calibration/activation-scales.js';
import type { CalibrationParameters } from '../calibration/activation-scales.js';
import type { ActivationScale } from '../calibration/clipping.js';
import { measureSensitivity, someFeeds } from '../calibration/sensitivity.js';
import type { Sensitivities } from '../calibration/sensitivity.js';
import { valueDims } from '../calibration/tap-values.js';
import { valueErrors } from '../calibration/value-errors.js';
import { eightBitValues } from '../graph/eight-bit-values.js';
import { liveModel } from '../graph/live-model.js';
import { excludedBy, NAME_PATTERNS } from '../graph/name-patterns.js';
import { writeQdq } from '../graph/qdq-writer.js';
import type { QdqPlan } from '../graph/qdq-writer.js';
import { behindRelu } from '../graph/readers.js';
import { findStaticLayers, hasFiniteConstants, STATIC_OPERATORS } from '../graph/static-layers.js';
import type { StaticLayer, StaticLayers, StaticOperator } from '../graph/static-layers.js';
import { calibrationOf } from '../pass.js';
import type { LayerChange, LeftLayer, Pass, PassContext, PassDefinition } from '../pass.js';

export interface QuantizeStaticParameters extends CalibrationParameters {
  /** One scale an output, not one for all weights of a layer. Default true. */
  readonly perChannel?: boolean;
  /** Keep weights to 7 bits, for CPUs without VNNI, whose 8-bit kernels saturate. Default false. */
  readonly reduceRange?: boolean;
  /** Dense layers with fewer weights stay float32, and convolutions with fewer than a quarter of it a group. Default 4096. */
  readonly minWeights?: number;
  /** Names of layers or weights to leave as they are; `*` stands for any text, `?` for one character. */
  readonly exclude?: readonly string[];
  /** Operators whose layers are quantized. Default all: MatMul, Gemm, Conv. */
  readonly operators?: readonly StaticOperator[];
  /** Measures each layer's part in the error, and leaves this many of the most sensitive in float32. */
  readonly keepFloat?: number;
  /** Measures each layer's part, and leaves the most sensitive in float32 until the outputs are this close. */
  readonly maxRelativeError?: number;
}

/**
 * Static int8: weights are stored in 8 bits, symmetric; what layers read is quantized to uint8 with a scale that the
 * calibration requests gave, so that a row's scores depend on that row alone. Written as QuantizeLinear and
 * DequantizeLinear, which ONNX Runtime fuses into 8-bit kernels ({@link writeQdq}). Handles MatMul (inputs of any
 * rank), Gemm and Conv of the main graph with constant float32 weights, from opset 10 on; models from opset 7 on are
 * raised where all their operators mean the same there.
 */
export function quantizeStatic(parameters: QuantizeStaticParameters = {}): Pass {
  return async (given, context) => {
    const feeds = calibrationOf(context, 'quantize-static', false);
    const { model, layers, left } = chosenLayers(liveModel(given), parameters);
    if (layers.length === 0) return { model: given, report: { changed: [], left } };
    const dims = await valueDims(model, valuesOf(model, layers), must(feeds[0], 'feed'), context.openSession);
    const job: Job = { model, parameters, feeds, dims, context, left: [...left] };
    const names = quantizedValues(model, layers);
    const observed = new Map([...dims].filter(([name]) => names.has(name)));
    const plan = planOf(job, layers, await activationScales(model, observed, feeds, parameters, context));
    const kept = await keepSensitive(job, plan);
    const final = { ...plan, layers: plan.layers.filter((layer) => kept?.kept.has(layer) !== true) };
    if (final.layers.length === 0) return { model: given, report: { changed: [], left: job.left } };
    const written = writeQdq(model, final);
    const errors = await resultErrors(job, written);
    const changed = [...written.layers].map(([layer, { weightError, result }]) =>
      changeOf(layer, final, weightError, must(errors.get(result), result), kept?.alone.get(layer)),
    );
    return { model: written.model, report: { changed, left: job.left } };
  };
}

interface Job {
  readonly model: Model;
  readonly parameters: QuantizeStaticParameters;
  readonly feeds: readonly TensorMap[];
  /** Dimensions on the first feed of the values that layers read and give, and of those stored in 8 bits. */
  readonly dims: ReadonlyMap<string, readonly number[]>;
  readonly context: PassContext;
  /** Grows. */
  readonly left: LeftLayer[];
}

function refuse({ left }: Job, { name, node }: StaticLayer, reason: string): void {
  left.push({ layer: name, op: node.op, reason });
}

function chosenLayers(
  given: Model,
  { exclude = [], operators = STATIC_OPERATORS, minWeights = 4096 }: QuantizeStaticParameters,
): StaticLayers {
  const found = findStaticLayers(given);
  const namesOf = ({ name, weightName }: StaticLayer): readonly string[] => [name, weightName];
  const excluded = excludedBy(exclude, found.layers.map(namesOf), 'quantize-static');
  const left: LeftLayer[] = [...found.left];
  const refusal = (layer: StaticLayer): string | undefined => {
    const weights = elementCount(layer.weightDims);
    if (excluded(namesOf(layer))) return 'excluded by name';
    if (!operators.some((operator) => operator === layer.node.op))
      return `operators does not name ${layer.node.op}`;
    // A convolution uses each of its weights at many places, but does its groups one by one.
    const [counted, least, of] =
      layer.kind === 'dense'
        ? [weights, minWeights, 'minWeights']
        : [weights / groupsOf(layer), minWeights / 4, 'a quarter of minWeights for each group of'];
    if (counted < least) return `${counted} weights are fewer than ${of} ${minWeights}`;
    return hasFiniteConstants(found.model.graph, layer) ? undefined : 'the weights are not all finite';
  };
  const layers: StaticLayer[] = [];
  for (const layer of found.layers) {
    const reason = refusal(layer);
    if (reason === undefined) layers.push(layer);
    else left.push({ layer: layer.name, op: layer.node.op, reason });
  }
  return { model: found.model, layers, left };
}

function groupsOf({ node }: StaticLayer): number {
  return Math.max(1, intAttribute(node, 'group', 1));
}

/** Values that quantization of the layers can store in 8 bits. */
function quantizedValues({ graph }: Model, layers: readonly StaticLayer[]): ReadonlySet<string> {
  const stored = [...eightBitValues(graph, layers).values()].map((value) => value.scaleOf);
  return new Set([...layers.map((layer) => layer.input), ...stored]);
}

function valuesOf(model: Model, layers: readonly StaticLayer[]): readonly string[] {
  const results = layers.flatMap(({ output }) => [output, behindRelu(model.graph, output)]);
  return [...new Set([...quantizedValues(model, layers), ...results])];
}

/** The plan for all layers that can be had in 8 bits; names the others. */
function planOf(
  job: Job,
  layers: readonly StaticLayer[],
  scales: ReadonlyMap<string, ActivationScale>,
): QdqPlan {
  const { parameters, dims } = job;
  const usable = usableLayers(job, layers, scales);
  return {
    layers: usable,
    scales,
    matrixInputs: new Set(usable.filter((layer) => dims.get(layer.input)?.length === 2)),
    weightLimit: parameters.reduceRange === true ? 63 : 127,
    perChannel: parameters.perChannel ?? true,
  };
}

/** The layers whose values all have scales. Without one layer, others may need scales of other values: so in turns. */
function usableLayers(
  job: Job,
  layers: readonly StaticLayer[],
  scales: ReadonlyMap<string, ActivationScale>,
): readonly StaticLayer[] {
  const stored = eightBitValues(job.model.graph, layers);
  const missing = (layer: StaticLayer): string | undefined => {
    const own = [...stored.values()].filter(({ node }) => node === layer.node).map(({ scaleOf }) => scaleOf);
    return [layer.input, ...own].find((value) => !scales.has(stored.get(value)?.scaleOf ?? value));
  };
  const usable = layers.filter((layer) => missing(layer) === undefined);
  if (usable.length === layers.length) return layers;
  for (const layer of layers) {
    const value = missing(layer);
    if (value !== undefined)
      refuse(job, layer, `${value} is empty or not finite on the calibration requests`);
  }
  return usableLayers(job, usable, scales);
}

/** Measures sensitivities where a parameter asks for it, and names what stays float32 for it. */
async function keepSensitive(job: Job, plan: QdqPlan): Promise<Sensitivities<StaticLayer> | undefined> {
  const { model, parameters, feeds, context } = job;
  const { keepFloat, maxRelativeError } = parameters;
  if (keepFloat === undefined && maxRelativeError === undefined) return undefined;
  const changedWith = (layers: readonly StaticLayer[]): Model => writeQdq(model, { ...plan, layers }).model;
  const limits = { keepFloat: keepFloat ?? plan.layers.length, maxRelativeError };
  const sensitivities = await measureSensitivity(model, plan.layers, changedWith, limits, feeds, context);
  for (const layer of plan.layers)
    if (sensitivities.kept.has(layer))
      refuse(
        job,
        layer,
        `quantized alone it changes the outputs by ${percent(sensitivities.alone.get(layer))}`,
      );
  return sensitivities;
}

/** Error of each layer's result, those of the layers before it included, on a few of the feeds. */
function resultErrors(
  { model, feeds, dims, context }: Job,
  written: ReturnType<typeof writeQdq>,
): Promise<ReadonlyMap<string, number>> {
  const values = [...written.layers.values()].map(({ result, writtenResult }) => ({
    name: result,
    changedName: writtenResult,
    dims: must(dims.get(result), result),
  }));
  return valueErrors(model, written.model, values, someFeeds(feeds), context);
}

function changeOf(
  layer: StaticLayer,
  { perChannel }: QdqPlan,
  weightError: number,
  relativeError: number,
  sensitivity: number | undefined,
): LayerChange {
  const weights = elementCount(layer.weightDims);
  const scales = perChannel ? 'one scale an output' : 'one scale';
  return {
    layer: layer.name,
    change: `${layer.weightDims.join(' × ')} from float32 to int8, ${scales}; weights off by ${percent(weightError)}`,
    weightsBefore: weights,
    weightsAfter: weights,
    relativeError,
    ...(sensitivity === undefined ? {} : { sensitivity }),
  };
}

function percent(share = 0): string {
  return `${(100 * share).toPrecision(2)} %`;
}

/** As recipes name it. */
export const quantizeStaticPass: PassDefinition<QuantizeStaticParameters> = {
  summary:
    'Weights and what layers read in 8 bits, with scales from calibration requests: a quarter of the bytes, the fastest form of int8, and no row depends on its batch.',
  parameters: {
    calibration: { enum: ['min-max', 'percentile', 'entropy', 'mse'] },
    percentile: { type: 'number', exclusiveMinimum: 50, maximum: 100 },
    symmetric: { type: 'boolean' },
    perChannel: { type: 'boolean' },
    reduceRange: { type: 'boolean' },
    minWeights: { type: 'integer', minimum: 0 },
    exclude: NAME_PATTERNS,
    operators: { type: 'array', items: { enum: [...STATIC_OPERATORS] }, minItems: 1 },
    keepFloat: { type: 'integer', minimum: 0 },
    maxRelativeError: { type: 'number', minimum: 0 },
  },
  create: quantizeStatic,
};

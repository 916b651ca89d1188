import { float32, must } from '../../core/index.js';
import type { Tensor } from '../../core/index.js';
import type { Model } from '../../onnx/index.js';
import { secondMoments, withoutOnes } from '../calibration/second-moments.js';
import type { SecondMoment } from '../calibration/second-moments.js';
import { GraphEdit } from '../graph/graph-edit.js';
import { findMatrixProducts, namesOf, storedWeight, weightCount } from '../graph/matrix-products.js';
import type { MatrixProduct } from '../graph/matrix-products.js';
import { excludedBy, NAME_PATTERNS } from '../graph/name-patterns.js';
import { turned, writeProduct } from '../graph/product-writer.js';
import type { Scope } from '../graph/scopes.js';
import { roundToBlocks } from '../kernels/block-kernel.js';
import type { BlockWeights } from '../kernels/block-kernel.js';
import { compensatedBlocks } from '../kernels/gptq-kernel.js';
import { calibrationOf } from '../pass.js';
import type { LayerChange, LeftLayer, Pass, PassContext, PassDefinition } from '../pass.js';

export interface QuantizeWeightsParameters {
  /** Default 4. */
  readonly bits?: 4 | 8;
  /** Inputs that share a scale. Default 32. */
  readonly blockSize?: 16 | 32 | 64 | 128 | 256;
  /** Zero stands in the middle of every block's range; else each block has a zero point. Default false. */
  readonly symmetric?: boolean;
  /** `rtn`: each weight becomes its nearest number. `gptq`: the others make up for it. Default `rtn`. */
  readonly method?: 'rtn' | 'gptq';
  /** What ONNX Runtime multiplies in: 4 is int8, to which it rounds the inputs; 0 is float32. Default 4. */
  readonly accuracyLevel?: 0 | 4;
  /** Layers with fewer weights stay float32. Default 4096. */
  readonly minWeights?: number;
  /** Names of layers or weights to leave as they are; `*` stands for any text, `?` for one character. */
  readonly exclude?: readonly string[];
}

type Settings = Required<QuantizeWeightsParameters>;

const DEFAULTS: Settings = {
  bits: 4,
  blockSize: 32,
  symmetric: false,
  method: 'rtn',
  accuracyLevel: 4,
  minWeights: 4096,
  exclude: [],
};

/** First ai.onnx version whose Add broadcasts as it does today. */
const MIN_OPSET = 7;

/** Second moments of inputs that are held at once. */
const MAX_MOMENT_BYTES = 2 ** 28;

/** Products with the same weights. */
type Sharers = readonly [MatrixProduct, ...MatrixProduct[]];

interface Quantized {
  readonly weights: BlockWeights;
  readonly relativeError: number;
}

/**
 * Weight-only quantization: weights in 8 or 4 bits with a scale (and a zero point) for a block of inputs of each
 * output, in ONNX Runtime's MatMulNBits; layers' inputs and outputs stay float32. `gptq` refits the weights not yet
 * rounded for the error of those that are (Frantar et al. 2022), on the inputs that the layer has in the model as it is
 * given, on the calibration requests. Handles every form of MatMul and Gemm with one constant float32 matrix, in the
 * main graph and (`rtn`) in subgraphs, from opset 7 on.
 */
export function quantizeWeights(parameters: QuantizeWeightsParameters = {}): Pass {
  const settings: Settings = { ...DEFAULTS, ...parameters };
  return async (model, context) => {
    const { products, left } = findMatrixProducts(model, MIN_OPSET);
    const excluded = excludedBy(settings.exclude, products.map(namesOf), 'quantize-weights');
    const reasonOf = (product: MatrixProduct): string | undefined =>
      excluded(namesOf(product)) ? 'excluded by name' : unfit(product, settings);
    const edit = new GraphEdit(model);
    const changed: LayerChange[] = [];
    const refused = products.flatMap((product) => leftBecause(product, reasonOf(product)));
    const shared = sharedWeights(products.filter((product) => reasonOf(product) === undefined));
    let done = 0;
    for (const group of groupsOf(shared, settings)) {
      const moments = await inputMoments(model, group, settings, context);
      for (const sharers of group) {
        context.progress?.(done, shared.length, sharers[0].name);
        done += 1;
        const quantized = quantize(sharers, settings, moments);
        if (quantized !== undefined) changed.push(...write(edit, sharers, quantized, settings));
        else
          refused.push(
            ...sharers.flatMap((product) => leftBecause(product, 'weights or inputs are not all finite')),
          );
      }
    }
    return {
      model: changed.length === 0 ? model : edit.build(),
      report: { changed, left: [...left, ...refused] },
    };
  };
}

function leftBecause({ name, node }: MatrixProduct, reason: string | undefined): LeftLayer[] {
  return reason === undefined ? [] : [{ layer: name, op: node.op, reason }];
}

function unfit(product: MatrixProduct, { minWeights, method }: Settings): string | undefined {
  const count = weightCount(product);
  if (product.batch.length > 0) return `the weights have ${product.batch.length + 2} dimensions, not 2`;
  if (count < minWeights) return `${count} weights are fewer than minWeights ${minWeights}`;
  if (method === 'rtn') return undefined;
  if (product.scope.outer !== undefined)
    return 'inside a subgraph, where inputs are not recorded: rtn reaches it';
  return product.inputPerm === undefined ? undefined : 'its input stands transposed: rtn reaches it';
}

function sharedWeights(products: readonly MatrixProduct[]): Sharers[] {
  const scopes = new Map<Scope, Map<string, Sharers>>();
  for (const product of products) {
    const { weightScope, weightName, weightTransposed, alpha } = product;
    const known = scopes.get(weightScope) ?? new Map<string, Sharers>();
    scopes.set(weightScope, known);
    const key = JSON.stringify([weightName, weightTransposed, alpha]);
    const others = known.get(key);
    known.set(key, others === undefined ? [product] : [...others, product]);
  }
  return [...scopes.values()].flatMap((known) => [...known.values()]);
}

/** Weights that are worked on after one run of the calibration requests, so that not all moments are held at once. */
function groupsOf(shared: readonly Sharers[], { method }: Settings): Sharers[][] {
  const groups: Sharers[][] = [[]];
  let bytes = 0;
  for (const sharers of method === 'gptq' ? shared : []) {
    const own = 8 * sharers.length * (sharers[0].inputs + 1) ** 2;
    if (bytes > 0 && bytes + own > MAX_MOMENT_BYTES) {
      groups.push([]);
      bytes = 0;
    }
    groups.at(-1)?.push(sharers);
    bytes += own;
  }
  return method === 'gptq' ? groups : [[...shared]];
}

type Moments = ReadonlyMap<string, SecondMoment>;

function inputMoments(
  model: Model,
  group: readonly Sharers[],
  { method }: Settings,
  context: PassContext,
): Promise<Moments | undefined> {
  if (method === 'rtn') return Promise.resolve(undefined);
  const feeds = calibrationOf(context, 'quantize-weights with method gptq', false);
  const taps = group.flat().map(({ input, inputs }) => ({ value: input, width: inputs }));
  return secondMoments(model, taps, feeds, context);
}

/** Undefined where the weights, or their inputs, are not all finite. */
function quantize(sharers: Sharers, settings: Settings, moments: Moments | undefined): Quantized | undefined {
  const [product] = sharers;
  const { inputs, outputs, weightTransposed } = product;
  const matrix = { weight: storedWeight(product), inputs, outputs, transposed: weightTransposed };
  if (moments !== undefined) return compensatedBlocks(matrix, gramOf(sharers, moments), settings);
  const quantized = roundToBlocks(matrix, settings);
  return Number.isFinite(quantized.relativeError) ? quantized : undefined;
}

/** Second moment of all inputs that meet the weights. */
function gramOf(sharers: Sharers, moments: Moments): Float64Array {
  const { inputs } = sharers[0];
  const gram = new Float64Array(inputs * inputs);
  for (const { input } of sharers) {
    const own = withoutOnes(must(moments.get(input), `second moment of ${input}`));
    for (let i = 0; i < gram.length; i++) gram[i] = (gram[i] ?? 0) + (own[i] ?? 0);
  }
  return gram;
}

function write(
  edit: GraphEdit,
  sharers: Sharers,
  { weights, relativeError }: Quantized,
  settings: Settings,
): LayerChange[] {
  const names = store(edit, sharers[0], weights, settings);
  const { bits, blockSize } = settings;
  return sharers.map((product) => {
    const { inputs, outputs } = product;
    const nodes = edit.writer(product.name);
    const attributes = { K: inputs, N: outputs, bits, block_size: blockSize };
    const rows = turned(nodes, product.input, product.inputPerm);
    writeProduct(edit, nodes, product, (output) =>
      nodes.contrib(
        'MatMulNBits',
        [rows, ...names],
        { ...attributes, accuracy_level: settings.accuracyLevel },
        output,
      ),
    );
    return {
      layer: product.name,
      change: `${inputs} × ${outputs} from float32 to ${bits} bits, one scale for ${blockSize} inputs of an output`,
      weightsBefore: weightCount(product),
      weightsAfter: weightCount(product),
      relativeError,
    };
  });
}

/** Names of the values, scales and zero points. */
function store(
  edit: GraphEdit,
  { weightName, inputs, outputs, alpha }: MatrixProduct,
  { values, scales, zeroPoints }: BlockWeights,
  { bits, blockSize }: Settings,
): string[] {
  const blocks = Math.ceil(inputs / blockSize);
  const bytes = (dims: readonly number[], data: Uint8Array): Tensor => ({ dtype: 'uint8', dims, data });
  const scaled = alpha === 1 ? scales : scales.map((scale) => alpha * scale);
  const valueDims = [outputs, blocks, (blockSize * bits) / 8];
  const names = [
    edit.sharedTensor(`${weightName}/int${bits}`, bytes(valueDims, values)),
    edit.sharedTensor(`${weightName}/scales`, float32(scaled, [outputs, blocks])),
  ];
  if (zeroPoints === undefined) return names;
  const zeroDims = [outputs, zeroPoints.length / outputs];
  return [...names, edit.sharedTensor(`${weightName}/zero_points`, bytes(zeroDims, zeroPoints))];
}

/** As recipes name it. */
export const quantizeWeightsPass: PassDefinition<QuantizeWeightsParameters> = {
  summary:
    'Dense weights alone in 4 or 8 bits: an eighth or a quarter of the bytes; faster for a few rows, not for a hundred.',
  parameters: {
    bits: { enum: [4, 8] },
    blockSize: { enum: [16, 32, 64, 128, 256] },
    symmetric: { type: 'boolean' },
    method: { enum: ['rtn', 'gptq'] },
    accuracyLevel: { enum: [0, 4] },
    minWeights: { type: 'integer', minimum: 0 },
    exclude: NAME_PATTERNS,
  },
  create: quantizeWeights,
};

import { elementCount } from '../../core/index.js';
import { intAttribute } from '../../onnx/index.js';
import type { Node } from '../../onnx/index.js';
import type { Shapes } from '../graph/channel-trace.js';
import { findMatrixProducts, weightCount } from '../graph/matrix-products.js';
import type { MatrixProduct } from '../graph/matrix-products.js';
import { readElsewhere } from '../graph/other-readers.js';
import { findSparseWeights } from '../graph/sparse-layers.js';
import { findStaticLayers } from '../graph/static-layers.js';
import type { StaticLayer } from '../graph/static-layers.js';
import { greatestRankOf } from '../low-rank/weight-group.js';
import type { PassName } from '../passes/index.js';
import { PruningEstimate } from './pruning-estimate.js';
import type { PrunedLayer } from './pruning-estimate.js';
import { isWide } from './speed.js';
import { figuresOf, MIN_CUT_WEIGHTS, MIN_WEIGHTS, UNCHANGED } from './subject.js';
import type { Gain, Saving, Subject, Taken } from './subject.js';
import { WeightLedger } from './weight-ledger.js';

// What the shorthands `pruned` and `heads` ask for.
const NEURON_WORK_SHARE = 0.6;
const HEAD_SHARE = 0.5;

/** The layers that the shorthands would prune, by what of them. */
export function prunedLayers(
  { model, work }: Subject,
  shapes: Shapes,
): Readonly<Record<'neurons' | 'heads', PrunedLayer[]>> {
  const estimate = new PruningEstimate(model, shapes);
  const workOf = ({ node }: { readonly node: Node }): number => work?.(node) ?? 0;
  return {
    neurons: estimate.global('neurons', NEURON_WORK_SHARE, workOf),
    heads: estimate.uniform('heads', HEAD_SHARE),
  };
}

/** Pruned neurons or heads: `layers` are those whose weights become fewer. */
export function pruning(
  subject: Subject,
  recipe: string,
  pass: PassName,
  layers: readonly PrunedLayer[],
): Saving {
  const { model } = subject;
  const ledger = new WeightLedger(model);
  const readers = new Set(layers.map(({ layer }) => layer.node));
  const taken = layers.map(({ layer, kept }): Taken => {
    const { node, weightName, inputs, outputs } = layer;
    const bytes = Math.round(4 * inputs * outputs * kept);
    ledger.replace({ graph: model.graph }, weightName, { readers, bytes });
    // Half of all widths, 0.36 of the weights, took 0.32 of the time: it goes with the multiply-adds.
    return { node, isWide: isWide(inputs, outputs), low: 1 / kept, high: 1 / kept, kept };
  });
  const { products, left } = findMatrixProducts(model, 0);
  const counts = { takes: layers.length, of: products.length + left.length, unit: 'layers' } as const;
  const figures = figuresOf(subject, taken);
  return { recipe, pass, ...counts, bytes: ledger.bytes, ...figures, needsRequests: true };
}

interface DenseMethod {
  readonly recipe: string;
  readonly pass: PassName;
  readonly minOpset: number;
  readonly fits: (product: MatrixProduct) => boolean;
  /** Bytes of the weights afterwards. */
  readonly bytes: (product: MatrixProduct) => number;
  readonly gain: Gain;
  readonly kept?: number;
  readonly needsRequests: boolean;
}

function dense(subject: Subject, method: DenseMethod): Saving {
  const { model } = subject;
  const { products, left } = findMatrixProducts(model, method.minOpset);
  const fitting = products.filter(method.fits);
  const readers = new Set(fitting.map(({ node }) => node));
  const ledger = new WeightLedger(model);
  for (const product of fitting) {
    const { weightScope, weightName, weightTransposed, alpha } = product;
    const form = JSON.stringify([weightTransposed, alpha]);
    ledger.replace(weightScope, weightName, { readers, bytes: method.bytes(product), form });
  }
  const { recipe, pass, gain, kept, needsRequests } = method;
  const taken = fitting.map(({ node, inputs, outputs }): Taken => ({
    node,
    isWide: isWide(inputs, outputs),
    ...gain,
    ...(kept !== undefined && { kept }),
  }));
  const counts = { takes: fitting.length, of: products.length + left.length, unit: 'layers' } as const;
  return { recipe, pass, ...counts, bytes: ledger.bytes, ...figuresOf(subject, taken), needsRequests };
}

/** Dynamic int8. */
export function quantizedDynamic(subject: Subject): Saving {
  return dense(subject, {
    recipe: 'int8',
    pass: 'quantize-dynamic',
    minOpset: 11,
    fits: (product) => weightCount(product) >= MIN_WEIGHTS,
    bytes: (product) => weightCount(product) + 4 * product.outputs,
    // Layers of 256 to 1024 at 100 rows, AVX-512 VNNI.
    gain: { low: 2.5, high: 3.8 },
    needsRequests: false,
  });
}

const BLOCK = 32;

/** Weights alone in 8 or 4 bits. */
export function weightOnly(subject: Subject, bits: 8 | 4): Saving {
  return dense(subject, {
    recipe: `w${bits}`,
    pass: 'quantize-weights',
    minOpset: 7,
    fits: (product) => product.batch.length === 0 && weightCount(product) >= MIN_WEIGHTS,
    bytes: ({ inputs, outputs }) => {
      const blocks = Math.ceil(inputs / BLOCK);
      return outputs * (blocks * ((BLOCK * bits) / 8 + 4) + Math.ceil((blocks * bits) / 8));
    },
    // From slower to a little faster at 100 rows.
    gain: { low: 0.6, high: 1.4 },
    needsRequests: false,
  });
}

/** Default of the pass: multiply-adds after over before. */
const LOW_RANK_SHARE = 0.4;

/** Dense layers as products of two thin ones. */
export function lowRank(subject: Subject): Saving {
  return dense(subject, {
    recipe: 'lowrank',
    pass: 'low-rank',
    minOpset: 7,
    fits: canBeCut,
    bytes: (product) => Math.round(4 * LOW_RANK_SHARE * weightCount(product)),
    // Layers of 320 × 320 and 1024 × 512 at 0.38 to 0.4 of the multiply-adds.
    gain: { low: 2.2, high: 2.8 },
    kept: LOW_RANK_SHARE,
    needsRequests: true,
  });
}

function canBeCut(product: MatrixProduct): boolean {
  const { node, scope, batch, inputs, outputs, inputPerm, weightScope, weightName } = product;
  return (
    weightCount(product) >= MIN_CUT_WEIGHTS &&
    batch.length === 0 &&
    scope.outer === undefined &&
    inputPerm === undefined &&
    greatestRankOf(inputs, outputs) > 0 &&
    !readElsewhere(weightScope, weightName, new Set([node]))
  );
}

/** Single weights zero: no bytes, no time. */
export function sparse(subject: Subject): Saving {
  const { weights, left } = findSparseWeights(subject.model, false);
  const takes = weights.reduce((sum, { layers }) => sum + layers.length, 0);
  const counts = { takes, of: takes + left.length, unit: 'layers' } as const;
  return {
    recipe: 'sparse',
    pass: 'prune-unstructured',
    ...counts,
    bytes: new WeightLedger(subject.model).bytes,
    ...figuresOf(subject, []),
    timesFaster: UNCHANGED,
    needsRequests: false,
  };
}

/** Static int8 of dense layers and convolutions. */
export function quantizedStatic(subject: Subject): Saving {
  const { model } = subject;
  const { layers, left } = findStaticLayers(model);
  const fitting = layers.filter((layer) => fitsStatic(layer));
  const readers = new Set(fitting.map(({ node }) => node));
  const ledger = new WeightLedger(model);
  const taken = fitting.map((layer): Taken => {
    const { node, kind, weightName, weightDims, outputs } = layer;
    // Values, and a scale and a zero point an output.
    const bytes = elementCount(weightDims) + 5 * outputs;
    ledger.replace({ graph: model.graph }, weightName, { readers, bytes });
    const inputs = elementCount(weightDims) / outputs;
    // Convolutions of small models and of 64 channels; dense layers of 256 to 1024.
    const gain = kind === 'conv' ? { low: 1.2, high: 3 } : { low: 2.4, high: 2.7 };
    return { node, isWide: kind === 'conv' || isWide(inputs, outputs), ...gain };
  });
  const counts = { takes: fitting.length, of: layers.length + left.length, unit: 'layers' } as const;
  return {
    recipe: 'static',
    pass: 'quantize-static',
    ...counts,
    bytes: ledger.bytes,
    ...figuresOf(subject, taken),
    needsRequests: true,
  };
}

/** A convolution uses each of its weights at many places, but does its groups one by one. */
function fitsStatic({ kind, node, weightDims }: StaticLayer): boolean {
  const weights = elementCount(weightDims);
  if (kind === 'dense') return weights >= MIN_WEIGHTS;
  return weights / Math.max(1, intAttribute(node, 'group', 1)) >= MIN_WEIGHTS / 4;
}

import { elementCount } from '../../core/index.js';
import { constantInfo, intAttribute } from '../../onnx/index.js';
import type { Model, Node } from '../../onnx/index.js';
import { findLookups } from '../graph/lookups.js';
import type { LookupTable } from '../graph/lookups.js';
import { findMatrixProducts, weightCount } from '../graph/matrix-products.js';
import type { MatrixProduct } from '../graph/matrix-products.js';
import { readElsewhere } from '../graph/other-readers.js';
import { findSparseWeights } from '../graph/sparse-layers.js';
import { findStaticLayers } from '../graph/static-layers.js';
import type { StaticLayer } from '../graph/static-layers.js';
import { greatestRankOf } from '../low-rank/weight-group.js';
import { nodeMultiplyAdds } from '../measure/node-multiply-adds.js';
import type { DimsOf } from '../measure/node-multiply-adds.js';
import { multiplyAddsAt, outputRows } from '../measure/model-stats.js';
import type { PassName } from '../passes/index.js';
import type { Shapes } from '../graph/channel-trace.js';
import { PruningEstimate } from './pruning-estimate.js';
import type { PrunedLayer } from './pruning-estimate.js';
import { removableNodes } from './removable-nodes.js';
import { isWide, timesFaster } from './speed.js';
import type { FasterPart, SpeedRange } from './speed.js';
import { WeightLedger } from './weight-ledger.js';
import type { KindBytes } from './weight-ledger.js';

/** What one recipe would save, estimated without running it. */
export interface Saving {
  /** The recipe's short name, or the pass's where it has none. */
  readonly recipe: string;
  readonly pass: PassName;
  /** How many layers, tables or nodes it would take, and how many of the kind the model has. */
  readonly takes: number;
  readonly of: number;
  readonly unit: 'layers' | 'tables' | 'nodes';
  /** Bytes of the constants afterwards; null where that depends on requests. */
  readonly bytes: KindBytes | null;
  /** Afterwards; null where the model could not be run on made-up inputs. */
  readonly multiplyAddsPer100Rows: number | null;
  /** Of the multiply-adds as they are, those in what it takes. */
  readonly takenMultiplyAdds: number | null;
  /** Gain at 100 rows, as measured elsewhere; null where it is not known. */
  readonly timesFaster: SpeedRange | null;
  readonly needsRequests: boolean;
}

/** The model with what is known of it. */
interface Subject {
  readonly model: Model;
  /** Multiply-adds of a node and of the model, at 100 rows; undefined where shapes are not known. */
  readonly work: ((node: Node) => number) | undefined;
  readonly totalWork: number | undefined;
}

/** What every pass would save at its defaults, and those with a short name as that sets them. `shapes` are those of a run; undefined where the model did not run. */
export function estimateSavings(model: Model, shapes: Shapes | undefined): Saving[] {
  const subject = subjectOf(model, shapes);
  const pruned = shapes === undefined ? { neurons: [], heads: [] } : prunedLayers(subject, shapes);
  return [
    simplifying(subject),
    pruning(subject, 'heads', 'prune-heads', pruned.heads),
    pruning(subject, 'pruned', 'prune-structured', pruned.neurons),
    lowRank(subject),
    sparse(subject),
    tables(subject, 8),
    tables(subject, 4),
    factorised(subject),
    merged(subject),
    quantizedStatic(subject),
    quantizedDynamic(subject),
    weightOnly(subject, 8),
    weightOnly(subject, 4),
  ];
}

function subjectOf(model: Model, shapes: Shapes | undefined): Subject {
  if (shapes === undefined) return { model, work: undefined, totalWork: undefined };
  const dimsOf: DimsOf = (name) => shapes.get(name)?.dims;
  const scale = 100 / outputRows(model, dimsOf);
  return {
    model,
    work: (node) => scale * (nodeMultiplyAdds(node, dimsOf) ?? 0),
    totalWork: scale * multiplyAddsAt(model, dimsOf),
  };
}

/** How many times as fast a product becomes: from, to. */
interface Gain {
  readonly low: number;
  readonly high: number;
}

/** Something taken: its node, how wide it is, its gain, and the share of its multiply-adds that stays. */
interface Taken extends Gain {
  readonly node: Node;
  readonly isWide: boolean;
  readonly kept?: number;
}

type Figures = Pick<Saving, 'multiplyAddsPer100Rows' | 'takenMultiplyAdds' | 'timesFaster'>;

/** What `taken` makes of the model's multiply-adds and time. */
function figuresOf({ work, totalWork }: Subject, taken: readonly Taken[]): Figures {
  if (work === undefined || totalWork === undefined)
    return { multiplyAddsPer100Rows: null, takenMultiplyAdds: null, timesFaster: null };
  const parts = taken.map((each): FasterPart & { kept: number } => ({
    multiplyAdds: work(each.node),
    kept: each.kept ?? 1,
    low: each.isWide ? each.low : 1,
    high: each.isWide ? each.high : 1,
  }));
  const saved = parts.reduce((sum, { multiplyAdds, kept }) => sum + multiplyAdds * (1 - kept), 0);
  return {
    multiplyAddsPer100Rows: Math.round(totalWork - saved),
    takenMultiplyAdds: Math.round(parts.reduce((sum, { multiplyAdds }) => sum + multiplyAdds, 0)),
    timesFaster: timesFaster(totalWork, parts),
  };
}

const UNCHANGED: Gain = { low: 1, high: 1 };

function simplifying(subject: Subject): Saving {
  const { nodes } = subject.model.graph;
  const takes = removableNodes(subject.model);
  const counts = {
    recipe: 'simplify',
    takes,
    of: nodes.length,
    unit: 'nodes',
    needsRequests: false,
  } as const;
  return { ...counts, pass: 'simplify', bytes: null, ...figuresOf(subject, []), timesFaster: UNCHANGED };
}

/** What the shorthands `pruned` and `heads` ask for. */
const NEURON_WORK_SHARE = 0.6;
const HEAD_SHARE = 0.5;

function prunedLayers(
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

function pruning(subject: Subject, recipe: string, pass: PassName, layers: readonly PrunedLayer[]): Saving {
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

/** Of the passes that quantize. */
const MIN_WEIGHTS = 4096;
/** Of those that cut ranks. */
const MIN_CUT_WEIGHTS = 8192;

function quantizedDynamic(subject: Subject): Saving {
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

function weightOnly(subject: Subject, bits: 8 | 4): Saving {
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

function lowRank(subject: Subject): Saving {
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

function sparse(subject: Subject): Saving {
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

function quantizedStatic(subject: Subject): Saving {
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

interface TableMethod {
  readonly recipe: string;
  readonly pass: PassName;
  readonly fits: (table: LookupTable) => boolean;
  /** Null where that depends on requests. */
  readonly bytes: ((table: LookupTable) => number) | null;
  readonly gain: Gain;
  readonly needsRequests: boolean;
}

function lookups(subject: Subject, { fits, bytes, gain, ...method }: TableMethod): Saving {
  const { model } = subject;
  const found = findLookups(model);
  const fitting = found.tables.filter(fits);
  const ledger = new WeightLedger(model);
  for (const table of fitting) {
    const [{ node, scope }] = table.lookups;
    const readers = new Set(table.lookups.map((lookup) => lookup.node));
    ledger.replace(scope, node.inputs[0] ?? '', { readers, bytes: bytes?.(table) ?? 0 });
  }
  const counts = {
    takes: fitting.length,
    of: found.tables.length + found.left.length,
    unit: 'tables',
  } as const;
  const figures = { ...figuresOf(subject, []), timesFaster: gain };
  return { ...method, ...counts, bytes: bytes === null ? null : ledger.bytes, ...figures };
}

function tables(subject: Subject, bits: 8 | 4): Saving {
  const opset = subject.model.opsets.get('') ?? 0;
  return lookups(subject, {
    recipe: `int${bits}tables`,
    pass: 'quantize-tables',
    fits: ({ rows, width }) => rows * width >= MIN_WEIGHTS && opset >= (bits === 8 ? 7 : 11),
    bytes: ({ rows, width, dims }) => {
      const inner = dims.at(-1) ?? 1;
      // A float16 scale a row; 4 bits have an offset beside it.
      return bits === 8 ? rows * (width + 2) : rows * ((width / inner) * Math.ceil(inner / 2) + 4);
    },
    gain: bits === 8 ? UNCHANGED : { low: 0.9, high: 1 },
    needsRequests: false,
  });
}

function canFactorise({ dtype, dims, rows, width, lookups: readers }: LookupTable, model: Model): boolean {
  const seen = readers.every(({ scope }) => scope.outer === undefined);
  const opset = model.opsets.get('') ?? 0;
  const plain = dtype === 'float32' && dims.length === 2 && rows * width >= MIN_CUT_WEIGHTS;
  return plain && seen && opset >= 7 && greatestRankOf(rows, width) > 0;
}

function factorised(subject: Subject): Saving {
  return lookups(subject, {
    recipe: 'factorise-tables',
    pass: 'factorise-tables',
    fits: (table) => canFactorise(table, subject.model),
    bytes: ({ rows, width }) => 2 * rows * width,
    gain: { low: 0.9, high: 1 },
    needsRequests: true,
  });
}

function merged(subject: Subject): Saving {
  const { graph } = subject.model;
  return lookups(subject, {
    recipe: 'merge-rare-rows',
    pass: 'merge-rare-rows',
    fits: ({ dtype, rows, width, lookups: readers }) =>
      dtype === 'float32' &&
      rows * width >= MIN_WEIGHTS &&
      readers.every(
        ({ scope, node }) =>
          scope.outer === undefined &&
          node.op === 'Gather' &&
          constantInfo(graph, node.inputs[0] ?? '') !== undefined,
      ),
    bytes: null,
    gain: UNCHANGED,
    needsRequests: true,
  });
}

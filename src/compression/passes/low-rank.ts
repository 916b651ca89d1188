import { must, WhittleError } from '../../core/index.js';
import type { Model } from '../../onnx/index.js';
import { Float64Products } from '../calibration/float64-products.js';
import { GraphEdit } from '../graph/graph-edit.js';
import { findMatrixProducts, weightCount } from '../graph/matrix-products.js';
import type { MatrixProduct } from '../graph/matrix-products.js';
import { readElsewhere } from '../graph/other-readers.js';
import { excludedBy, NAME_PATTERNS } from '../graph/name-patterns.js';
import { droppedShare, rankForEnergy } from '../kernels/low-rank-kernel.js';
import { chooseRanks } from '../low-rank/choose-ranks.js';
import type { Allocation, Budget } from '../low-rank/choose-ranks.js';
import { Spectra } from '../low-rank/spectra.js';
import type { Decomposed } from '../low-rank/spectra.js';
import { greatestRank, groupByWeight, weightsOf } from '../low-rank/weight-group.js';
import type { WeightGroup } from '../low-rank/weight-group.js';
import { writeFactors } from '../low-rank/write-factors.js';
import type { Basis, LayerChange, LeftLayer, Pass, PassDefinition } from '../pass.js';
import { calibrationOf, BASIS, SHARE } from '../pass.js';

/** At most one of the first four; default `multiplyAddShare` 0.4. */
export interface LowRankParameters {
  /** Rank as a share of the smaller of inputs and outputs, the same for every layer. */
  readonly rankShare?: number;
  /** The least rank that keeps this share of each layer's energy (sum of squares of its outputs). */
  readonly retainedEnergy?: number;
  /** Weights after over before, of the layers that the pass may change together. */
  readonly weightShare?: number;
  /** Multiply-adds after over before, of the layers that the pass may change together. */
  readonly multiplyAddShare?: number;
  /** How `weightShare` or `multiplyAddShare` is shared out among the layers. Default `energy`. */
  readonly allocation?: Allocation;
  /** Default `activations`. */
  readonly basis?: Basis;
  /** Layers with fewer weights are left: two small products take as long as one. Default 8192. */
  readonly minWeights?: number;
  /** Names of layers or weights to leave as they are; `*` stands for any text, `?` for one character. */
  readonly exclude?: readonly string[];
}

const RULES = ['rankShare', 'retainedEnergy', 'weightShare', 'multiplyAddShare'] as const;
const BUDGETS: readonly string[] = ['weightShare', 'multiplyAddShare'];
const DEFAULT_SHARE = 0.4;
const MIN_WEIGHTS = 8192;
const MIN_OPSET = 7;

/**
 * Low rank: a dense layer becomes two, `x · A[inputs, rank] · B[rank, outputs]`, by a singular value decomposition
 * weighted with the second moment of the layer's inputs on the calibration requests, so that the outputs (and not the
 * weights) change least. The rank is a share, or the least that keeps an energy, or what a budget of weights or
 * multiply-adds leaves a layer; it is a multiple of 16 where the layer is large. Bias and everything else stays.
 * Handles every form of MatMul and Gemm with a constant float32 matrix, from opset 7 on; inside subgraphs, and where the
 * input stands transposed, only by the weights alone.
 * @throws RECIPE_INVALID where two ways to choose the rank are given, or a budget is less than the least ranks take.
 */
export function lowRank(parameters: LowRankParameters = {}): Pass {
  checkParameters(parameters);
  return (model, context) =>
    Float64Products.within(context.openSession, async (products) => {
      const { groups, left } = findGroups(model, parameters);
      const feeds = parameters.basis === 'weights' ? undefined : calibrationOf(context, 'low-rank');
      const spectra = new Spectra(model, feeds, context, products);
      const budget = budgetOf(parameters);
      const ranks = budget && (await chooseRanks(model, groups, spectra, budget, feeds, context));
      const edit = new GraphEdit(model);
      const changed: LayerChange[] = [];
      const refused: LeftLayer[] = [];
      for await (const decomposed of spectra.walk(groups, 'low rank')) {
        const rank = rankOf(decomposed, ranks, parameters);
        if (typeof rank === 'string') refused.push(...refusals(decomposed.group, rank));
        else changed.push(...(await cut(edit, decomposed, rank)));
      }
      const report = { changed, left: [...left, ...refused] };
      return { model: changed.length === 0 ? model : edit.build(), report };
    });
}

function checkParameters(parameters: LowRankParameters): void {
  const given = RULES.filter((rule) => parameters[rule] !== undefined);
  const [first, second] = given;
  if (second !== undefined)
    throw new WhittleError('RECIPE_INVALID', `low-rank takes ${first ?? ''} or ${second}, not both`, {
      field: second,
      value: parameters[second],
      allowed: `absent beside ${first ?? ''}`,
    });
  const { allocation, basis } = parameters;
  if (allocation !== undefined && first !== undefined && !BUDGETS.includes(first))
    throw new WhittleError(
      'RECIPE_INVALID',
      `low-rank: allocation shares out a budget, and ${first} is none`,
      {
        field: 'allocation',
        value: allocation,
        allowed: `absent beside ${first}`,
      },
    );
  if (allocation === 'sensitivity' && basis === 'weights')
    throw new WhittleError('RECIPE_INVALID', 'low-rank: sensitivity is measured on calibration requests', {
      field: 'allocation',
      value: allocation,
      allowed: ['uniform', 'energy'],
    });
}

function findGroups(
  model: Model,
  parameters: LowRankParameters,
): { groups: WeightGroup[]; left: LeftLayer[] } {
  const { products, left } = findMatrixProducts(model, MIN_OPSET);
  const excluded = excludedBy(parameters.exclude ?? [], products.map(namesOf), 'low-rank');
  const taken: MatrixProduct[] = [];
  const refused: LeftLayer[] = [];
  for (const product of products) {
    const reason = excluded(namesOf(product)) ? 'excluded by name' : unfit(product, parameters);
    if (reason === undefined) taken.push(product);
    else refused.push({ layer: product.name, op: product.node.op, reason });
  }
  const groups: WeightGroup[] = [];
  for (const group of groupByWeight(taken)) {
    const reason = pointless(group);
    if (reason === undefined) groups.push(group);
    else refused.push(...refusals(group, reason));
  }
  return { groups, left: [...left, ...refused] };
}

function namesOf({ name, weightName }: MatrixProduct): readonly string[] {
  return [name, weightName];
}

/** Why the product cannot be cut. */
function unfit(product: MatrixProduct, parameters: LowRankParameters): string | undefined {
  const { minWeights = MIN_WEIGHTS, basis } = parameters;
  const count = weightCount(product);
  if (count < minWeights) return `${count} weights are fewer than minWeights ${minWeights}`;
  if (product.batch.length > 0) return `the weights have ${product.batch.length + 2} dimensions, not 2`;
  const inside = product.scope.outer !== undefined;
  if (basis === 'weights')
    return inside && budgetOf(parameters)?.of === 'multiply-adds'
      ? 'its rows are inside a subgraph, where they cannot be counted'
      : undefined;
  if (inside) return 'its inputs are inside a subgraph, where they cannot be seen';
  return product.inputPerm && 'its input stands transposed';
}

/** Why the weights would not become fewer. */
function pointless(group: WeightGroup): string | undefined {
  if (greatestRank(group) === 0) return 'no rank needs fewer weights than the layer has';
  const [{ weightScope, weightName }] = group.products;
  const readers = new Set(group.products.map(({ node }) => node));
  return readElsewhere(weightScope, weightName, readers)
    ? 'something else reads its weights too, which would stay beside the factors'
    : undefined;
}

function refusals({ products }: WeightGroup, reason: string): LeftLayer[] {
  return products.map(({ name, node }) => ({ layer: name, op: node.op, reason }));
}

function budgetOf(parameters: LowRankParameters): Budget | undefined {
  const { rankShare, retainedEnergy, weightShare, multiplyAddShare, allocation = 'energy' } = parameters;
  if ((rankShare ?? retainedEnergy) !== undefined) return undefined;
  if (weightShare !== undefined) return { share: weightShare, of: 'weights', allocation };
  return { share: multiplyAddShare ?? DEFAULT_SHARE, of: 'multiply-adds', allocation };
}

/** The rank to cut to, or why the matrix stays. */
function rankOf(
  { group, spectrum }: Decomposed,
  ranks: ReadonlyMap<WeightGroup, number> | undefined,
  { rankShare, retainedEnergy }: LowRankParameters,
): number | string {
  if (spectrum === undefined) return 'its weights, or its inputs on the calibration requests, are not finite';
  if (ranks !== undefined) return ranks.get(group) ?? 'other layers lose less for the same budget';
  const { inputs, outputs, rankStep } = group;
  const wanted =
    retainedEnergy === undefined
      ? Math.round(((rankShare ?? 0) * Math.min(inputs, outputs)) / rankStep)
      : Math.ceil(rankForEnergy(spectrum.values, retainedEnergy) / rankStep);
  const rank = rankStep * Math.max(1, wanted);
  if (rank <= greatestRank(group)) return rank;
  return `rank ${rank} would need ${weightsOf(group, rank)} weights, the layer has ${weightsOf(group)}`;
}

async function cut(edit: GraphEdit, { group, spectrum }: Decomposed, rank: number): Promise<LayerChange[]> {
  const found = must(spectrum, 'spectrum');
  writeFactors(edit, group, await found.factors(rank));
  const { products, inputs, outputs } = group;
  return products.map(({ name }) => ({
    layer: name,
    change: `${inputs} × ${outputs} as ${inputs} × ${rank} × ${outputs}`,
    weightsBefore: weightsOf(group),
    weightsAfter: weightsOf(group, rank),
    relativeError: droppedShare(found.values, rank),
  }));
}

/** As recipes name it. */
export const lowRankPass: PassDefinition<LowRankParameters> = {
  summary:
    'Dense layers as products of two thin ones, cut where the calibration requests lose least: smaller and faster.',
  parameters: {
    rankShare: SHARE,
    retainedEnergy: SHARE,
    weightShare: SHARE,
    multiplyAddShare: SHARE,
    allocation: { enum: ['uniform', 'energy', 'sensitivity'] },
    basis: BASIS,
    minWeights: { type: 'integer', minimum: 0 },
    exclude: NAME_PATTERNS,
  },
  create: lowRank,
};

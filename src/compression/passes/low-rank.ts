import { float32, must, WhittleError } from '../../core/index.js';
import type { Graph, Model } from '../../onnx/index.js';
import type { DenseLayer } from '../graph/dense-layers.js';
import { findDenseLayers, gemmBiasOf, weightOf } from '../graph/dense-layers.js';
import { GraphEdit } from '../graph/graph-edit.js';
import { addRidge } from '../kernels/linear-algebra-kernel.js';
import { droppedShare, factorsOf, rankForEnergy, whitenedSvd } from '../kernels/low-rank-kernel.js';
import type { Basis, LayerChange, LeftLayer, Pass, PassContext, PassDefinition } from '../pass.js';
import { calibrationOf, BASIS, SHARE } from '../pass.js';
import type { SecondMoment } from '../calibration/second-moments.js';
import { secondMoments, withoutOnes } from '../calibration/second-moments.js';
import type { Svd } from '../kernels/svd-kernel.js';

export interface LowRankParameters {
  /** Rank as a share of the smaller of inputs and outputs. Default 0.25. */
  readonly rankShare?: number;
  /** Instead: the least rank that keeps this share of the outputs' energy (sum of squares). */
  readonly retainedEnergy?: number;
  /** Default `activations`. */
  readonly basis?: Basis;
}

/** Keeps the second moment positive definite where the requests do not span all inputs. */
const RIDGE = 1e-6;

/** One weight matrix and the layers that use it. */
interface SharedWeight {
  readonly layers: readonly DenseLayer[];
  readonly inputs: number;
  readonly outputs: number;
}

/**
 * Low rank: a dense layer becomes two, `x · A[inputs, rank] · B[rank, outputs]`, by a singular value decomposition
 * weighted with the second moment of the layer's inputs on the calibration requests, so that the outputs (and not the
 * weights) change least. The bias stays. Handles MatMul (inputs of any rank) and Gemm with constant float32 weights,
 * from opset 7 on; a layer that would not shrink is left.
 * @throws RECIPE_INVALID where both rankShare and retainedEnergy are given.
 */
export function lowRank(parameters: LowRankParameters = {}): Pass {
  const { rankShare, retainedEnergy } = parameters;
  if (rankShare !== undefined && retainedEnergy !== undefined)
    throw new WhittleError('RECIPE_INVALID', 'low-rank takes rankShare or retainedEnergy, not both', {
      field: 'retainedEnergy',
      value: retainedEnergy,
      allowed: 'absent beside rankShare',
    });
  return async (model, context) => {
    const { layers, left } = findDenseLayers(model);
    const weights = sharedWeights(layers);
    const moments = await inputMoments(model, weights, parameters, context);
    const edit = new GraphEdit(model);
    const changed: LayerChange[] = [];
    const refused: LeftLayer[] = [];
    for (const shared of weights) {
      const least = leastRank(shared, parameters);
      const cut = shrinks(shared, least) ? decompose(model.graph, shared, moments) : undefined;
      const rank = cut === undefined ? least : chosenRank(cut.svd, least, parameters);
      if (cut === undefined || !shrinks(shared, rank)) refused.push(...refusals(shared, rank));
      else changed.push(...writeFactors(edit, shared, cut, rank));
    }
    return {
      model: changed.length === 0 ? model : edit.build(),
      report: { changed, left: [...left, ...refused] },
    };
  };
}

function sharedWeights(layers: readonly DenseLayer[]): SharedWeight[] {
  const groups = new Map<string, DenseLayer[]>();
  for (const layer of layers) groups.set(layer.weightKey, [...(groups.get(layer.weightKey) ?? []), layer]);
  return [...groups.values()].map((group) => {
    const { inputs, outputs } = must(group[0], 'layer');
    return { layers: group, inputs, outputs };
  });
}

/** The rank asked for, or where energy decides the least that there is. */
function leastRank({ inputs, outputs }: SharedWeight, parameters: LowRankParameters): number {
  if (parameters.retainedEnergy !== undefined) return 1;
  return Math.max(1, Math.round((parameters.rankShare ?? 0.25) * Math.min(inputs, outputs)));
}

function chosenRank(svd: Svd, least: number, { retainedEnergy }: LowRankParameters): number {
  return retainedEnergy === undefined ? least : rankForEnergy(svd.values, retainedEnergy);
}

function shrinks({ inputs, outputs }: SharedWeight, rank: number): boolean {
  return rank * (inputs + outputs) < inputs * outputs;
}

function refusals({ layers, inputs, outputs }: SharedWeight, rank: number): LeftLayer[] {
  const reason = `rank ${rank} would need ${rank * (inputs + outputs)} weights, the layer has ${inputs * outputs}`;
  return layers.map((layer) => ({ layer: layer.name, op: layer.node.op, reason }));
}

function inputMoments(
  model: Model,
  weights: readonly SharedWeight[],
  parameters: LowRankParameters,
  context: PassContext,
): Promise<ReadonlyMap<string, SecondMoment> | undefined> {
  if (parameters.basis === 'weights') return Promise.resolve(undefined);
  const feeds = calibrationOf(context, 'low-rank');
  const worth = weights.filter((shared) => shrinks(shared, leastRank(shared, parameters)));
  const taps = worth.flatMap(({ layers, inputs }) =>
    layers.map(({ input }) => ({ value: input, width: inputs })),
  );
  return secondMoments(model, taps, feeds, context);
}

/** Decomposition of a weight matrix under the second moments of all inputs that meet it. */
function decompose(
  graph: Graph,
  { layers, inputs, outputs }: SharedWeight,
  moments: ReadonlyMap<string, SecondMoment> | undefined,
): { weight: Float64Array; svd: Svd } {
  const [first] = layers;
  const weight = weightOf(graph, must(first, 'layer'));
  const gram = new Float64Array(inputs * inputs);
  for (const { input } of moments === undefined ? [] : layers)
    addInPlace(gram, withoutOnes(must(moments?.get(input), `second moment of ${input}`)));
  addRidge(gram, inputs, RIDGE);
  const decomposition = whitenedSvd(weight, gram, inputs, outputs);
  if (decomposition !== undefined) return { weight, svd: decomposition };
  throw notFinite(must(first, 'layer'));
}

function notFinite({ name, input }: DenseLayer): WhittleError {
  return new WhittleError(
    'GRAPH_UNSUPPORTED',
    `Layer ${name} has weights, or inputs on the calibration requests, that are not finite`,
    { layer: name, input },
  );
}

function writeFactors(
  edit: GraphEdit,
  { layers, inputs, outputs }: SharedWeight,
  { weight, svd }: { readonly weight: Float64Array; readonly svd: Svd },
  rank: number,
): LayerChange[] {
  const { first, second } = factorsOf(weight, svd, rank, inputs, outputs);
  const base = must(layers[0], 'layer').weightName;
  const names = [
    edit.tensor(`${base}/left`, float32(first, [inputs, rank])),
    edit.tensor(`${base}/right`, float32(second, [rank, outputs])),
  ] as const;
  return layers.map((layer) => {
    replaceByTwo(edit, layer, names);
    return {
      layer: layer.name,
      change: `${inputs} × ${outputs} as ${inputs} × ${rank} × ${outputs}`,
      weightsBefore: inputs * outputs,
      weightsAfter: rank * (inputs + outputs),
      relativeError: droppedShare(svd.values, rank),
    };
  });
}

function replaceByTwo(edit: GraphEdit, layer: DenseLayer, [left, right]: readonly [string, string]): void {
  const nodes = edit.writer(layer.name);
  const inner = nodes.value('MatMul', [layer.input, left]);
  const bias = gemmBiasOf(edit.graph, layer);
  if (bias === undefined) nodes.value('MatMul', [inner, right], {}, layer.output);
  else
    nodes.value('Gemm', [inner, right, edit.tensor(`${layer.name}/bias`, float32(bias))], {}, layer.output);
  edit.replace(layer.node, nodes.nodes);
}

function addInPlace(target: Float64Array, added: Float64Array): void {
  for (let i = 0; i < target.length; i++) target[i] = (target[i] ?? 0) + (added[i] ?? 0);
}

/** As recipes name it. */
export const lowRankPass: PassDefinition<LowRankParameters> = {
  summary:
    'Dense layers as products of two thin ones, cut where the calibration requests lose least: smaller and faster.',
  parameters: { rankShare: SHARE, retainedEnergy: SHARE, basis: BASIS },
  create: lowRank,
};

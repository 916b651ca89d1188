import { elementCount, must } from '../../core/index.js';
import type { TensorMap } from '../../core/index.js';
import { probeShapes } from '../../onnx/index.js';
import type { Model } from '../../onnx/index.js';
import { exampleFeed } from '../calibration/find-feeds.js';
import type { PassContext } from '../pass.js';
import { greedyRanks, uniformRanks } from './allocate-ranks.js';
import type { RankChoice } from './allocate-ranks.js';
import { SensitivityProbe } from './sensitivity.js';
import type { Spectra } from './spectra.js';
import { greatestRank, weightsOf } from './weight-group.js';
import type { WeightGroup } from './weight-group.js';

/** How a budget is shared out among weight matrices. */
export type Allocation = 'uniform' | 'energy' | 'sensitivity';

/** What the weights, or the multiply-adds with them, may be after over what they are. */
export interface Budget {
  readonly share: number;
  readonly of: 'weights' | 'multiply-adds';
  readonly allocation: Allocation;
}

/**
 * The rank of each weight matrix under a budget, undefined for one that stays whole. A matrix that cannot be decomposed
 * stays whole and does not count.
 * @throws RECIPE_INVALID where the least ranks cost more than the budget.
 */
export async function chooseRanks(
  model: Model,
  groups: readonly WeightGroup[],
  spectra: Spectra,
  budget: Budget,
  feeds: readonly TensorMap[] | undefined,
  context: PassContext,
): Promise<ReadonlyMap<WeightGroup, number>> {
  if (groups.length === 0) return new Map();
  const rows = budget.of === 'weights' ? undefined : await rowCounts(model, groups, context);
  const probe =
    budget.allocation === 'sensitivity'
      ? await SensitivityProbe.start(model, must(feeds, 'feeds of sensitivities'), context)
      : undefined;
  const cuttable: WeightGroup[] = [];
  const choices: RankChoice[] = [];
  let allowed = 0;
  for await (const { group, spectrum } of spectra.walk(groups, 'spectrum')) {
    if (spectrum === undefined) continue;
    const factor = rows?.get(group) ?? 1;
    const wholeCost = factor * weightsOf(group);
    allowed += budget.share * wholeCost;
    cuttable.push(group);
    choices.push({
      values: spectrum.values,
      rankStep: group.rankStep,
      greatestRank: greatestRank(group),
      rankCost: factor * weightsOf(group, 1),
      wholeCost,
      importance: probe === undefined ? 1 : await probe.measure(group, spectrum),
    });
  }
  const ranks =
    budget.allocation === 'uniform'
      ? uniformRanks(choices, allowed, 'low-rank')
      : greedyRanks(choices, allowed, 'low-rank');
  return new Map(
    cuttable.flatMap((group, index) => {
      const rank = ranks[index];
      return rank === undefined ? [] : [[group, rank] as const];
    }),
  );
}

/** Rows that each weight matrix is multiplied with in a run, over all products that use it. */
async function rowCounts(
  model: Model,
  groups: readonly WeightGroup[],
  context: PassContext,
): Promise<ReadonlyMap<WeightGroup, number>> {
  const shapes = await probeShapes(model, context.openSession, await exampleFeed(model, context));
  return new Map(
    groups.map((group) => {
      const rows = group.products.map(
        ({ output }) => elementCount(must(shapes.get(output), output).dims) / group.outputs,
      );
      return [group, rows.reduce((sum, count) => sum + count, 0)] as const;
    }),
  );
}

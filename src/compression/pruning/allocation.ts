import type { Model } from '../../onnx/index.js';
import type { ChannelGroup } from '../graph/channel-groups.js';
import type { Shapes } from '../graph/channel-trace.js';
import { FIXED } from '../graph/channel-units.js';
import type { ChannelUnits } from '../graph/channel-units.js';
import { findDenseLayers } from '../graph/dense-layers.js';
import { rankUnits } from './importance.js';
import type { Ranking } from './importance.js';

/** The same share of every group's units, or what costs least a multiply-add over all groups. */
export type Allocation = 'uniform' | 'global';

/** How many units of a group may go at most: one stays, and at least one wherever only some of them stand. */
export function mostRemovable({ removable, size }: ChannelGroup): number {
  return Math.min(removable.length, size - 1);
}

/** How many units to remove of each group. */
export async function allocate(
  model: Model,
  groups: readonly ChannelGroup[],
  shapes: Shapes,
  { share = 0.5, allocation = 'uniform' }: { readonly share?: number; readonly allocation?: Allocation },
  ranking: Ranking,
): Promise<readonly number[]> {
  if (allocation === 'uniform')
    return groups.map((group) => Math.min(mostRemovable(group), Math.round(group.size * share)));
  const steps: Step[] = [];
  let total = 0;
  for (const [index, group] of groups.entries()) {
    ranking.context.progress?.(index, groups.length, 'ranking for the global allocation');
    const work = unitWork(model, group, shapes, ranking.units);
    total += group.size === 0 ? 0 : [...work.values()].reduce((sum, each) => sum + each, 0);
    steps.push(...stepsOf(index, await rankUnits(model, group, mostRemovable(group), ranking), work));
  }
  return cheapestSteps(steps, share * total, groups.length);
}

/** The removal of one more unit of a group. */
interface Step {
  readonly group: number;
  /** Cost a multiply-add; never below that of the step before, so that a group's steps keep their order. */
  readonly price: number;
  readonly work: number;
}

function stepsOf(
  group: number,
  { units, costs }: { readonly units: readonly number[]; readonly costs: readonly number[] },
  workOf: ReadonlyMap<number, number>,
): Step[] {
  let price = 0;
  return units.map((unit, index) => {
    const work = workOf.get(unit) ?? 0;
    price = Math.max(price, work === 0 ? Infinity : (costs[index] ?? 0) / work);
    return { group, price, work };
  });
}

/** Steps in the order of their prices while they fit into the budget of work to remove. */
function cheapestSteps(steps: readonly Step[], budget: number, groups: number): number[] {
  const counts = Array.from({ length: groups }, () => 0);
  let removed = 0;
  for (const { group, work } of steps.toSorted((a, b) => a.price - b.price)) {
    if (removed + work / 2 > budget) break;
    removed += work;
    counts[group] = (counts[group] ?? 0) + 1;
  }
  return counts;
}

/** Multiply-adds of the dense layers that each unit takes part in, in the run that shapes were seen in. By root. */
function unitWork(
  model: Model,
  group: ChannelGroup,
  shapes: Shapes,
  units: ChannelUnits,
): ReadonlyMap<number, number> {
  const layers = new Map(findDenseLayers(model).layers.map((layer) => [layer.output, layer]));
  const removable = new Set(group.removable);
  const work = new Map<number, number>();
  for (const use of group.uses) {
    const layer = layers.get(use.node);
    if (layer === undefined) continue;
    const elements = (shapes.get(layer.output)?.dims ?? []).reduce((product, dim) => product * dim, 1);
    const each = (elements / layer.outputs) * (use.kind === 'columns' ? layer.inputs : layer.outputs);
    for (const label of use.labels) {
      if (label === FIXED) continue;
      const root = units.root(label);
      if (removable.has(root)) work.set(root, (work.get(root) ?? 0) + each);
    }
  }
  return work;
}

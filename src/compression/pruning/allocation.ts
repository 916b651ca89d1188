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
  const tally = new WorkTally(model, shapes);
  const steps: Step[] = [];
  for (const [index, group] of groups.entries()) {
    ranking.context.progress?.(index, groups.length, 'ranking for the global allocation');
    const order = await rankUnits(model, group, mostRemovable(group), ranking);
    steps.push(...stepsOf(index, order, tally.add(group, ranking.units)));
  }
  return cheapestSteps(steps, share, groups.length, tally);
}

/** The removal of one more unit of a group. */
interface Step {
  readonly group: number;
  /** Cost a multiply-add; never below that of the step before, so that a group's steps keep their order. */
  readonly price: number;
  readonly places: readonly Place[];
}

/** Channels of a unit on one side of a dense layer. */
interface Place {
  readonly layer: LayerWork;
  readonly side: 'inputs' | 'outputs';
  readonly channels: number;
}

/** What is left of a dense layer; `rows` in the run that shapes were seen in. */
interface LayerWork {
  readonly rows: number;
  inputs: number;
  outputs: number;
}

function stepsOf(
  group: number,
  { units, costs }: { readonly units: readonly number[]; readonly costs: readonly number[] },
  placesOf: ReadonlyMap<number, readonly Place[]>,
): Step[] {
  let price = 0;
  return units.map((unit, index) => {
    const places = placesOf.get(unit) ?? [];
    const work = places.reduce((sum, { layer, side, channels }) => {
      const other = side === 'inputs' ? layer.outputs : layer.inputs;
      return sum + layer.rows * channels * other;
    }, 0);
    price = Math.max(price, work === 0 ? Infinity : (costs[index] ?? 0) / work);
    return { group, price, places };
  });
}

/** Takes steps in the order of their prices until the share of the multiply-adds is gone. */
function cheapestSteps(steps: readonly Step[], share: number, groups: number, tally: WorkTally): number[] {
  const counts = Array.from({ length: groups }, () => 0);
  const least = (1 - share) * tally.work;
  for (const { group, places } of steps.toSorted((a, b) => a.price - b.price)) {
    if (tally.work <= least) break;
    for (const { layer, side, channels } of places) layer[side] -= channels;
    counts[group] = (counts[group] ?? 0) + 1;
  }
  return counts;
}

/** Multiply-adds of the dense layers that groups run through, as units go. */
class WorkTally {
  readonly #layers: ReadonlyMap<string, LayerWork>;
  readonly #concerned = new Set<LayerWork>();

  constructor(model: Model, shapes: Shapes) {
    const works = findDenseLayers(model).layers.map(({ output, inputs, outputs }): [string, LayerWork] => {
      const elements = (shapes.get(output)?.dims ?? []).reduce((product, dim) => product * dim, 1);
      return [output, { rows: elements / outputs, inputs, outputs }];
    });
    this.#layers = new Map(works);
  }

  /** Where each unit of a group, by its root, takes part in dense layers. */
  add(group: ChannelGroup, units: ChannelUnits): ReadonlyMap<number, readonly Place[]> {
    const places = new Map<number, Place[]>();
    for (const use of group.uses) {
      const layer = this.#layers.get(use.node);
      if (layer === undefined) continue;
      this.#concerned.add(layer);
      const side = use.kind === 'columns' ? 'outputs' : 'inputs';
      const channels = new Map<number, number>();
      for (const label of use.labels)
        if (label !== FIXED) channels.set(units.root(label), (channels.get(units.root(label)) ?? 0) + 1);
      for (const [unit, count] of channels)
        places.set(unit, [...(places.get(unit) ?? []), { layer, side, channels: count }]);
    }
    return places;
  }

  /** What is left of the multiply-adds. */
  get work(): number {
    let sum = 0;
    for (const { rows, inputs, outputs } of this.#concerned) sum += rows * inputs * outputs;
    return sum;
  }
}

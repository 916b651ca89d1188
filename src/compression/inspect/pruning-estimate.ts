import type { Model } from '../../onnx/index.js';
import { findChannelGroups } from '../graph/channel-groups.js';
import type { ChannelGroup, ChannelGroups } from '../graph/channel-groups.js';
import type { Shapes } from '../graph/channel-trace.js';
import { FIXED } from '../graph/channel-units.js';
import type { ChannelUnits, Labels } from '../graph/channel-units.js';
import { findDenseLayers } from '../graph/dense-layers.js';
import type { DenseLayer } from '../graph/dense-layers.js';
import { mostRemovable } from '../pruning/allocation.js';

/** What is pruned: hidden neurons, or attention heads. */
export type Units = 'neurons' | 'heads';

/** A dense layer whose weights become fewer, and which share of them stays. */
export interface PrunedLayer {
  readonly layer: DenseLayer;
  readonly kept: number;
}

/** The dense layers that pruning at its shorthands would cut. */
export class PruningEstimate {
  readonly #layers: readonly DenseLayer[];
  readonly #found: ChannelGroups;

  constructor(model: Model, shapes: Shapes) {
    this.#layers = findDenseLayers(model).layers;
    this.#found = findChannelGroups(model, shapes);
  }

  /** Where the same share of each group's units goes. */
  uniform(of: Units, share: number): PrunedLayer[] {
    const chosen = this.#found.groups.filter(({ heads, stream }) => !stream && heads === (of === 'heads'));
    const gone = goneShares(chosen, this.#found.units, share);
    return this.#layers.flatMap((layer) => {
      const inputs = 1 - (gone.rows.get(layer.output) ?? 0);
      const kept = inputs * (1 - (gone.columns.get(layer.output) ?? 0));
      return kept < 1 ? [{ layer, kept }] : [];
    });
  }

  /**
   * Where a share of the multiply-adds of all layers concerned goes. The pass spares some layers and cuts others more;
   * this takes the same share of the units everywhere that saves as much.
   */
  global(of: Units, share: number, work: (layer: DenseLayer) => number): PrunedLayer[] {
    const sum = (layers: readonly PrunedLayer[], of: (each: PrunedLayer) => number): number =>
      layers.reduce((total, each) => total + of(each), 0);
    let [low, high] = [0, 1];
    let layers = this.uniform(of, high);
    const wanted = (1 - share) * sum(layers, ({ layer }) => work(layer));
    for (let step = 0; step < BISECTIONS; step++) {
      const middle = (low + high) / 2;
      const tried = this.uniform(of, middle);
      const left = sum(layers, ({ layer }) => work(layer) * (keptOf(tried, layer) ?? 1));
      if (left > wanted) low = middle;
      else [high, layers] = [middle, tried];
    }
    return layers;
  }
}

const BISECTIONS = 8;

function keptOf(layers: readonly PrunedLayer[], layer: DenseLayer): number | undefined {
  return layers.find((each) => each.layer === layer)?.kept;
}

/** Shares of inputs (`rows`) and outputs (`columns`) that go, by the layer's output. */
function goneShares(
  groups: readonly ChannelGroup[],
  units: ChannelUnits,
  share: number,
): Readonly<Record<'rows' | 'columns', ReadonlyMap<string, number>>> {
  const shares = { rows: new Map<string, number>(), columns: new Map<string, number>() };
  for (const group of groups) {
    const count = Math.min(mostRemovable(group), Math.round(share * group.size));
    if (count === 0) continue;
    const removable = new Set(group.removable);
    for (const { kind, node, labels } of group.uses)
      if (kind === 'rows' || kind === 'columns') {
        const gone = (shareOf(labels, removable, units) * count) / removable.size;
        shares[kind].set(node, (shares[kind].get(node) ?? 0) + gone);
      }
  }
  return shares;
}

function shareOf(labels: Labels, removable: ReadonlySet<number>, units: ChannelUnits): number {
  const concerned = labels.filter((label) => label !== FIXED && removable.has(units.root(label)));
  return concerned.length / labels.length;
}

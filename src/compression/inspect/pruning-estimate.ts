import type { Model } from '../../onnx/index.js';
import { findChannelGroups } from '../graph/channel-groups.js';
import type { ChannelGroup } from '../graph/channel-groups.js';
import type { Shapes } from '../graph/channel-trace.js';
import { FIXED } from '../graph/channel-units.js';
import type { ChannelUnits, Labels } from '../graph/channel-units.js';
import { findDenseLayers } from '../graph/dense-layers.js';
import type { DenseLayer } from '../graph/dense-layers.js';
import { mostRemovable } from '../pruning/allocation.js';

/** What is pruned: hidden neurons, or attention heads. */
export type Units = 'neurons' | 'heads';

/** A dense layer whose weights become fewer. */
export interface PrunedLayer {
  readonly layer: DenseLayer;
  /** Shares of its inputs and outputs that stay. */
  readonly inputsKept: number;
  readonly outputsKept: number;
}

/** Default of the passes. */
const SHARE = 0.5;

/** The dense layers that `prune-structured` or `prune-heads` would cut at their defaults, found as they find them. */
export function estimatePruning(model: Model, shapes: Shapes): Readonly<Record<Units, PrunedLayer[]>> {
  const { groups, units } = findChannelGroups(model, shapes);
  const { layers } = findDenseLayers(model);
  const cut = (of: Units): PrunedLayer[] => {
    const chosen = groups.filter(({ heads, stream }) => !stream && heads === (of === 'heads'));
    const gone = goneShares(chosen, units);
    return layers.flatMap((layer) => {
      const inputsKept = 1 - (gone.rows.get(layer.output) ?? 0);
      const outputsKept = 1 - (gone.columns.get(layer.output) ?? 0);
      return inputsKept * outputsKept < 1 ? [{ layer, inputsKept, outputsKept }] : [];
    });
  };
  return { neurons: cut('neurons'), heads: cut('heads') };
}

/** Shares of inputs (`rows`) and outputs (`columns`) that go, by the layer's output. */
function goneShares(
  groups: readonly ChannelGroup[],
  units: ChannelUnits,
): Readonly<Record<'rows' | 'columns', ReadonlyMap<string, number>>> {
  const shares = { rows: new Map<string, number>(), columns: new Map<string, number>() };
  for (const group of groups) {
    const count = Math.min(mostRemovable(group), Math.round(SHARE * group.size));
    if (count === 0) continue;
    const removable = new Set(group.removable);
    for (const { kind, node, labels } of group.uses)
      if (kind === 'rows' || kind === 'columns') {
        const share = (shareOf(labels, removable, units) * count) / removable.size;
        shares[kind].set(node, (shares[kind].get(node) ?? 0) + share);
      }
  }
  return shares;
}

function shareOf(labels: Labels, removable: ReadonlySet<number>, units: ChannelUnits): number {
  const concerned = labels.filter((label) => label !== FIXED && removable.has(units.root(label)));
  return concerned.length / labels.length;
}

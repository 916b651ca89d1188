import { elementCount, must, WhittleError } from '../../core/index.js';
import type { TensorMap } from '../../core/index.js';
import { constantInfo, probeShapes } from '../../onnx/index.js';
import type { Model } from '../../onnx/index.js';
import { exampleFeed } from '../calibration/find-feeds.js';
import { findChannelGroups } from '../graph/channel-groups.js';
import type { ChannelGroup, ChannelGroups } from '../graph/channel-groups.js';
import { FIXED } from '../graph/channel-units.js';
import type { ChannelUnits } from '../graph/channel-units.js';
import { cutChannels, groupsAfterCut } from '../graph/cut-channels.js';
import type { Keeps } from '../graph/cut-channels.js';
import { findDenseLayers } from '../graph/dense-layers.js';
import type { DenseLayers } from '../graph/dense-layers.js';
import { liveModel } from '../graph/live-model.js';
import { excludedBy, NAME_PATTERNS } from '../graph/name-patterns.js';
import { SHARE } from '../pass.js';
import type { LayerChange, LeftLayer, Pass, PassContext } from '../pass.js';
import { allocate, mostRemovable } from './allocation.js';
import type { Allocation } from './allocation.js';
import { rankUnits, taylorScores } from './importance.js';
import type { Importance, Ranking } from './importance.js';
import { repairReader } from './repair.js';

/** Parameters that passes which prune channels have in common. */
export interface PruneParameters {
  /**
   * Share to remove, above 0 and below 1: of each group's units with `uniform` allocation, of the multiply-adds of all
   * layers concerned with `global`. Default 0.5.
   */
  readonly share?: number;
  /** Default `repair`. All but `magnitude` need calibration requests. */
  readonly importance?: Importance;
  /** Default `uniform`. `global` removes where a multiply-add costs least. */
  readonly allocation?: Allocation;
  /** Whether the layers that read what was pruned are refitted by least squares. Default: where there are calibration requests. */
  readonly repair?: boolean;
  /**
   * How strongly refitted weights are held to the old ones, in mean squared activations. Default 0.01, which was the
   * best or near it for 100 to 10,000 calibration rows of 256 neurons.
   */
  readonly ridge?: number;
  /** Names of layers or weights that keep their outputs; `*` stands for any text. */
  readonly exclude?: readonly string[];
}

/** JSON schemas of {@link PruneParameters}. */
export const PRUNE_SCHEMA = {
  share: SHARE,
  importance: { enum: ['repair', 'activation', 'taylor', 'magnitude'] },
  allocation: { enum: ['uniform', 'global'] },
  repair: { type: 'boolean' },
  ridge: { type: 'number', exclusiveMinimum: 0 },
  exclude: NAME_PATTERNS,
};

/** What tells one pruning pass from another. */
export interface PruneKind {
  readonly pass: string;
  /** What its units are called. */
  readonly unit: (group: ChannelGroup) => string;
  /** Why a group is none of this pass's; undefined where it is. */
  readonly refusal: (group: ChannelGroup) => string | undefined;
}

/**
 * A pass that removes units of channel groups, front to back, and refits what reads them.
 * @throws RECIPE_INVALID without calibration requests where they are needed, or where `exclude` names nothing;
 * GRADIENT_UNSUPPORTED with `taylor` importance, naming the node without a gradient rule.
 */
export function pruneGroups(kind: PruneKind, parameters: PruneParameters): Pass {
  return async (given, context) => {
    const feeds = feedsFor(kind.pass, parameters, context);
    const model = liveModel(given);
    const dense = findDenseLayers(model);
    if (dense.layers.length === 0) return { model: given, report: { changed: [], left: dense.left } };
    const shapes = await probeShapes(model, context.openSession, await exampleFeed(model, context));
    const found = findChannelGroups(model, shapes);
    const { chosen, reasons } = chooseGroups(kind, found, parameters);
    const ranking = await rankingOf(model, found, chosen, parameters, feeds, context);
    const counts = await allocate(model, chosen, shapes, parameters, ranking);
    const result = await pruneAll(model, { kind, parameters, ranking }, chosen, counts);
    for (const group of result.stayed) setReason(reasons, group, 'the global allocation keeps all of it');
    const left = leftLayers(dense, found, reasons, result.touched);
    const { changed } = result;
    return { model: changed.length === 0 ? given : result.model, report: { changed, left } };
  };
}

/** The calibration feeds; none where only the weights count. */
function feedsFor(
  pass: string,
  { importance = 'repair', repair }: PruneParameters,
  { calibration = [] }: PassContext,
): readonly TensorMap[] {
  if (calibration.length > 0 || (importance === 'magnitude' && repair !== true)) return calibration;
  const field = importance === 'magnitude' ? 'repair' : 'importance';
  const advice = field === 'repair' ? 'leave repair out' : 'set importance to "magnitude"';
  throw new WhittleError('RECIPE_INVALID', `${pass} needs calibration requests: give some, or ${advice}`, {
    pass,
    field,
    value: field === 'repair' ? repair : importance,
    allowed: field === 'repair' ? [false] : ['magnitude'],
  });
}

/** The groups to prune, and by layer output why others are not. */
function chooseGroups(
  { pass, refusal }: PruneKind,
  { groups }: ChannelGroups,
  { exclude = [] }: PruneParameters,
): { chosen: readonly ChannelGroup[]; reasons: Map<string, string> } {
  const namesOf = ({ sources }: ChannelGroup): string[] =>
    sources.flatMap(({ name, layer }) => (layer === undefined ? [name] : [name, layer.weightName]));
  const excluded = excludedBy(exclude, groups.map(namesOf), pass);
  const reasons = new Map<string, string>();
  const chosen = groups.filter((group) => {
    const none = mostRemovable(group) === 0 ? (group.reason ?? 'it has one unit') : undefined;
    const reason = none ?? refusal(group) ?? (excluded(namesOf(group)) ? 'excluded by name' : undefined);
    if (reason !== undefined) setReason(reasons, group, reason);
    return reason === undefined;
  });
  return { chosen, reasons };
}

function setReason(reasons: Map<string, string>, { sources }: ChannelGroup, reason: string): void {
  for (const { node } of sources) reasons.set(node, reason);
}

async function rankingOf(
  model: Model,
  found: ChannelGroups,
  groups: readonly ChannelGroup[],
  { importance = 'repair', ridge = 0.01 }: PruneParameters,
  feeds: readonly TensorMap[],
  context: PassContext,
): Promise<Ranking> {
  const taylor =
    importance === 'taylor'
      ? await taylorScores(model, found, groups, feeds, context)
      : new Map<number, number>();
  return { units: found.units, importance, ridge, feeds, context, taylor };
}

interface PruneWork {
  readonly kind: PruneKind;
  readonly parameters: PruneParameters;
  readonly ranking: Ranking;
}

interface Pruned {
  readonly model: Model;
  readonly changed: readonly LayerChange[];
  /** Outputs of the layers that write what was pruned. */
  readonly touched: ReadonlySet<string>;
  readonly stayed: readonly ChannelGroup[];
}

/** Prunes group after group, each on what the ones before left. */
async function pruneAll(
  model: Model,
  work: PruneWork,
  chosen: readonly ChannelGroup[],
  counts: readonly number[],
): Promise<Pruned> {
  const changed: LayerChange[] = [];
  const touched = new Set<string>();
  const stayed: ChannelGroup[] = [];
  let current = model;
  let groups = chosen;
  for (let index = 0; index < groups.length; index++) {
    const group = must(groups[index], 'group');
    const source = must(group.sources[0], 'source of a group').name;
    work.ranking.context.progress?.(index, groups.length, source);
    const count = must(counts[index], 'count');
    if (count === 0) stayed.push(group);
    else {
      const pruned = await pruneGroup(current, group, count, work);
      current = pruned.model;
      changed.push(pruned.change);
      for (const { node } of group.sources) touched.add(node);
      groups = groupsAfterCut(groups, pruned.keeps);
    }
  }
  return { model: current, changed, touched, stayed };
}

async function pruneGroup(
  model: Model,
  group: ChannelGroup,
  count: number,
  { kind, parameters, ranking }: PruneWork,
): Promise<{ model: Model; change: LayerChange; keeps: Keeps }> {
  const { units, feeds, context, ridge } = ranking;
  const { units: order } = await rankUnits(model, group, count, ranking);
  const removed = new Set(withoutEmptyParts(group, order, units));
  const keeps: Keeps = (label) => label === FIXED || !removed.has(units.root(label));
  const repair = parameters.repair ?? feeds.length > 0;
  let current = cutChannels(model, group, keeps);
  let worst = 0;
  for (const reader of group.readers) {
    const cut = { before: model, reader, uses: group.uses, keeps, shifted: group.normalised };
    const result = await repairReader(current, cut, { feeds, repair, ridge, context });
    current = result.model;
    worst = Math.max(worst, result.relativeError);
  }
  const left = group.size - removed.size;
  const change = {
    layer: must(group.sources[0], 'source').name,
    change: `${group.size} ${kind.unit(group)} to ${left}${describe(group)}`,
    ...weightsOfGroup(model, current, group),
    relativeError: worst,
  };
  return { model: current, change, keeps };
}

/** The units to remove, without those that would leave nothing of a part that a Split or Slice takes. */
function withoutEmptyParts(group: ChannelGroup, order: readonly number[], units: ChannelUnits): number[] {
  const parts = group.uses.flatMap((use) => {
    if (use.kind === 'slice') return [use.labels.subarray(use.start, use.end)];
    let end = 0;
    return use.kind === 'split' ? use.parts.map((length) => use.labels.subarray(end, (end += length))) : [];
  });
  const remaining = parts.map(
    (labels) => new Set(Array.from(labels, (label) => (label === FIXED ? FIXED : units.root(label)))),
  );
  return order.filter((unit) => {
    const concerned = remaining.filter((roots) => roots.has(unit));
    if (concerned.some((roots) => roots.size === 1)) return false;
    for (const roots of concerned) roots.delete(unit);
    return true;
  });
}

/** Names listed in a line for people. */
const LISTED = 4;

function describe({ sources, readers }: ChannelGroup): string {
  const list = (names: readonly string[]): string =>
    names.length <= LISTED
      ? names.join(', ')
      : `${names.slice(0, LISTED).join(', ')} and ${names.length - LISTED} more`;
  const others = sources.slice(1).map(({ name }) => name);
  const together = others.length === 0 ? '' : `, together with ${list(others)}`;
  return `${together}; read by ${list(readers.flatMap(({ layers }) => layers.map(({ name }) => name)))}`;
}

/** Elements of the dense weights and tables that the group's channels run through. */
function weightsOfGroup(
  before: Model,
  after: Model,
  { uses }: ChannelGroup,
): { weightsBefore: number; weightsAfter: number } {
  const keys = new Set(
    uses.filter(({ kind }) => kind === 'rows' || kind === 'columns').map(({ node }) => node),
  );
  const tables = new Set(
    uses.filter((use) => use.kind === 'constant' && use.input === 0).map(({ node }) => node),
  );
  const count = (model: Model): number => {
    const dense = findDenseLayers(model).layers.filter(({ output }) => keys.has(output));
    const lookups = model.graph.nodes.filter(
      ({ op, outputs }) => op === 'Gather' && tables.has(outputs[0] ?? ''),
    );
    const names = new Set(lookups.map(({ inputs }) => inputs[0] ?? ''));
    const stored = [...names].map((name) => elementCount(constantInfo(model.graph, name)?.dims ?? [0]));
    return [...dense.map(({ inputs, outputs }) => inputs * outputs), ...stored].reduce((a, b) => a + b, 0);
  };
  return { weightsBefore: count(before), weightsAfter: count(after) };
}

function leftLayers(
  { layers, left }: DenseLayers,
  { refused }: ChannelGroups,
  reasons: ReadonlyMap<string, string>,
  touched: ReadonlySet<string>,
): readonly LeftLayer[] {
  const own = layers.filter(({ output }) => !touched.has(output));
  return [
    ...left,
    ...own.map(({ name, node, output }) => ({
      layer: name,
      op: node.op,
      reason: must(refused.get(output) ?? reasons.get(output), `reason to leave ${name}`),
    })),
  ];
}

import { must } from '../../core/index.js';
import { constantInfo, intAttribute, subgraphsOf, valuesRead } from '../../onnx/index.js';
import type { Graph, Model, Node } from '../../onnx/index.js';
import { elementwise } from './channel-elementwise.js';
import { CHANNEL_RULES } from './channel-rules.js';
import { ChannelTrace, keyOf } from './channel-trace.js';
import type { ChannelReader, Shapes, Use } from './channel-trace.js';
import { FIXED } from './channel-units.js';
import type { ChannelUnits, FamilyTraits, Labels } from './channel-units.js';
import { findDenseLayers, isVectorOver, layerName } from './dense-layers.js';
import type { DenseLayer } from './dense-layers.js';

/** What writes a group's channels: a dense layer or a table. */
export interface ChannelSource {
  /** Of the layer, or of the node that looks the table up. */
  readonly name: string;
  /** First output of its node. */
  readonly node: string;
  readonly layer: DenseLayer | undefined;
  readonly labels: Labels;
}

/** Channels that run through the same layers: a hidden layer's neurons, attention heads, a residual stream's width. */
export interface ChannelGroup extends FamilyTraits {
  readonly sources: readonly ChannelSource[];
  readonly readers: readonly ChannelReader[];
  readonly uses: readonly Use[];
  /** Values that have channels along an axis. */
  readonly values: readonly string[];
  /** Units that may go. */
  readonly removable: readonly number[];
  /** All its units. */
  readonly size: number;
  /** Why the others, or all, must stay. */
  readonly reason: string | undefined;
}

export interface ChannelGroups {
  readonly units: ChannelUnits;
  readonly groups: readonly ChannelGroup[];
  /** Dense layers whose outputs are no channels that could go, and why. */
  readonly refused: ReadonlyMap<string, string>;
}

interface Found {
  readonly sources: ChannelSource[];
  readonly readers: Map<string, DenseLayer[]>;
  readonly refused: Map<string, string>;
  /** Channels of each table that was looked up. */
  readonly tables: Map<string, Labels>;
}

/**
 * Follows the output channels of every dense layer and every table through the graph: which must go together, what is
 * as long as they are many, and which layers read them. Channels that reach anything unknown stay.
 */
export function findChannelGroups(model: Model, shapes: Shapes): ChannelGroups {
  const { graph, opsets } = model;
  const trace = new ChannelTrace(graph, shapes, opsets.get('') ?? 0);
  const layers = new Map(findDenseLayers(model).layers.map((layer) => [layer.node, layer]));
  const found: Found = { sources: [], readers: new Map(), refused: new Map(), tables: new Map() };
  for (const node of graph.nodes) {
    const layer = layers.get(node);
    if (layer !== undefined) visitDense(trace, found, layer);
    else visit(trace, found, node);
  }
  blockOutputs(trace, graph);
  return { units: trace.units, groups: collect(trace, found), refused: found.refused };
}

function visit(trace: ChannelTrace, found: Found, node: Node): void {
  const read = [...valuesRead(node)].filter((value) => trace.lanes.has(value) || trace.statistics.has(value));
  if (read.length === 0) {
    if (isLookup(trace, node)) seedTable(trace, found, node);
    return;
  }
  const rule = CHANNEL_RULES[node.domain === '' ? node.op : `${node.domain}:${node.op}`];
  // Statistics are only known to be such among elementwise operators.
  const strange = rule !== elementwise && read.some((value) => trace.statistics.has(value));
  const refusal =
    rule === undefined || strange || subgraphsOf(node).length > 0 ? 'reads its neurons' : rule(trace, node);
  if (refusal !== undefined) trace.refuse(node, read, refusal);
}

/** A dense layer reads channels along its input's last axis, and begins new ones. */
function visitDense(trace: ChannelTrace, found: Found, layer: DenseLayer): void {
  const { node, input } = layer;
  const lane = trace.lane(input);
  const sideways = lane !== undefined && lane.axis !== (trace.dims(input)?.length ?? 0) - 1;
  const obstacle =
    obstacleOf(trace, layer) ?? (sideways ? 'its input has neurons along another axis' : undefined);
  if (obstacle !== undefined || trace.statistics.has(input)) {
    trace.refuse(node, [input], obstacle === undefined ? undefined : `reads its neurons, and ${obstacle}`);
    if (obstacle !== undefined) found.refused.set(layer.output, obstacle);
    return;
  }
  if (lane !== undefined) {
    trace.use({ kind: 'rows', node: layer.output, labels: lane.labels });
    found.readers.set(input, [...(found.readers.get(input) ?? []), layer]);
  }
  if (layer.outputs === 1) found.refused.set(layer.output, 'it has one neuron');
  else seed(trace, found, { name: layer.name, node: layer.output, layer }, layer.outputs);
}

/** What makes the layer's weights such as cannot be cut. */
function obstacleOf(trace: ChannelTrace, { node, weightName, outputs }: DenseLayer): string | undefined {
  if (trace.readersOf(weightName).length > 1) return `the weights ${weightName} are shared by several nodes`;
  const bias = node.op === 'Gemm' ? (node.inputs[2] ?? '') : '';
  const info = constantInfo(trace.graph, bias);
  const plain = bias === '' || (info !== undefined && isVectorOver(info, outputs));
  return plain ? undefined : 'its bias is no constant vector';
}

function seed(trace: ChannelTrace, found: Found, source: Omit<ChannelSource, 'labels'>, width: number): void {
  const labels = trace.units.add(width);
  if (source.layer !== undefined) trace.use({ kind: 'columns', node: source.node, labels });
  trace.setLane(source.node, must(trace.dims(source.node), `shape of ${source.node}`).length - 1, labels);
  found.sources.push({ ...source, labels });
}

/** Rows of a constant table looked up by number. */
function isLookup(trace: ChannelTrace, node: Node): boolean {
  if (node.op !== 'Gather' || node.domain !== '' || intAttribute(node, 'axis', 0) !== 0) return false;
  const info = constantInfo(trace.graph, node.inputs[0] ?? '');
  const known = trace.dims(node.outputs[0]) !== undefined;
  return known && info?.dtype === 'float32' && info.dims.length === 2 && (info.dims[1] ?? 0) > 1;
}

/** Columns of a table are channels of the rows that are looked up. Tables that something else reads too stay. */
function seedTable(trace: ChannelTrace, found: Found, node: Node): void {
  const table = node.inputs[0] ?? '';
  const before = found.tables.get(table);
  const width = constantInfo(trace.graph, table)?.dims[1] ?? 0;
  seed(trace, found, { name: layerName(node), node: keyOf(node), layer: undefined }, width);
  const { labels } = must(found.sources.at(-1), 'source');
  found.tables.set(table, before ?? labels);
  if (before !== undefined) trace.units.join(before, labels, '');
  trace.units.mark(labels, 'stream');
  trace.use({ kind: 'constant', node: keyOf(node), input: 0, axis: 1, labels });
  const others = trace.readersOf(table).filter((reader) => !isLookup(trace, reader));
  if (others.length > 0)
    trace.units.block(labels, `${layerName(must(others[0], 'reader'))} reads the whole table ${table}`);
}

function blockOutputs(trace: ChannelTrace, graph: Graph): void {
  for (const { name } of graph.outputs) {
    trace.units.block(trace.lane(name)?.labels ?? [], `its neurons are the model's output ${name}`);
    const statistic = trace.statistics.get(name)?.labels ?? [];
    trace.units.block(statistic, `statistics of its neurons are the model's output ${name}`);
  }
}

function collect(trace: ChannelTrace, found: Found): ChannelGroup[] {
  const { units } = trace;
  const families = new Map<number, ChannelSource[]>();
  for (const source of found.sources) {
    const family = units.family(source.labels[0] ?? 0);
    families.set(family, [...(families.get(family) ?? []), source]);
  }
  const concerns = (labels: Labels, family: number): boolean =>
    labels.some((unit) => unit !== FIXED && units.family(unit) === family);
  const lanes = [...trace.lanes];
  return [...families].map(([family, sources]) => {
    const readers = [...found.readers].flatMap(([value, layers]): ChannelReader[] => {
      const labels = trace.lane(value)?.labels;
      return labels !== undefined && concerns(labels, family) ? [{ value, labels, layers }] : [];
    });
    const roots = [
      ...new Set(sources.flatMap(({ labels }) => Array.from(labels, (unit) => units.root(unit)))),
    ];
    const reasons = roots.flatMap((root) => units.reason(root) ?? []);
    return {
      ...units.traits(family),
      sources,
      readers,
      uses: trace.uses.filter(({ labels }) => concerns(labels, family)),
      values: lanes.flatMap(([value, { labels }]) => (concerns(labels, family) ? [value] : [])),
      removable: readers.length === 0 ? [] : roots.filter((root) => units.reason(root) === undefined),
      size: roots.length,
      reason: reasons[0] ?? (readers.length === 0 ? 'nothing reads its neurons' : undefined),
    };
  });
}

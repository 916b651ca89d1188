import { float32, float32Data, int64, must } from '../../core/index.js';
import type { Tensor } from '../../core/index.js';
import { attributesOf, constantInfo, constantTensor, producers } from '../../onnx/index.js';
import type { Model, Node } from '../../onnx/index.js';
import { takeAlong } from '../kernels/prune-kernel.js';
import type { ChannelGroup } from './channel-groups.js';
import { keyOf } from './channel-trace.js';
import type { ChannelReader, Use } from './channel-trace.js';
import type { Labels } from './channel-units.js';
import { findDenseLayers, gemmBiasOf, weightOf } from './dense-layers.js';
import type { DenseLayer } from './dense-layers.js';
import { GraphEdit } from './graph-edit.js';

/** Says of each label whether its channel stays. */
export type Keeps = (label: number) => boolean;

type UseOf<Kind extends Use['kind']> = Use & { readonly kind: Kind };

/** The indexes along an axis that stay. */
export function keptIndexes(labels: Labels, keeps: Keeps): Int32Array {
  return Int32Array.from(labels.keys()).filter((index) => keeps(labels[index] ?? 0));
}

/** The model without the channels that do not stay: constants are cut and shapes follow. What stays keeps its values. */
export function cutChannels(model: Model, { uses, values }: ChannelGroup, keeps: Keeps): Model {
  const edit = new GraphEdit(model);
  const opset = model.opsets.get('') ?? 0;
  const nodeOf = producers(model.graph);
  const layers = new Map(findDenseLayers(model).layers.map((layer) => [layer.output, layer]));
  for (const key of new Set(uses.map((use) => use.node))) {
    const node = must(nodeOf.get(key), `node of ${key}`);
    const own = uses.filter((use) => use.node === key);
    const layer = layers.get(key);
    const nodes =
      layer === undefined ? cutNode(edit, node, own, keeps, opset) : [cutDense(edit, layer, own, keeps)];
    edit.replace(node, nodes);
  }
  for (const value of values) edit.reshape(value);
  return edit.build();
}

/** The groups as they are in the model that {@link cutChannels} made. */
export function groupsAfterCut(groups: readonly ChannelGroup[], keeps: Keeps): readonly ChannelGroup[] {
  const compact = (labels: Labels): Labels => (labels.every(keeps) ? labels : labels.filter(keeps));
  return groups.map((group) => ({
    ...group,
    sources: group.sources.map((source) => ({ ...source, labels: compact(source.labels) })),
    readers: group.readers.map((reader): ChannelReader => ({ ...reader, labels: compact(reader.labels) })),
    uses: group.uses.map((use): Use => {
      const cut = { ...use, labels: compact(use.labels) };
      if (cut.kind === 'split') return { ...cut, parts: partsAfter(cut.parts, use.labels, keeps) };
      if (cut.kind !== 'slice') return cut;
      const [start = 0, length = 0] = partsAfter([cut.start, cut.end - cut.start], use.labels, keeps);
      return { ...cut, start, end: start + length };
    }),
  }));
}

/** How many stay of each part of an axis. */
function partsAfter(parts: readonly number[], labels: Labels, keeps: Keeps): number[] {
  let start = 0;
  return parts.map((length) => {
    const from = start;
    start += length;
    return labels.subarray(from, start).filter(keeps).length;
  });
}

/** A dense layer without some of its inputs or outputs; transB, alpha and beta are worked into its weights. */
function cutDense(edit: GraphEdit, layer: DenseLayer, uses: readonly Use[], keeps: Keeps): Node {
  const along = (kind: 'rows' | 'columns', length: number): Int32Array => {
    const use = uses.find((each) => each.kind === kind);
    return use === undefined
      ? Int32Array.from({ length }, (_, index) => index)
      : keptIndexes(use.labels, keeps);
  };
  const [rows, columns] = [along('rows', layer.inputs), along('columns', layer.outputs)];
  const weight = weightOf(edit.graph, layer);
  const cut = new Float32Array(rows.length * columns.length);
  rows.forEach((row, i) => {
    columns.forEach((column, j) => {
      cut[i * columns.length + j] = weight[row * layer.outputs + column] ?? 0;
    });
  });
  const bias = gemmBiasOf(edit.graph, layer);
  const cutBias = bias && Float32Array.from(columns, (column) => bias[column] ?? 0);
  return denseWith(edit, layer, float32(cut, [rows.length, columns.length]), cutBias);
}

/** The same node with other weights `[inputs, outputs]`, and for a Gemm another bias. */
export function denseWith(
  edit: GraphEdit,
  layer: DenseLayer,
  weight: Tensor,
  bias: Float32Array | undefined,
): Node {
  const { node } = layer;
  const inputs = [layer.input, edit.tensor(prunedName(layer.weightName), weight)];
  if (bias !== undefined) inputs.push(edit.tensor(prunedName(must(node.inputs[2], 'bias')), float32(bias)));
  return { ...node, inputs, attributes: new Map() };
}

/** Names do not grow when a tensor is cut again. */
export function prunedName(name: string): string {
  return name.replace(/\/pruned(_\d+)?$/, '') + '/pruned';
}

/** What stands in for a node that holds lengths or constants along channels. */
function cutNode(edit: GraphEdit, node: Node, uses: readonly Use[], keeps: Keeps, opset: number): Node[] {
  const [use] = uses;
  switch (use?.kind) {
    case 'reshape':
      return cutReshape(edit, node, use, keeps);
    case 'shape':
      return restoredShape(edit, node, use, keeps);
    case 'split':
      return [cutSplit(edit, node, use, keeps, opset)];
    case 'slice':
      return [cutSlice(edit, node, use, keeps)];
    default:
      return [cutConstants(edit, node, uses, keeps)];
  }
}

function cutConstants(edit: GraphEdit, node: Node, uses: readonly Use[], keeps: Keeps): Node {
  const inputs = [...node.inputs];
  for (const use of uses) {
    if (use.kind !== 'constant') continue;
    const name = must(node.inputs[use.input], 'constant');
    const tensor = must(constantTensor(edit.graph, name), name);
    const kept = keptIndexes(use.labels, keeps);
    const data = takeAlong(float32Data(tensor), tensor.dims, use.axis, kept);
    const cut = float32(data, tensor.dims.with(use.axis, kept.length));
    inputs[use.input] = edit.sharedTensor(prunedName(name), cut);
  }
  return { ...node, inputs };
}

/** The length along the channels shrinks as they do; a -1 or 0 there stays, for its share rounds to nothing. */
function cutReshape(edit: GraphEdit, node: Node, use: LengthUse, keeps: Keeps): Node[] {
  const [data = '', shape = ''] = node.inputs;
  const total = use.labels.length;
  const removed = total - keptIndexes(use.labels, keeps).length;
  const known = constantTensor(edit.graph, shape);
  if (known !== undefined) {
    const lengths = Array.from(known.data, Number);
    const length = lengths[use.axis] ?? 0;
    const cut = lengths.with(use.axis, length - Math.trunc((length * removed) / total));
    return [{ ...node, inputs: [data, edit.tensor(prunedName(shape), int64(cut))] }];
  }
  const writer = edit.writer(keyOf(node));
  const scaled = writer.value('Mul', [shape, lengthVector(edit, use, removed, 0)]);
  const less = writer.value('Div', [scaled, lengthVector(edit, use, total, 1)]);
  const cut = writer.value('Sub', [shape, less]);
  return [...writer.nodes, { ...node, inputs: [data, cut] }];
}

/**
 * Tells the shape as it was, from which other shapes are computed; those along the channels are cut themselves. Channels
 * that stand once along the axis are counted back in; an axis that repeats them grows in proportion.
 */
function restoredShape(edit: GraphEdit, node: Node, use: LengthUse, keeps: Keeps): Node[] {
  const total = use.labels.length;
  const kept = keptIndexes(use.labels, keeps).length;
  const output = keyOf(node);
  const writer = edit.writer(output);
  const told = writer.value(node.op, node.inputs);
  if (new Set(use.labels).size === total)
    writer.value('Add', [told, lengthVector(edit, use, total - kept, 0)], {}, output);
  else {
    const scaled = writer.value('Mul', [told, lengthVector(edit, use, total, 1)]);
    writer.value('Div', [scaled, lengthVector(edit, use, kept, 1)], {}, output);
  }
  return writer.nodes;
}

type LengthUse = UseOf<'reshape' | 'shape'>;

/** One number an axis: `value` for that of the channels. */
function lengthVector(
  edit: GraphEdit,
  { axis, rank, node }: LengthUse,
  value: number,
  otherwise: number,
): string {
  const numbers = Array.from({ length: rank }, (_, at) => (at === axis ? value : otherwise));
  return edit.sharedTensor(`${node}/lengths`, int64(numbers));
}

function cutSplit(edit: GraphEdit, node: Node, use: UseOf<'split'>, keeps: Keeps, opset: number): Node {
  const parts = partsAfter(use.parts, use.labels, keeps);
  const attributes = new Map(node.attributes);
  attributes.delete('num_outputs');
  if (opset >= 13) {
    const lengths = edit.tensor(`${use.node}/lengths`, int64(parts));
    return { ...node, inputs: [node.inputs[0] ?? '', lengths], attributes };
  }
  return { ...node, attributes: withInts(attributes, 'split', parts) };
}

function cutSlice(edit: GraphEdit, node: Node, use: UseOf<'slice'>, keeps: Keeps): Node {
  const [start = 0, length = 0] = partsAfter([use.start, use.end - use.start], use.labels, keeps);
  const [data = '', , , ...rest] = node.inputs;
  if (node.inputs.length === 1) {
    const attributes = withInts(withInts(node.attributes, 'starts', [start]), 'ends', [start + length]);
    return { ...node, attributes };
  }
  const dtype = constantInfo(edit.graph, rest[0] ?? '')?.dtype;
  const bound = (value: number): string =>
    edit.sharedTensor(`${use.node}/bound`, dtype === 'int32' ? int32(value) : int64([value]));
  return { ...node, inputs: [data, bound(start), bound(start + length), ...rest] };
}

function int32(value: number): Tensor {
  return { dtype: 'int32', dims: [1], data: Int32Array.of(value) };
}

function withInts(
  attributes: Node['attributes'],
  name: string,
  values: readonly number[],
): Node['attributes'] {
  return new Map([...attributes, ...attributesOf({ [name]: values })]);
}

import { constantInfo, intAttribute, intsAttribute } from '../../onnx/index.js';
import type { Node } from '../../onnx/index.js';
import { elementwise } from './channel-elementwise.js';
import { reshapedLane } from './channel-reshape.js';
import { keyOf } from './channel-trace.js';
import type { ChannelTrace, Lane } from './channel-trace.js';
import { FIXED } from './channel-units.js';
import { axesOf, axisOf, knownIntegers } from './known-integers.js';
import { layerName } from './dense-layers.js';

/** Follows channels through a node that reads some; answers how it stops them where it does. */
export type ChannelRule = (trace: ChannelTrace, node: Node) => string | undefined;

/** Reductions that normalisations are made of. */
const STATISTICS = new Set(['ReduceMean', 'ReduceSum', 'ReduceSumSquare', 'ReduceL2']);

/** What stops channels that nothing else is known of. */
const READS = 'reads its neurons';

/** A rule for nodes that read channels at their first input alone. */
function first(
  rule: (trace: ChannelTrace, node: Node, lane: Lane, rank: number) => string | undefined,
): ChannelRule {
  return (trace, node) => {
    const lane = trace.lane(node.inputs[0]);
    const rank = trace.dims(node.inputs[0])?.length;
    return lane === undefined || rank === undefined ? READS : rule(trace, node, lane, rank);
  };
}

const softmax = first((trace, node, lane, rank) => {
  // Before opset 13 all axes from this one on are taken together.
  const axis = axisOf(node, trace.opset < 13 ? 1 : -1, rank);
  if (trace.opset < 13 ? lane.axis >= axis : lane.axis === axis) return READS;
  trace.setLane(node.outputs[0], lane.axis, lane.labels);
  return undefined;
});

const transpose = first((trace, node, lane, rank) => {
  const perm = intsAttribute(node, 'perm', undefined) ?? Array.from({ length: rank }, (_, i) => rank - 1 - i);
  trace.setLane(node.outputs[0], perm.indexOf(lane.axis), lane.labels);
  return undefined;
});

const reshape = first((trace, node, lane) => {
  const [before = [], after] = [trace.dims(node.inputs[0]), trace.dims(node.outputs[0])];
  const moved = after && reshapedLane(trace.units, lane, before, after);
  if (after === undefined || moved === undefined) return READS;
  if (node.op === 'Reshape') {
    const copied = knownIntegers(trace, node.inputs[1] ?? '');
    // A zero copies the length of the same axis before, which is right only where both run along the channels.
    if (
      copied?.some((length, axis) => length === 0 && (axis === lane.axis) !== (axis === moved.axis)) === true
    )
      return READS;
    trace.use({ kind: 'reshape', node: keyOf(node), rank: after.length, ...moved });
  }
  trace.setLane(node.outputs[0], moved.axis, moved.labels);
  return undefined;
});

const reduce = first((trace, node, lane, rank) => {
  const axes = axesOf(trace, node, 1, rank);
  const kept = intAttribute(node, 'keepdims', 1) !== 0;
  if (axes === undefined) return READS;
  if (!axes.includes(lane.axis)) {
    const dropped = kept ? 0 : axes.filter((axis) => axis < lane.axis).length;
    trace.setLane(node.outputs[0], lane.axis - dropped, lane.labels);
    return undefined;
  }
  if (!STATISTICS.has(node.op) || axes.length !== 1 || !kept || lane.labels.includes(FIXED)) return READS;
  trace.units.mark(lane.labels, 'normalised');
  trace.statistics.set(keyOf(node), lane);
  return undefined;
});

/** Takes rows: the axis it picks from is another than that of the channels. */
const gather = first((trace, node, lane, rank) => {
  const axis = axisOf(node, 0, rank);
  const picked = trace.dims(node.inputs[1])?.length;
  if (axis === lane.axis || picked === undefined) return READS;
  trace.setLane(node.outputs[0], axis < lane.axis ? lane.axis - 1 + picked : lane.axis, lane.labels);
  return undefined;
});

const shape = first((trace, node, lane, rank) => {
  if (node.attributes.has('start') || node.attributes.has('end')) return READS;
  trace.use({ kind: 'shape', node: keyOf(node), rank, ...lane });
  return undefined;
});

const split = first((trace, node, lane, rank) => {
  const axis = axisOf(node, 0, rank);
  let start = 0;
  const parts = node.outputs.map((output) => trace.dims(output)?.[lane.axis] ?? NaN);
  if (parts.some(Number.isNaN)) return READS;
  node.outputs.forEach((output, index) => {
    const end = start + (parts[index] ?? 0);
    trace.setLane(output, lane.axis, axis === lane.axis ? lane.labels.subarray(start, end) : lane.labels);
    start = end;
  });
  if (axis === lane.axis) trace.use({ kind: 'split', node: keyOf(node), parts, labels: lane.labels });
  return undefined;
});

const slice = first((trace, node, lane, rank) => {
  const starts = intsAttribute(node, 'starts', undefined) ?? knownIntegers(trace, node.inputs[1] ?? '');
  const count = starts?.length ?? trace.dims(node.inputs[1])?.[0];
  const axes = axesOf(trace, node, 3, rank)?.slice(0, count);
  if (axes === undefined) return READS;
  if (!axes.includes(lane.axis)) {
    trace.setLane(node.outputs[0], lane.axis, lane.labels);
    return undefined;
  }
  const steps = node.inputs.length > 4 ? knownIntegers(trace, node.inputs[4] ?? '') : [1];
  const given = starts?.[0];
  const length = trace.dims(node.outputs[0])?.[lane.axis];
  if (
    axes.length !== 1 ||
    steps?.[0] !== 1 ||
    given === undefined ||
    Number.isNaN(given) ||
    length === undefined
  )
    return READS;
  const start = Math.min(given < 0 ? given + lane.labels.length : given, lane.labels.length);
  trace.use({ kind: 'slice', node: keyOf(node), start, end: start + length, labels: lane.labels });
  trace.setLane(node.outputs[0], lane.axis, lane.labels.subarray(start, start + length));
  return undefined;
});

/** Channels go on behind a Concat along their axis, beside those of others; along another axis they are joined. */
const concat: ChannelRule = (trace, node) => {
  const lanes = node.inputs.map((input) => trace.lane(input));
  const known = lanes.find((lane) => lane !== undefined);
  const rank = trace.dims(node.outputs[0])?.length ?? 0;
  const axis = axisOf(node, 0, rank);
  if (known === undefined || lanes.some((lane) => lane !== undefined && lane.axis !== known.axis))
    return READS;
  if (axis !== known.axis) {
    if (lanes.includes(undefined)) return 'joins along another axis';
    for (const lane of lanes) if (lane !== undefined) join(trace, node, known, lane);
    trace.setLane(node.outputs[0], known.axis, known.labels);
    return undefined;
  }
  const lengths = node.inputs.map((input) => trace.dims(input)?.[axis] ?? 0);
  const labels = lanes.flatMap((lane, index) =>
    lane === undefined ? Array.from({ length: lengths[index] ?? 0 }, () => FIXED) : [...lane.labels],
  );
  trace.setLane(node.outputs[0], axis, Int32Array.from(labels));
  return undefined;
};

/** Joins two lanes; where that is new, the values share a width that several layers write. */
function join(trace: ChannelTrace, node: Node, a: Lane, b: Lane): void {
  const reason = `${layerName(node)} (${node.op}) combines its neurons with others`;
  if (trace.units.join(a.labels, b.labels, reason)) trace.units.mark(a.labels, 'stream');
}

/** A product of two matrices, one for each head or other index of the leading axes. */
const matMul: ChannelRule = (trace, node) => {
  const rank = trace.dims(node.outputs[0])?.length ?? 0;
  const sides = node.inputs.map((input) => ({
    input,
    lane: trace.lane(input),
    dims: trace.dims(input) ?? [],
  }));
  const [known] = sides.filter(({ lane }) => lane !== undefined);
  if (known?.lane === undefined) return READS;
  const fromRight = known.dims.length - known.lane.axis;
  if (fromRight === 1 && known === sides[1] && sides[0]?.lane === undefined) {
    // Rows are mixed, and each column of the right operand stays by itself.
    trace.setLane(node.outputs[0], rank - 1, known.lane.labels);
    return undefined;
  }
  if (fromRight <= 2) return READS;
  for (const { input, lane, dims } of sides) {
    if (lane === undefined && (dims.at(-fromRight) ?? 1) !== 1) return `multiplies its neurons with ${input}`;
    if (lane === undefined) continue;
    if (dims.length - lane.axis !== fromRight) return READS;
    trace.units.join(known.lane.labels, lane.labels, `${layerName(node)} (MatMul) ${READS}`);
  }
  trace.units.mark(known.lane.labels, 'heads');
  trace.setLane(node.outputs[0], rank - fromRight, known.lane.labels);
  return undefined;
};

/** Scale and bias (and running statistics) of a normalisation, one number a channel. */
function normalisation(
  vectors: readonly number[],
  axisOfChannels: (rank: number) => number,
  statistics: boolean,
): ChannelRule {
  return first((trace, node, lane, rank) => {
    if (node.outputs.slice(1).some((output) => trace.isRead(output)))
      return 'gives statistics of its neurons';
    if (lane.axis !== axisOfChannels(rank)) return READS;
    if (statistics && axisOf(node, -1, rank) !== lane.axis)
      return 'normalises over several axes of its neurons';
    for (const input of vectors) {
      if ((node.inputs[input] ?? '') === '') continue;
      const info = constantInfo(trace.graph, node.inputs[input] ?? '');
      if (info?.dtype !== 'float32' || info.dims.length !== 1)
        return 'scales its neurons by what is computed';
      trace.use({ kind: 'constant', node: keyOf(node), input, axis: 0, labels: lane.labels });
    }
    if (statistics) trace.units.mark(lane.labels, 'normalised');
    trace.setLane(node.outputs[0], lane.axis, lane.labels);
    return undefined;
  });
}

const batchNormalization = normalisation([1, 2, 3, 4], () => 1, false);
const layerNormalization = normalisation([1, 2], (rank) => rank - 1, true);

const ELEMENTWISE =
  'Abs Add Cast Celu Clip Div Dropout Elu Erf Exp Gelu HardSigmoid HardSwish Identity LeakyRelu Log Max Mean Min ' +
  'Mish Mul Neg Pow PRelu Reciprocal Relu Selu Sigmoid Softplus Softsign Sqrt Sub Sum Swish Tanh ThresholdedRelu ' +
  'Where Equal Greater Less';
const REDUCTIONS =
  'ReduceL1 ReduceL2 ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare';

/** Operators through which channels are followed; those of another domain are `domain:Operator`. */
export const CHANNEL_RULES: Readonly<Record<string, ChannelRule>> = {
  ...Object.fromEntries(ELEMENTWISE.split(' ').map((op) => [op, elementwise])),
  ...Object.fromEntries(
    ['Gelu', 'FastGelu', 'QuickGelu', 'BiasGelu'].map((op) => [`com.microsoft:${op}`, elementwise]),
  ),
  ...Object.fromEntries(REDUCTIONS.split(' ').map((op) => [op, reduce])),
  BatchNormalization: batchNormalization,
  Concat: concat,
  Flatten: reshape,
  Gather: gather,
  LayerNormalization: layerNormalization,
  LogSoftmax: softmax,
  MatMul: matMul,
  Reshape: reshape,
  Shape: shape,
  SimplifiedLayerNormalization: normalisation([1], (rank) => rank - 1, true),
  RMSNormalization: normalisation([1], (rank) => rank - 1, true),
  Slice: slice,
  Softmax: softmax,
  Split: split,
  Squeeze: reshape,
  Transpose: transpose,
  Unsqueeze: reshape,
};

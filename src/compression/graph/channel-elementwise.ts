import { constantInfo } from '../../onnx/index.js';
import type { Node } from '../../onnx/index.js';
import { keyOf } from './channel-trace.js';
import type { ChannelTrace, Lane } from './channel-trace.js';
import { layerName } from './dense-layers.js';

/** Operators that add values up: channels of several layers that meet there are a stream's. */
const SUMS = new Set(['Add', 'Sub', 'Sum', 'Mean', 'Max', 'Min', 'Where']);

interface Operand {
  readonly input: number;
  readonly value: string;
  readonly lane: Lane | undefined;
  readonly rank: number;
}

/**
 * Each element of the output comes from one of each input, with broadcasting. Inputs are channels along the same axis,
 * which are joined; constants, which are cut; statistics of the channels; and values that are broadcast along them.
 */
export function elementwise(trace: ChannelTrace, node: Node): string | undefined {
  if (node.outputs.slice(1).some((output) => trace.isRead(output)))
    return 'gives a second output of its neurons';
  const operands = node.inputs.flatMap((value, input): Operand[] =>
    value === '' ? [] : [{ input, value, lane: trace.lane(value), rank: trace.dims(value)?.length ?? 0 }],
  );
  const known = operands.find(({ lane }) => lane !== undefined);
  const rank = trace.dims(node.outputs[0])?.length;
  if (rank === undefined) return 'reads its neurons';
  const from = known ?? operands.find(({ value }) => trace.statistics.has(value));
  const lane = known?.lane ?? trace.statistics.get(from?.value ?? '');
  if (from === undefined || lane === undefined) return 'reads its neurons';
  const fromRight = from.rank - lane.axis;
  for (const operand of operands) {
    const refusal = meet(trace, node, operand, lane, fromRight);
    if (refusal !== undefined) return refusal;
  }
  const result = { axis: rank - fromRight, labels: lane.labels };
  // What is computed from statistics and single numbers alone is a statistic too.
  if (trace.dims(node.outputs[0])?.[result.axis] === lane.labels.length)
    trace.setLane(keyOf(node), result.axis, result.labels);
  else trace.statistics.set(keyOf(node), result);
  return undefined;
}

/** What stops the channels `lane`, `fromRight` axes from the end, at another operand. */
function meet(
  trace: ChannelTrace,
  node: Node,
  operand: Operand,
  lane: Lane,
  fromRight: number,
): string | undefined {
  const { value, input, rank } = operand;
  const combines = `combines its neurons with ${value}`;
  if (operand.lane !== undefined) {
    if (rank - operand.lane.axis !== fromRight) return combines;
    const reason = `${layerName(node)} (${node.op}) combines its neurons with fixed ones`;
    const joined = trace.units.join(lane.labels, operand.lane.labels, reason);
    if (joined && SUMS.has(node.op)) trace.units.mark(lane.labels, 'stream');
    return undefined;
  }
  const statistic = trace.statistics.get(value);
  if (statistic !== undefined) {
    const [own, other] = [lane.labels[0] ?? 0, statistic.labels[0] ?? 0];
    return rank - statistic.axis === fromRight && trace.units.family(own) === trace.units.family(other)
      ? undefined
      : combines;
  }
  const length = trace.dims(value)?.at(-fromRight) ?? 1;
  if (rank < fromRight || length === 1) return undefined;
  const constant = constantInfo(trace.graph, value);
  if (constant === undefined) return combines;
  if (constant.dtype !== 'float32' || length !== lane.labels.length)
    return `combines its neurons with a constant of shape [${constant.dims.join(', ')}]`;
  trace.use({ kind: 'constant', node: keyOf(node), input, axis: rank - fromRight, labels: lane.labels });
  return undefined;
}

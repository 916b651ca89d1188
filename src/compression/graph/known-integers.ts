import { elementCount } from '../../core/index.js';
import { constantInfo, constantTensor, intAttribute, intsAttribute, producers } from '../../onnx/index.js';
import type { Node } from '../../onnx/index.js';
import type { ChannelTrace } from './channel-trace.js';

/** Longest list that counts as arithmetic on shapes. */
const MAX_LENGTH = 64;
/** Chains of shape arithmetic are short; a ring in a broken graph is endless. */
const MAX_DEPTH = 64;

type Integers = readonly number[];

/** Element by element; lists of length 1 are repeated. */
const ARITHMETIC: Readonly<Record<string, (a: number, b: number) => number>> = {
  Add: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Mul: (a, b) => a * b,
  Div: (a, b) => Math.trunc(a / b),
};

/**
 * Integers that a value has in every run, as exporters compute them from shapes: NaN stands for an element that
 * depends on the feed. Of a shape only lengths along channels are known. Undefined where nothing is known.
 */
export function knownIntegers(trace: ChannelTrace, value: string, depth = 0): Integers | undefined {
  const info = constantInfo(trace.graph, value);
  if (info !== undefined) {
    const small = info.dtype.startsWith('int') && elementCount(info.dims) <= MAX_LENGTH;
    const data = small ? constantTensor(trace.graph, value)?.data : undefined;
    return data && Array.from(data, Number);
  }
  const node = producers(trace.graph).get(value);
  if (node?.domain !== '' || depth > MAX_DEPTH) return undefined;
  return computed(trace, node, (input) => knownIntegers(trace, node.inputs[input] ?? '', depth + 1));
}

function computed(
  trace: ChannelTrace,
  node: Node,
  operand: (input: number) => Integers | undefined,
): Integers | undefined {
  const arithmetic = ARITHMETIC[node.op];
  if (arithmetic !== undefined) return combined(operand(0), operand(1), arithmetic);
  switch (node.op) {
    case 'Shape':
      return shapeOf(trace, node);
    case 'Identity':
    case 'Cast':
    case 'Squeeze':
    case 'Unsqueeze':
      return operand(0);
    case 'Concat': {
      const parts = node.inputs.map((_, index) => operand(index));
      return parts.every((part) => part !== undefined) ? parts.flat() : undefined;
    }
    case 'Gather': {
      const [data, indices] = [operand(0), operand(1)];
      return data && indices?.map((index) => data.at(index) ?? NaN);
    }
    case 'Slice':
      return sliced(node, operand);
    default:
      return undefined;
  }
}

function shapeOf(trace: ChannelTrace, node: Node): Integers | undefined {
  const [value = ''] = node.inputs;
  if (node.attributes.has('start') || node.attributes.has('end')) return undefined;
  const lane = trace.lane(value);
  return trace.dims(value)?.map((length, axis) => (axis === lane?.axis ? length : NaN));
}

function combined(
  a: Integers | undefined,
  b: Integers | undefined,
  operate: (a: number, b: number) => number,
): Integers | undefined {
  if (a === undefined || b === undefined) return undefined;
  const length = Math.max(a.length, b.length);
  return Array.from({ length }, (_, index) =>
    operate(a[a.length === 1 ? 0 : index] ?? NaN, b[b.length === 1 ? 0 : index] ?? NaN),
  );
}

function sliced(node: Node, operand: (input: number) => Integers | undefined): Integers | undefined {
  const data = operand(0);
  const start = intsAttribute(node, 'starts', undefined)?.[0] ?? operand(1)?.[0];
  const end = intsAttribute(node, 'ends', undefined)?.[0] ?? operand(2)?.[0];
  const step = node.inputs.length > 4 ? operand(4)?.[0] : 1;
  if (start === undefined || end === undefined || step !== 1 || Number.isNaN(start + end)) return undefined;
  return data?.slice(start, end);
}

/** Axes of a node: an attribute up to some opset and an input since; undefined where they are computed. */
export function axesOf(trace: ChannelTrace, node: Node, input: number, rank: number): Integers | undefined {
  const written = intsAttribute(node, 'axes', undefined);
  const given = node.inputs[input] ?? '';
  const axes =
    written ?? (given === '' ? Array.from({ length: rank }, (_, axis) => axis) : knownIntegers(trace, given));
  return axes?.map((axis) => (axis < 0 ? axis + rank : axis));
}

/** Attribute `axis` counted from the front. */
export function axisOf(node: Node, otherwise: number, rank: number): number {
  const axis = intAttribute(node, 'axis', otherwise);
  return axis < 0 ? axis + rank : axis;
}

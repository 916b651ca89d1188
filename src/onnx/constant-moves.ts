import { elementCount } from '../core/index.js';
import type { DataType, Tensor, TypedArray } from '../core/index.js';
import { dataTypeFacts, dataTypeOfCode } from './dtypes.js';
import { bfloat16ToFloat32, float16ToFloat32 } from './half-kernel.js';
import type { Node } from './model.js';
import { intAttribute, intsAttribute } from './read-node.js';
import { transposeInto } from './transpose-kernel.js';
import type { Words } from './transpose-kernel.js';

/** Type and shape of a tensor. */
export interface TensorInfo {
  readonly dtype: DataType;
  readonly dims: readonly number[];
}

/** Integers that a node reads from its second input; undefined where that is absent or not a small constant. */
export type SecondInput = (node: Node) => readonly number[] | undefined;

/** Operators of ai.onnx that hand their first input's elements on, in another shape, order or float type. */
const MOVES = new Set(['Transpose', 'Reshape', 'Squeeze', 'Unsqueeze', 'Flatten', 'Cast']);

const FLOATS: readonly DataType[] = ['float32', 'float64', 'float16', 'bfloat16'];

/** Whether {@link movedInfo} knows the node's operator. */
export function isMove(node: Node): boolean {
  return node.domain === '' && MOVES.has(node.op);
}

/** What the node makes of a constant's type and shape; undefined where it is not known, or the shape does not fit. */
export function movedInfo(node: Node, info: TensorInfo, second: SecondInput): TensorInfo | undefined {
  if (node.op === 'Cast') return castInfo(node, info);
  const dims = movedDims(node, info, second);
  return dims === undefined || elementCount(dims) !== elementCount(info.dims) ? undefined : { ...info, dims };
}

/** The constant after the node, whose type and shape are `info`. The buffer is shared where no element moves. */
export function movedTensor(node: Node, tensor: Tensor, info: TensorInfo): Tensor {
  if (node.op === 'Cast') return { ...info, data: castData(tensor) };
  if (node.op === 'Transpose') return { ...info, data: transposedData(node, tensor) };
  return { ...info, data: tensor.data };
}

function castInfo(node: Node, info: TensorInfo): TensorInfo | undefined {
  const to = dataTypeOfCode(intAttribute(node, 'to', 0));
  return to === info.dtype || (to === 'float32' && FLOATS.includes(info.dtype))
    ? { dtype: to, dims: info.dims }
    : undefined;
}

/** Values of a float tensor as float32, rounded to the nearest; of any other as they are. */
function castData({ dtype, data }: Tensor): Tensor['data'] {
  if (dtype === 'float16') return float16ToFloat32(data as Uint16Array);
  if (dtype === 'bfloat16') return bfloat16ToFloat32(data as Uint16Array);
  return data instanceof Float64Array ? new Float32Array(data) : data;
}

function movedDims(node: Node, info: TensorInfo, second: SecondInput): readonly number[] | undefined {
  const { dims } = info;
  switch (node.op) {
    case 'Transpose':
      return isByteSized(info) ? permOf(node, dims)?.map((axis) => dims[axis] ?? 0) : undefined;
    case 'Reshape':
      return reshaped(dims, intsAttribute(node, 'shape', undefined) ?? second(node), node);
    case 'Squeeze':
      return squeezed(dims, axesOf(node, second));
    case 'Unsqueeze':
      return unsqueezed(dims, axesOf(node, second));
    case 'Flatten':
      return flattened(dims, intAttribute(node, 'axis', 1));
    default:
      return undefined;
  }
}

/** Strings and elements that share bytes are not moved one by one. */
function isByteSized({ dtype }: TensorInfo): boolean {
  return dataTypeFacts(dtype).bits >= 8;
}

function permOf(node: Node, dims: readonly number[]): readonly number[] | undefined {
  const axes = dims.map((_, axis) => axis);
  const perm = intsAttribute(node, 'perm', undefined) ?? [...axes].reverse();
  return perm.length === dims.length && axes.every((axis) => perm.includes(axis)) ? perm : undefined;
}

function reshaped(
  dims: readonly number[],
  shape: readonly number[] | undefined,
  node: Node,
): readonly number[] | undefined {
  if (shape === undefined || shape.filter((dim) => dim === -1).length > 1) return undefined;
  const keepsZeros = intAttribute(node, 'allowzero', 0) !== 0;
  const wanted = shape.map((dim, axis) => (dim === 0 && !keepsZeros ? (dims[axis] ?? -2) : dim));
  if (wanted.some((dim) => dim < -1)) return undefined;
  const known = elementCount(wanted.filter((dim) => dim !== -1));
  const rest = known === 0 ? 0 : elementCount(dims) / known;
  return Number.isInteger(rest) ? wanted.map((dim) => (dim === -1 ? rest : dim)) : undefined;
}

/** Axes as an attribute (before opset 13) or as a second input; 'none' where the node has neither. */
function axesOf(node: Node, second: SecondInput): readonly number[] | 'none' | undefined {
  const axes = intsAttribute(node, 'axes', undefined);
  if (axes !== undefined) return axes;
  return (node.inputs[1] ?? '') === '' ? 'none' : second(node);
}

function squeezed(
  dims: readonly number[],
  axes: readonly number[] | 'none' | undefined,
): readonly number[] | undefined {
  if (axes === undefined) return undefined;
  if (axes === 'none') return dims.filter((dim) => dim !== 1);
  const dropped = placesOf(axes, dims.length);
  return dropped && [...dropped].every((axis) => dims[axis] === 1)
    ? dims.filter((_, axis) => !dropped.has(axis))
    : undefined;
}

function unsqueezed(
  dims: readonly number[],
  axes: readonly number[] | 'none' | undefined,
): readonly number[] | undefined {
  if (axes === undefined || axes === 'none') return undefined;
  const rank = dims.length + axes.length;
  const added = placesOf(axes, rank);
  if (added === undefined) return undefined;
  const rest = [...dims];
  return Array.from({ length: rank }, (_, axis) => (added.has(axis) ? 1 : (rest.shift() ?? 1)));
}

/** Axes counted from the front; undefined where one is out of range or named twice. */
function placesOf(axes: readonly number[], rank: number): ReadonlySet<number> | undefined {
  const places = new Set(axes.map((axis) => (axis < 0 ? axis + rank : axis)));
  const fit = places.size === axes.length && [...places].every((axis) => axis >= 0 && axis < rank);
  return fit ? places : undefined;
}

function flattened(dims: readonly number[], axis: number): readonly number[] | undefined {
  const at = axis < 0 ? axis + dims.length : axis;
  if (at < 0 || at > dims.length) return undefined;
  return [elementCount(dims.slice(0, at)), elementCount(dims.slice(at))];
}

/** A copy with its axes in the node's order. */
function transposedData(node: Node, { dims, data }: Tensor): Tensor['data'] {
  const perm = permOf(node, dims);
  if (perm === undefined || !ArrayBuffer.isView(data)) return data;
  const copy = data.slice();
  if (data.BYTES_PER_ELEMENT === 8) {
    // A bigint for each element would be slow: 8 bytes go as two words that stay together.
    transposeInto(wordsOf(data), [...dims, 2], [...perm, dims.length], wordsOf(copy));
  } else transposeInto(wordsOf(data), dims, perm, wordsOf(copy));
  return copy;
}

function wordsOf({ buffer, byteOffset, byteLength, BYTES_PER_ELEMENT }: TypedArray): Words {
  if (BYTES_PER_ELEMENT === 1) return new Uint8Array(buffer, byteOffset, byteLength);
  if (BYTES_PER_ELEMENT === 2) return new Uint16Array(buffer, byteOffset, byteLength / 2);
  return new Uint32Array(buffer, byteOffset, byteLength / 4);
}

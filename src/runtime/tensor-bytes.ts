import type { DataType, TypedArray } from '../core/index.js';

type NumericType = Exclude<DataType, 'string'>;
interface TypedArrayConstructor {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): TypedArray;
}

/** The array that holds each element type, as ONNX Runtime has it; 4-bit types are packed two to a byte. */
const ARRAYS: Readonly<Record<NumericType, TypedArrayConstructor>> = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  int4: Uint8Array,
  uint4: Uint8Array,
  bool: Uint8Array,
};

/** Bytes of `count` elements. */
export function elementBytes(dtype: NumericType, count: number): number {
  const packed = dtype === 'int4' || dtype === 'uint4';
  return (packed ? Math.ceil(count / 2) : count) * ARRAYS[dtype].BYTES_PER_ELEMENT;
}

/** The same memory as bytes; no copy. */
export function bytesOf(data: TypedArray): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** `bytes` as elements of `dtype`; no copy, so `bytes.byteOffset` and its length must be multiples of an element. */
export function viewAs(dtype: NumericType, bytes: Uint8Array): TypedArray {
  const Elements = ARRAYS[dtype];
  return new Elements(bytes.buffer, bytes.byteOffset, bytes.byteLength / Elements.BYTES_PER_ELEMENT);
}

import type { DataType, TypedArray } from '../core/index.js';

type ArrayConstructor = new (buffer: ArrayBuffer, byteOffset: number, length: number) => TypedArray;

interface DataTypeFacts {
  /** Value of TensorProto.DataType. */
  readonly code: number;
  /** Bits an element takes in a file; 0 for strings. */
  readonly bits: number;
  /** Array that holds it in memory; two int4 share one byte. */
  readonly array: ArrayConstructor;
}

const FACTS: Readonly<Record<DataType, DataTypeFacts>> = {
  float32: { code: 1, bits: 32, array: Float32Array },
  uint8: { code: 2, bits: 8, array: Uint8Array },
  int8: { code: 3, bits: 8, array: Int8Array },
  uint16: { code: 4, bits: 16, array: Uint16Array },
  int16: { code: 5, bits: 16, array: Int16Array },
  int32: { code: 6, bits: 32, array: Int32Array },
  int64: { code: 7, bits: 64, array: BigInt64Array },
  string: { code: 8, bits: 0, array: Uint8Array },
  bool: { code: 9, bits: 8, array: Uint8Array },
  float16: { code: 10, bits: 16, array: Uint16Array },
  float64: { code: 11, bits: 64, array: Float64Array },
  uint32: { code: 12, bits: 32, array: Uint32Array },
  uint64: { code: 13, bits: 64, array: BigUint64Array },
  bfloat16: { code: 16, bits: 16, array: Uint16Array },
  uint4: { code: 21, bits: 4, array: Uint8Array },
  int4: { code: 22, bits: 4, array: Uint8Array },
};

const BY_CODE = new Map(Object.entries(FACTS).map(([dtype, facts]) => [facts.code, dtype as DataType]));

/** Size and array type of an element type. */
export function dataTypeFacts(dtype: DataType): DataTypeFacts {
  return FACTS[dtype];
}

/** The number ONNX writes for an element type: value of `to` in Cast, of `data_type` in a tensor. */
export function dataTypeCode(dtype: DataType): number {
  return FACTS[dtype].code;
}

/** Element type of an ONNX number; undefined for those Whittle does not compute with (complex, float8 and smaller). */
export function dataTypeOfCode(code: number): DataType | undefined {
  return BY_CODE.get(code);
}

/** True where `name` is an element type. */
export function isDataType(name: string): name is DataType {
  return Object.hasOwn(FACTS, name);
}

/** Bytes that `elements` elements take, packed. Strings have no fixed size and count 0. */
export function packedBytes(dtype: DataType, elements: number): number {
  return Math.ceil((elements * FACTS[dtype].bits) / 8);
}

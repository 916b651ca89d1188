import { assert } from './errors.js';

/** Element types as ONNX Runtime names them. */
export type DataType =
  | 'float32'
  | 'float64'
  | 'float16'
  | 'bfloat16'
  | 'int8'
  | 'uint8'
  | 'int16'
  | 'uint16'
  | 'int32'
  | 'uint32'
  | 'int64'
  | 'uint64'
  | 'int4'
  | 'uint4'
  | 'bool'
  | 'string';

export type TypedArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/** A dense tensor in row-major order. float16 and bfloat16 are bit patterns in a Uint16Array, bool is a Uint8Array. */
export interface Tensor {
  readonly dtype: DataType;
  readonly dims: readonly number[];
  readonly data: TypedArray | readonly string[];
}

/** Number of elements of a shape; the empty shape is a scalar and has one. */
export function elementCount(dims: readonly number[]): number {
  let count = 1;
  for (const dim of dims) count *= dim;
  return count;
}

/** A float32 tensor over `data` (not copied). */
export function float32(data: Float32Array, dims: readonly number[] = [data.length]): Tensor {
  assert(
    elementCount(dims) === data.length,
    `dims [${dims.join(', ')}] do not hold ${String(data.length)} elements`,
  );
  return { dtype: 'float32', dims, data };
}

/** An int64 tensor holding `values`. */
export function int64(
  values: ArrayLike<number> | BigInt64Array,
  dims: readonly number[] = [values.length],
): Tensor {
  assert(
    elementCount(dims) === values.length,
    `dims [${dims.join(', ')}] do not hold ${String(values.length)} elements`,
  );
  const data =
    values instanceof BigInt64Array ? values : BigInt64Array.from(values, (value) => BigInt(value));
  return { dtype: 'int64', dims, data };
}

/** The data of a float32 tensor; anything else is a bug. */
export function float32Data(tensor: Tensor): Float32Array {
  assert(tensor.data instanceof Float32Array, `expected a float32 tensor, got ${tensor.dtype}`);
  return tensor.data;
}

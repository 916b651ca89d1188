import { createRandom, elementCount } from '../../src/core/index.js';
import type { DataType, Tensor, TensorMap, TypedArray, ValueSpec } from '../../src/core/index.js';

/**
 * Random values for a model's inputs: normal floats, integers 0 or 1 (fit for ids, masks and zero points). Dynamic
 * dimensions of one name get one size, 2 unless `sizes` says otherwise; `fixed` replaces whole inputs.
 */
export function randomFeeds(
  inputs: readonly ValueSpec[],
  sizes: Readonly<Record<string, number>> = {},
  fixed: TensorMap = {},
  seed = 7,
): TensorMap {
  const random = createRandom(seed);
  const feeds: Record<string, Tensor> = {};
  for (const { name, dtype, dims } of inputs) {
    const shape = dims.map((dim) => (typeof dim === 'number' ? dim : (sizes[dim] ?? 2)));
    const count = elementCount(shape);
    const value = (): number => (dtype === 'float32' ? random.normal() : random.integer(2));
    feeds[name] = fixed[name] ?? {
      dtype,
      dims: shape,
      data: arrayOf(dtype, Array.from({ length: count }, value)),
    };
  }
  return feeds;
}

function arrayOf(dtype: DataType, values: readonly number[]): TypedArray {
  switch (dtype) {
    case 'float32':
      return Float32Array.from(values);
    case 'int64':
      return BigInt64Array.from(values, BigInt);
    case 'int32':
      return Int32Array.from(values);
    case 'int8':
      return Int8Array.from(values);
    case 'uint8':
      return Uint8Array.from(values);
    default:
      throw new Error(`no random values for ${dtype}`);
  }
}

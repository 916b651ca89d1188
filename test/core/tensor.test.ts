import { describe, expect, test } from 'vitest';
import { elementCount, float32, float32Data, int64 } from '../../src/core/index.js';

describe('elementCount', () => {
  test.each([
    [[], 1],
    [[0], 0],
    [[7], 7],
    [[2, 3, 4], 24],
    [[2, 0, 4], 0],
  ])('%j holds %i', (dims, count) => {
    expect(elementCount(dims)).toBe(count);
  });
});

describe('float32', () => {
  test('wraps the data without a copy; without dims it is a vector', () => {
    const data = Float32Array.of(1, 2, 3, 4, 5, 6);
    expect(float32(data)).toEqual({ dtype: 'float32', dims: [6], data });
    expect(float32(data, [2, 3]).data).toBe(data);
  });

  test('refuses dims that do not hold the data', () => {
    expect(() => float32(new Float32Array(5), [2, 3])).toThrow('dims [2, 3] do not hold 5 elements');
  });
});

describe('int64', () => {
  test('turns numbers into 64-bit integers, negative and large ones too', () => {
    const tensor = int64([1, -2, Number.MAX_SAFE_INTEGER]);
    expect(tensor).toEqual({
      dtype: 'int64',
      dims: [3],
      data: BigInt64Array.of(1n, -2n, 9007199254740991n),
    });
  });

  test('takes a BigInt64Array as it is', () => {
    const data = BigInt64Array.of(1n, 2n);
    expect(int64(data, [2, 1]).data).toBe(data);
  });

  test('refuses dims that do not hold the values, and numbers that are not integers', () => {
    expect(() => int64([1, 2], [3])).toThrow('dims [3] do not hold 2 elements');
    expect(() => int64([1.5])).toThrow(RangeError);
  });
});

describe('float32Data', () => {
  test('returns the buffer itself; another type is a bug', () => {
    const data = Float32Array.of(1);
    expect(float32Data(float32(data))).toBe(data);
    expect(() => float32Data(int64([1]))).toThrow('expected a float32 tensor, got int64');
  });
});

import { expect, it } from 'vitest';
import { quantizeByRows } from '../../../src/compression/kernels/conv-weight-kernel.js';

const WEIGHT = Float32Array.of(1, -0.5, 0.25, 0.5, 0, 0);

function quantized(
  perChannel: boolean,
  least = [0, 0, 0],
): { values: number[]; scales: number[]; error: number } {
  const values = new Int8Array(6);
  const scales = new Float32Array(3);
  const error = quantizeByRows(WEIGHT, 3, 127, perChannel, Float64Array.from(least), values, scales);
  return { values: [...values], scales: [...scales], error };
}

it('gives each row a scale of its own, and zeros any', () => {
  const { values, scales, error } = quantized(true);
  expect(values).toEqual([127, -64, 64, 127, 0, 0]);
  expect(scales).toEqual([Math.fround(1 / 127), Math.fround(0.5 / 127), 1]);
  const squares = (64 / 127 - 0.5) ** 2 + (0.25 - 32 / 127) ** 2;
  expect(error).toBeCloseTo(Math.sqrt(squares / 1.5625), 6);
});

it('gives all rows the largest scale, or a row one that it must have', () => {
  expect(quantized(false).scales).toEqual(new Array<number>(3).fill(Math.fround(1 / 127)));
  const { values, scales } = quantized(true, [0.5, 0, 0]);
  expect(scales[0]).toBe(0.5);
  expect(values.slice(0, 2)).toEqual([2, -1]);
});

it('says where weights are not finite', () => {
  const error = quantizeByRows(
    Float32Array.of(NaN, 1),
    1,
    127,
    true,
    new Float64Array(1),
    new Int8Array(2),
    new Float32Array(1),
  );
  expect(error).toBeNaN();
});

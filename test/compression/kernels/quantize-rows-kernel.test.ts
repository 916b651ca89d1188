import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  columnMoments,
  encodeRow,
  fitLeastSquares,
  fitRange,
  fitSymmetric,
  packHalves,
  standardizeRow,
} from '../../../src/compression/kernels/quantize-rows-kernel.js';

const rows = fc
  .array(fc.float({ min: -100, max: 100, noNaN: true }), { minLength: 1, maxLength: 40 })
  .map((values) => Float64Array.from(values));

/** Largest and root mean square error of a row's codes. */
function errors(values: Float64Array, fit: Float64Array, low: number, high: number): [number, number] {
  const codes = new Int16Array(values.length);
  encodeRow(values, fit, low, high, codes);
  const each = values.map((value, i) => Math.abs((codes[i] ?? 0) * (fit[0] ?? 0) + (fit[1] ?? 0) - value));
  return [Math.max(...each), Math.hypot(...each)];
}

describe('fits of a row', () => {
  it('are worked out by hand for a small row', () => {
    const fit = new Float64Array(2);
    const codes = new Int16Array(3);
    fitSymmetric(Float64Array.of(1, -2.54, 0), 127, fit);
    expect(Array.from(fit)).toEqual([2.54 / 127, 0]);
    encodeRow(Float64Array.of(1, -2.54, 0), fit, -127, 127, codes);
    expect(Array.from(codes)).toEqual([50, -127, 0]);
    fitRange(Float64Array.of(1, 4, 2), 15, fit);
    expect(Array.from(fit)).toEqual([0.2, 1]);
    encodeRow(Float64Array.of(1, 4, 2), fit, 0, 15, codes);
    expect(Array.from(codes)).toEqual([0, 15, 5]);
  });

  it('err by half a step at most, but for clipped values', () => {
    fc.assert(
      fc.property(rows, (values) => {
        const fit = new Float64Array(2);
        fitSymmetric(values, 127, fit);
        expect(errors(values, fit, -127, 127)[0]).toBeLessThanOrEqual((fit[0] ?? 0) * 0.5000001);
        fitRange(values, 255, fit);
        expect(errors(values, fit, 0, 255)[0]).toBeLessThanOrEqual((fit[0] ?? 0) * 0.5000001 + 1e-12);
      }),
    );
  });

  it('by least squares is never worse than the range, and better where one value is far out', () => {
    fc.assert(
      fc.property(rows, (values) => {
        const [range, best] = [new Float64Array(2), new Float64Array(2)];
        fitRange(values, 15, range);
        fitLeastSquares(values, 15, best);
        expect(errors(values, best, 0, 15)[1]).toBeLessThanOrEqual(
          errors(values, range, 0, 15)[1] + 1e-9 * Math.max(...values.map(Math.abs)),
        );
      }),
    );
    const values = Float64Array.from({ length: 64 }, (_, i) => Math.sin(i) + (i === 5 ? 2 : 0));
    const [range, best] = [new Float64Array(2), new Float64Array(2)];
    fitRange(values, 15, range);
    fitLeastSquares(values, 15, best);
    expect(errors(values, best, 0, 15)[1]).toBeLessThan(0.95 * errors(values, range, 0, 15)[1]);
  });

  it('stay exact for rows of one value', () => {
    const fit = new Float64Array(2);
    for (const fitted of [fitRange, fitLeastSquares]) {
      fitted(Float64Array.of(0.3, 0.3, 0.3), 15, fit);
      expect(errors(Float64Array.of(0.3, 0.3), fit, 0, 15)[0]).toBe(0);
    }
    fitSymmetric(new Float64Array(3), 127, fit);
    expect(errors(new Float64Array(3), fit, -127, 127)[0]).toBe(0);
  });
});

describe('columns', () => {
  it('have their means and deviations, and rows become standard by them', () => {
    const table = Float32Array.of(1, 5, -7, 3, 5, -9);
    const [means, deviations] = [new Float64Array(3), new Float64Array(3)];
    expect(columnMoments(table, 2, 3, means, deviations)).toBe(9);
    expect([Array.from(means), Array.from(deviations)]).toEqual([
      [2, 5, -8],
      [1, 0, 1],
    ]);
    const values = new Float64Array(3);
    standardizeRow(table, 3, means, deviations, values);
    expect(Array.from(values)).toEqual([1, 0, -1]);
    expect(columnMoments(Float32Array.of(1, NaN), 1, 2, means, deviations)).toBeNaN();
    expect(Number.isFinite(columnMoments(Float32Array.of(1, -Infinity), 1, 2, means, deviations))).toBe(
      false,
    );
  });
});

it('packs the halves of the last axis into the halves of a byte', () => {
  const packed = new Uint8Array(6);
  packHalves(Int16Array.of(1, 2, 3, 4, 15, 9), 3, packed, 1);
  expect(Array.from(packed)).toEqual([0, 1 | (3 << 4), 2, 4 | (9 << 4), 15, 0]);
});

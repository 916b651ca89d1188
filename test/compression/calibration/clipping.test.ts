import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRandom } from '../../../src/core/index.js';
import {
  activationScale,
  entropyRange,
  mseRange,
  percentileRange,
} from '../../../src/compression/calibration/clipping.js';
import type { Histogram } from '../../../src/compression/calibration/ranges.js';
import {
  clippedDivergence,
  countIntoBins,
  widenRange,
} from '../../../src/compression/kernels/calibration-kernel.js';

function histogram(low: number, high: number, counts: readonly number[], zeros = 0): Histogram {
  return { low, high, counts: Float64Array.from(counts), zeros };
}

function histogramOf(values: Float32Array, bins = 2048): Histogram {
  const range = Float64Array.of(Infinity, -Infinity);
  widenRange(values, range);
  const [low = 0, high = 0] = range;
  const counts = new Float64Array(bins);
  return { low, high, counts, zeros: countIntoBins(values, low, high, counts) };
}

/** Normal values, and a few that are far out. */
function heavyTailed(): Float32Array {
  const random = createRandom(3);
  return Float32Array.from({ length: 20_000 }, (_, i) => random.normal() * (i % 1000 === 0 ? 25 : 1));
}

/** Mean squared error of rounding values to the 256 steps of a range. */
function roundingError(values: Float32Array, range: { min: number; max: number }): number {
  const { scale, zeroPoint } = activationScale(range, false);
  const squares = values.map((value) => {
    const stored = Math.max(0, Math.min(255, Math.round(value / scale) + zeroPoint));
    return ((stored - zeroPoint) * scale - value) ** 2;
  });
  return squares.reduce((sum, square) => sum + square, 0) / values.length;
}

describe('observation', () => {
  it('counts by hand: bins of 0.5 from -1 to 1, the ends into the outermost, zeros apart', () => {
    const counts = new Float64Array(4);
    const values = Float32Array.of(-1, -0.6, -0.5, 0, -0, 0.25, 0.5, 0.99, 1);
    expect(countIntoBins(values, -1, 1, counts)).toBe(2);
    expect([...counts]).toEqual([2, 1, 1, 3]);
  });

  it('widens a range, and says where values are not finite', () => {
    const range = Float64Array.of(Infinity, -Infinity);
    expect(widenRange(Float32Array.of(2, -1), range)).toBe(true);
    expect(widenRange(Float32Array.of(0.5), range)).toBe(true);
    expect([...range]).toEqual([-1, 2]);
    expect(widenRange(Float32Array.of(1, NaN), range)).toBe(false);
    expect(widenRange(Float32Array.of(-Infinity), range)).toBe(false);
  });
});

describe('percentileRange', () => {
  it('cuts half of the rest at each end, part of a bin where it falls inside one', () => {
    // 100 values; 90 % leave 5 at each end: 4 + a quarter of the bin of 4 below, half of the bin of 10 above.
    const counts = histogram(-4, 4, [4, 4, 20, 22, 20, 10, 10, 10]);
    expect(percentileRange(counts, 90)).toEqual({ min: -4 + 1.25, max: 4 - 0.5 });
  });

  it('counts zeros as values, and always holds zero', () => {
    // 1000 values: 1 % at each end is 10, so the upper 8 and 2 of the next 4 go; nothing is below zero.
    const { min, max } = percentileRange(histogram(0, 4, [4, 4, 4, 8], 980), 98);
    expect(min).toBe(0);
    expect(max).toBeCloseTo(2.5, 12);
    // 80 values, 20 cut at each end: half of the upper bin.
    expect(percentileRange(histogram(3, 5, [40, 40]), 50)).toEqual({ min: 0, max: 4.5 });
  });

  it('covers everything at 100', () => {
    expect(percentileRange(histogram(-1, 2, [1, 5, 1]), 100)).toEqual({ min: -1, max: 2 });
  });
});

describe('entropyRange', () => {
  it('has the divergence of hand: one of two levels clipped away', () => {
    // Reference [1, 3 + 2], coarse [2, 2] · both bins filled: p = (1/6, 5/6), q = (1/2, 1/2).
    const byHand = (1 / 6) * Math.log(1 / 3) + (5 / 6) * Math.log(5 / 3);
    expect(clippedDivergence(Float64Array.of(1, 3, 2), 0, 2, 1)).toBeCloseTo(byHand, 12);
    // As many levels as bins and nothing clipped: the same distribution.
    expect(clippedDivergence(Float64Array.of(1, 3, 2), 0, 3, 3)).toBeCloseTo(0, 12);
  });

  it('smooths empty bins: each gets 0.0001, which the others give', () => {
    // Both are [2 − 0.0001, 0.0001] after smoothing; before, the logarithm would be of 0.
    expect(clippedDivergence(Float64Array.of(2, 0), 0, 2, 2)).toBeCloseTo(0, 12);
    expect(clippedDivergence(Float64Array.of(0, 0, 5), 0, 2, 2)).toBe(Infinity);
  });

  it('clips a lone far value to the levels that hold the rest', () => {
    // 4 levels over 8 bins: to reach the last value, neighbours that differ would have to share a level.
    const { min, max } = entropyRange(histogram(0, 8, [40, 10, 30, 5, 0, 0, 0, 1]), 4);
    expect({ min, max }).toEqual({ min: 0, max: 4 });
  });

  it('takes less than everything of a heavy tail, and all of a uniform distribution', () => {
    const values = heavyTailed();
    const observed = histogramOf(values);
    const range = entropyRange(observed);
    expect(range.max).toBeLessThan(0.5 * observed.high);
    expect(range.min).toBeGreaterThan(0.7 * observed.low);
    expect(range.max).toBeGreaterThan(2);
    expect(entropyRange(histogram(-1, 1, new Array<number>(512).fill(7)))).toEqual({ min: -1, max: 1 });
  });
});

describe('mseRange', () => {
  it('weighs steps against what is clipped, by hand', () => {
    // 2 levels from 0: at 64 the step is 64, at 1 it is 1. n values near 0 cost n · step² / 12 each.
    const counts = new Array<number>(64).fill(0);
    counts[0] = 12_000;
    counts[63] = 1;
    const { min, max } = mseRange(histogram(0, 64, counts), false, 2);
    // Cost 12,000 · L² / 12 + (63.5 − L)² is least where 1001 L = 63.5: the nearest limit is 1.
    expect({ min, max }).toEqual({ min: 0, max: 1 });
    // The far value alone, half a unit beyond the last limit but one: clipping it there is cheapest.
    expect(mseRange(histogram(0, 64, counts.with(0, 0)), false, 2)).toEqual({ min: 0, max: 63 });
  });

  it('finds a range with less error than min-max on a heavy tail', () => {
    const values = heavyTailed();
    const observed = histogramOf(values);
    const everything = { min: observed.low, max: observed.high };
    const found = mseRange(observed, false);
    expect(found.max).toBeLessThan(observed.high);
    expect(roundingError(values, found)).toBeLessThan(roundingError(values, everything));
    const mirrored = mseRange(observed, true);
    expect(mirrored.min).toBe(-mirrored.max);
  });
});

describe('activationScale', () => {
  it('covers range and zero', () => {
    expect(activationScale({ min: -1, max: 3 }, false)).toEqual({
      scale: Math.fround(4 / 255),
      zeroPoint: 64,
    });
    expect(activationScale({ min: 1, max: 2.55 }, false)).toEqual({
      scale: Math.fround(0.01),
      zeroPoint: 0,
    });
    expect(activationScale({ min: -3, max: -1 }, false).zeroPoint).toBe(255);
    expect(activationScale({ min: -2.54, max: 1 }, true)).toEqual({
      scale: Math.fround(0.02),
      zeroPoint: 128,
    });
    expect(activationScale({ min: 0, max: 2.55 }, true).zeroPoint).toBe(0);
    expect(activationScale({ min: 0, max: 0 }, false).scale).toBeGreaterThan(0);
  });

  it('brings back zero exactly and every value of the range within a step', () => {
    const value = fc.float({ noNaN: true, min: -1e6, max: 1e6 });
    fc.assert(
      fc.property(
        value,
        value,
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.boolean(),
        (a, b, at, symmetric) => {
          const range = { min: Math.min(a, b), max: Math.max(a, b) };
          const { scale, zeroPoint } = activationScale(range, symmetric);
          expect(Number.isInteger(zeroPoint) && zeroPoint >= 0 && zeroPoint <= 255).toBe(true);
          const exact = range.min + at * (range.max - range.min);
          const stored = Math.max(0, Math.min(255, Math.round(exact / scale) + zeroPoint));
          expect(Math.abs((stored - zeroPoint) * scale - exact)).toBeLessThanOrEqual(1.001 * scale);
        },
      ),
    );
  });
});

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { arrivalTimes } from '../../loadtest/generator/schedule.js';
import { createRandom } from '../../src/core/index.js';
import { errorCode } from '../support/error-code.js';

const at = (rate: number, seconds: number): { fromRate: number; toRate: number; seconds: number } => ({
  fromRate: rate,
  toRate: rate,
  seconds,
});

describe('arrivalTimes', () => {
  test('spaces a constant rate evenly, through segments', () => {
    const times = arrivalTimes([at(4, 1), at(2, 2)], 'constant', createRandom(1));
    expect(Array.from(times)).toEqual([0, 250, 500, 750, 1000, 1500, 2000, 2500]);
  });

  // The integral of 10 + 10 t is 10 t + 5 t²: 15 arrivals in a second, the kth at (sqrt(100 + 20 k) - 10) / 10.
  test('follows a ramp', () => {
    const times = arrivalTimes([{ fromRate: 10, toRate: 20, seconds: 1 }], 'constant', createRandom(1));
    expect(times).toHaveLength(15);
    for (const [k, time] of times.entries())
      expect(time).toBeCloseTo(100 * (Math.sqrt(100 + 20 * k) - 10), 9);
  });

  test('starts a ramp from nothing', () => {
    const times = arrivalTimes([{ fromRate: 0, toRate: 8, seconds: 1 }], 'constant', createRandom(1));
    expect(times).toHaveLength(4);
    for (const [k, time] of times.entries()) expect(time).toBeCloseTo(1000 * Math.sqrt(k / 4), 9);
  });

  test('never comes back in time nor leaves the segments', () => {
    const rate = fc.double({ min: 0, max: 500, noNaN: true });
    const segment = fc.record({ fromRate: rate, toRate: rate, seconds: fc.integer({ min: 1, max: 4 }) });
    const kind = fc.constantFrom('poisson' as const, 'constant' as const);
    fc.assert(
      fc.property(
        fc.array(segment, { minLength: 1, maxLength: 4 }),
        kind,
        fc.nat(),
        (segments, arrivals, seed) => {
          const times = arrivalTimes(segments, arrivals, createRandom(seed));
          expect(times).toEqual(times.toSorted());
          const endMs = 1000 * segments.reduce((sum, { seconds }) => sum + seconds, 0);
          expect(times.at(-1) ?? 0).toBeLessThanOrEqual(endMs * (1 + 1e-12));
          expect(times[0] ?? 0).toBeGreaterThanOrEqual(0);
        },
      ),
      { numRuns: 50 },
    );
  });

  // Of a Poisson process the gaps are exponential (mean and deviation 1/rate) and the counts have their mean as variance.
  test('draws a Poisson process, the same for the same seed', () => {
    const times = arrivalTimes([at(1_000, 100)], 'poisson', createRandom(7));
    expect(times).toEqual(arrivalTimes([at(1_000, 100)], 'poisson', createRandom(7)));
    const gaps = Array.from(times.slice(1), (time, place) => time - (times[place] as number));
    const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
    const variance = gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / gaps.length;
    // 100,000 gaps: five standard errors are 1.6 % of the mean and 4.5 % of the variance.
    expect(Math.abs(mean - 1)).toBeLessThan(0.016);
    expect(Math.abs(variance - 1)).toBeLessThan(0.045);
    expect(gaps.filter((gap) => gap > Math.LN2).length / gaps.length).toBeCloseTo(0.5, 2);
  });

  test('refuses more than memory is meant for', () => {
    expect(errorCode(() => arrivalTimes([at(100_000, 600)], 'poisson', createRandom(1)))).toBe(
      'USAGE_INVALID',
    );
  });
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  addSample,
  confidenceInterval,
  emptyMean,
  lowerBound,
  meanEstimate,
  meanInterval,
  meanStatistics,
  mergeMeans,
  studentQuantile,
  variance,
} from '../../src/statistics/index.js';
import { errorCode } from '../support/error-code.js';

const samples = fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { maxLength: 40 });

/** The two-pass definition. */
function twoPass(values: readonly number[]): { mean: number; squaredDeviations: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
  return { mean, squaredDeviations: values.reduce((sum, value) => sum + (value - mean) ** 2, 0) };
}

describe('mean statistics', () => {
  it('equal the two-pass definition', () => {
    fc.assert(
      fc.property(samples, (values) => {
        const statistics = meanStatistics(values);
        const expected = twoPass(values);
        expect(statistics.count).toBe(values.length);
        expect(Math.abs(statistics.mean - expected.mean)).toBeLessThanOrEqual(1e-8);
        expect(Math.abs(statistics.squaredDeviations - expected.squaredDeviations)).toBeLessThanOrEqual(
          1e-9 * (1 + expected.squaredDeviations) + 1e-6,
        );
      }),
    );
  });

  it('merge to what pooling gives, in any order', () => {
    fc.assert(
      fc.property(samples, samples, (left, right) => {
        const pooled = meanStatistics([...left, ...right]);
        for (const merged of [
          mergeMeans(meanStatistics(left), meanStatistics(right)),
          mergeMeans(meanStatistics(right), meanStatistics(left)),
        ]) {
          expect(merged.count).toBe(pooled.count);
          expect(Math.abs(merged.mean - pooled.mean)).toBeLessThanOrEqual(1e-8);
          expect(Math.abs(merged.squaredDeviations - pooled.squaredDeviations)).toBeLessThanOrEqual(
            1e-9 * (1 + pooled.squaredDeviations) + 1e-6,
          );
        }
      }),
    );
  });

  it('keep their digits far from zero, where a sum of squares loses all of them', () => {
    expect(variance(meanStatistics([1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16]))).toBe(30);
  });

  it('do not change when a sample is added', () => {
    const one = addSample(emptyMean, 3);
    addSample(one, 9);
    expect(one).toEqual({ count: 1, mean: 3, squaredDeviations: 0 });
    expect(emptyMean.count).toBe(0);
  });
});

describe('intervals', () => {
  it('use the quantiles of printed t tables', () => {
    expect(studentQuantile(0.975, 1)).toBeCloseTo(12.7062, 4);
    expect(studentQuantile(0.975, 9)).toBeCloseTo(2.262157, 6);
    expect(studentQuantile(0.95, 30)).toBeCloseTo(1.697261, 6);
  });

  it('equal the worked value mean ± t·s/√n', () => {
    // 1..10: mean 5.5, s² = 55/6, t(0.975, 9) = 2.262157; R: t.test(1:10) gives 3.334149, 7.665851.
    const interval = meanInterval(meanStatistics([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]));
    expect(interval.mean).toBeCloseTo(5.5, 12);
    expect(interval.low).toBeCloseTo(3.334149, 6);
    expect(interval.high).toBeCloseTo(7.665851, 6);
  });

  it('bound from below with the whole alpha on one side', () => {
    const estimate = meanEstimate(meanStatistics([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]));
    expect(lowerBound(estimate, 0.025)).toBeCloseTo(confidenceInterval(estimate, 0.95).low, 12);
  });

  it('have no bounds where the spread is unknown', () => {
    expect(meanInterval(meanStatistics([4]))).toEqual({ mean: 4 });
    expect(meanInterval(meanStatistics([0.1, 0.1, 0.1]))).toEqual({ mean: 0.1 });
  });

  it('are undefined without samples, on samples that are not finite and without spread', () => {
    expect(errorCode(() => meanInterval(emptyMean))).toBe('STATISTIC_UNDEFINED');
    expect(errorCode(() => variance(meanStatistics([1])))).toBe('STATISTIC_UNDEFINED');
    expect(errorCode(() => addSample(emptyMean, Number.NaN))).toBe('STATISTIC_UNDEFINED');
    expect(errorCode(() => confidenceInterval(meanEstimate(meanStatistics([2, 2]))))).toBe(
      'STATISTIC_UNDEFINED',
    );
    expect(errorCode(() => confidenceInterval(meanEstimate(meanStatistics([1, 2])), 1))).toBe(
      'STATISTIC_UNDEFINED',
    );
  });
});

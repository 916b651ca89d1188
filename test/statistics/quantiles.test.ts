import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRandom } from '../../src/core/index.js';
import { LatencyHistogram } from '../../src/statistics/index.js';
import { errorCode } from '../support/error-code.js';

function histogram(times: readonly number[]): LatencyHistogram {
  const result = new LatencyHistogram();
  for (const time of times) result.record(time);
  return result;
}

const quantiles = [0.001, 0.5, 0.9, 0.99, 0.999];
const timeMs = fc.double({ min: Math.log(0.001), max: Math.log(3.6e6), noNaN: true }).map(Math.exp);
const times = fc.array(timeMs, { minLength: 1, maxLength: 300 });

describe('LatencyHistogram', () => {
  it('has every quantile within 1 % of the exact one', () => {
    fc.assert(
      fc.property(times, (values) => {
        const sorted = Float64Array.from(values).sort();
        const counted = histogram(values);
        for (const p of quantiles) {
          const exact = sorted[Math.ceil(p * sorted.length) - 1] ?? Number.NaN;
          expect(Math.abs(counted.quantile(p) / exact - 1)).toBeLessThanOrEqual(0.01 + 1e-9);
        }
      }),
    );
  });

  it('merges to what recording all times gives', () => {
    fc.assert(
      fc.property(times, times, (left, right) => {
        const merged = histogram(left);
        merged.merge(histogram(right));
        expect(merged).toEqual(histogram([...left, ...right]));
      }),
    );
  });

  it('counts what is out of its range as the nearest time in it', () => {
    expect(histogram([0]).quantile(0.5)).toBeCloseTo(0.001, 4);
    expect(histogram([1e12]).quantile(0.5) / 3.6e6).toBeCloseTo(1, 1);
  });

  it('is undefined without times, on times that are none and outside (0, 1)', () => {
    expect(errorCode(() => new LatencyHistogram().quantile(0.5))).toBe('STATISTIC_UNDEFINED');
    expect(errorCode(() => histogram([-1]))).toBe('STATISTIC_UNDEFINED');
    expect(errorCode(() => histogram([Number.NaN]))).toBe('STATISTIC_UNDEFINED');
    expect(errorCode(() => histogram([1]).quantile(1))).toBe('STATISTIC_UNDEFINED');
  });
});

describe('quantileInterval', () => {
  it('needs 381 times for p99 and 3,838 for p99.9, times the design effect', () => {
    const of = (count: number): LatencyHistogram => histogram(Array<number>(count).fill(5));
    expect(errorCode(() => of(380).quantileInterval(0.99))).toBe('STATISTIC_UNDEFINED');
    expect(errorCode(() => of(3837).quantileInterval(0.999))).toBe('STATISTIC_UNDEFINED');
    expect(errorCode(() => of(760).quantileInterval(0.99, 2))).toBe('STATISTIC_UNDEFINED');
    for (const interval of [
      of(381).quantileInterval(0.99),
      of(3838).quantileInterval(0.999),
      of(761).quantileInterval(0.99, 2),
    ]) {
      expect(interval.low).toBeLessThan(5);
      expect(interval.high).toBeGreaterThanOrEqual(5);
    }
  });

  it('covers the true quantile 95 % of the time', () => {
    const random = createRandom(3);
    let covered = 0;
    for (let run = 0; run < 300; run++) {
      // Exponential times: the p90 is ln 10.
      const counted = histogram(Array.from({ length: 500 }, () => -Math.log(1 - random.uniform())));
      const { low, high } = counted.quantileInterval(0.9);
      if (low <= Math.LN10 && Math.LN10 <= high) covered++;
    }
    expect(covered / 300).toBeGreaterThan(0.92);
  });
});

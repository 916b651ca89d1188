import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LatencyHistogram } from '../../loadtest/generator/histogram-kernel.js';
import { quantile } from '../../loadtest/quantile.js';
import { must } from '../../src/core/index.js';

const micros = fc.array(fc.oneof(fc.nat(3_000), fc.nat(100_000), fc.nat(60_000_000), fc.nat(2 ** 31 - 1)), {
  minLength: 1,
  maxLength: 300,
});

function histogramOf(values: readonly number[], digits: 2 | 3 = 3): LatencyHistogram {
  const histogram = new LatencyHistogram(digits);
  for (const value of values) histogram.record(value);
  return histogram;
}

describe('LatencyHistogram', () => {
  test.each([
    [3, 1_000],
    [2, 100],
  ] as const)('has quantiles of %d digits of the exact ones, never below them', (digits, parts) => {
    fc.assert(
      fc.property(micros, fc.constantFrom(0.01, 0.5, 0.9, 0.99, 0.999, 1), (values, probability) => {
        const exact = must(quantile(Float64Array.from(values).sort(), probability), 'quantile');
        const found = must(histogramOf(values, digits).quantile(probability), 'quantile');
        expect(found).toBeGreaterThanOrEqual(exact);
        expect(found - exact).toBeLessThanOrEqual(exact / parts);
      }),
    );
  });

  test('counts what has few microseconds exactly', () => {
    const histogram = histogramOf([0, 1, 2, 2, 2_047]);
    expect([1, 2, 3, 4, 5].map((rank) => histogram.atRank(rank))).toEqual([0, 1, 2, 2, 2_047]);
    expect(histogram.atRank(0)).toBeUndefined();
    expect(histogram.atRank(6)).toBeUndefined();
  });

  test('adds up to the histogram of all values, also from plain data', () => {
    fc.assert(
      fc.property(micros, micros, (some, more) => {
        const added = LatencyHistogram.from(structuredClone(histogramOf(some).toData()));
        added.add(histogramOf(more).toData());
        const all = histogramOf([...some, ...more]);
        expect(added.toData()).toEqual(all.toData());
        expect(added.count).toBe(some.length + more.length);
      }),
      { numRuns: 10 },
    );
  });

  test('rounds fractions and keeps what is out of its range at its ends', () => {
    const histogram = histogramOf([-5, 0.6, 1e12]);
    expect([1, 2, 3].map((rank) => histogram.atRank(rank))).toEqual([0, 1, 2 ** 31 - 1]);
    expect(histogram.maxMicros).toBe(2 ** 31 - 1);
  });

  test('without values has no quantile', () => {
    expect(new LatencyHistogram().quantile(0.99)).toBeUndefined();
  });
});

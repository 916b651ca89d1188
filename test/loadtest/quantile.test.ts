import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { median, quantile } from '../../loadtest/quantile.js';

describe('quantile', () => {
  // Nearest rank: https://en.wikipedia.org/wiki/Percentile#The_nearest-rank_method, worked examples.
  test.each([
    [0.05, 15],
    [0.3, 20],
    [0.4, 20],
    [0.5, 35],
    [1, 50],
  ])('of {15, 20, 35, 40, 50} at %d is %d', (probability, expected) => {
    expect(quantile(Float64Array.of(15, 20, 35, 40, 50), probability)).toBe(expected);
  });

  test('is the smallest value that the share does not exceed', () => {
    const values = fc.array(fc.double({ noNaN: true, min: 0, max: 1e6 }), { minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(values, fc.constantFrom(0.5, 0.9, 0.99), (list, probability) => {
        const ascending = Float64Array.from(list).sort();
        const found = quantile(ascending, probability) ?? Number.NaN;
        const atMost = ascending.filter((value) => value <= found).length;
        const below = ascending.filter((value) => value < found).length;
        expect(atMost).toBeGreaterThanOrEqual(probability * list.length);
        expect(below).toBeLessThan(probability * list.length);
      }),
    );
  });

  test('of nothing is undefined', () => {
    expect(quantile(new Float64Array(), 0.5)).toBeUndefined();
  });
});

test.each([
  [[3, 1, 2], 2],
  [[10, 1, 2, 9], 5.5],
  [[undefined, 4], 4],
  [[10, 9, 100], 10],
  [[], undefined],
])('median of %j is %j', (values, expected) => {
  expect(median(values)).toBe(expected);
});

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { topByPopularity } from '../../src/retrieval/index.js';
import { bestRows } from './vectors.js';

test('the k largest that are not excluded, of equal ones the lower row', () => {
  const popularity = fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 60 });
  const excluded = fc.array(fc.nat(60));
  fc.assert(
    fc.property(popularity, excluded, fc.nat(70), (values, exclude, k) => {
      const without = new Set(exclude);
      const found = topByPopularity(values, without, k);
      const expected = bestRows(values, values.length)
        .filter((row) => !without.has(row))
        .slice(0, k);
      expect([...found.rows]).toEqual(expected);
      expect([...found.scores]).toEqual(expected.map((row) => values[row]));
    }),
    { numRuns: 500 },
  );
});

test('rows without a number are left out', () => {
  expect([...topByPopularity([1, Number.NaN, -2], new Set(), 3).rows]).toEqual([0, 2]);
});

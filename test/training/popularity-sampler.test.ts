import { describe, expect, test } from 'vitest';
import { createRandom } from '../../src/core/index.js';
import { itemCounts, PopularitySampler } from '../../src/training/popularity-sampler.js';

const COUNTS = Float32Array.of(1000, 0, 1, 3, 10, 40, 0, 200);
const ITEMS = COUNTS.length - 1;
const DRAWS = 100_000;

/** Chance of one draw: (count + 1)^0.75, normalised over items 1 and up. */
function chances(): number[] {
  const weights = Array.from(COUNTS, (count, item) => (item === 0 ? 0 : (count + 1) ** 0.75));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

describe('the popularity sampler', () => {
  test('draws items with their chances, and never the padding', () => {
    const sampler = new PopularitySampler(COUNTS, createRandom(11));
    const drawn = new Float64Array(ITEMS + 1);
    for (let draw = 0; draw < DRAWS; draw++) {
      const item = sampler.draw();
      drawn[item] = (drawn[item] ?? NaN) + 1;
    }
    expect(drawn[0]).toBe(0);
    const expected = chances().map((chance) => chance * DRAWS);
    const chiSquare = expected
      .slice(1)
      .reduce((sum, count, index) => sum + ((drawn[index + 1] ?? NaN) - count) ** 2 / count, 0);
    // 99.9 % quantile of χ² with 6 degrees of freedom (Abramowitz and Stegun, table 26.8).
    expect(chiSquare).toBeLessThan(22.46);
  });

  test('never draws the padding, whatever the generator gives', () => {
    const draw = (value: number): number =>
      new PopularitySampler(COUNTS, { ...createRandom(1), uniform: () => value }).draw();
    expect(draw(0)).toBe(1);
    expect(draw(1 - 2 ** -32)).toBe(ITEMS);
    const [, first = 0] = chances();
    expect([draw(first - 1e-9), draw(first + 1e-9)]).toEqual([1, 2]);
  });

  test('the chance of at least one draw is that of a simulation', () => {
    const sampler = new PopularitySampler(COUNTS, createRandom(12));
    const rounds = 20_000;
    const found = new Float64Array(ITEMS + 1);
    for (let round = 0; round < rounds; round++) {
      const drawn = new Set(Array.from({ length: 8 }, () => sampler.draw()));
      for (const item of drawn) found[item] = (found[item] ?? NaN) + 1;
    }
    for (let item = 1; item <= ITEMS; item++) {
      const chance = sampler.chance(item, 8);
      const share = (found[item] ?? NaN) / rounds;
      expect(Math.abs(share - chance)).toBeLessThan(5 * Math.sqrt((chance * (1 - chance)) / rounds));
    }
  });

  test('chances of one draw add up to 1 over the items', () => {
    const sampler = new PopularitySampler(COUNTS, createRandom(1));
    const ones = Array.from({ length: ITEMS }, (_, index) => sampler.chance(index + 1, 1));
    ones.forEach((chance, index) => expect(chance).toBeCloseTo(chances()[index + 1] ?? NaN, 12));
    expect(ones.reduce((sum, chance) => sum + chance, 0)).toBeCloseTo(1, 12);
  });

  test('the same seed draws the same items', () => {
    const draw = (): number[] => {
      const sampler = new PopularitySampler(COUNTS, createRandom(13));
      return Array.from({ length: 50 }, () => sampler.draw());
    };
    expect(draw()).toEqual(draw());
  });
});

test('items are counted over all sequences, the padding not', () => {
  const sequences = [
    { items: Int32Array.of(2, 3, 2) },
    { items: Int32Array.of() },
    { items: Int32Array.of(3, 1, 2) },
  ];
  expect([...itemCounts(sequences, 4)]).toEqual([0, 1, 3, 2, 0]);
});

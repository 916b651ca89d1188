import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assign, createAssigner, integerWeights, murmur3 } from '../../src/experiments/index.js';
import { errorCode } from '../support/error-code.js';

const users = Array.from({ length: 20_000 }, (_, index) => `user-${String(index)}`);
const sample = users.slice(0, 2000);
const halves = [
  { name: 'a', weight: 1 },
  { name: 'b', weight: 1 },
];

function arms(...weights: readonly number[]): { name: string; weight: number }[] {
  return weights.map((weight, index) => ({ name: `arm${String(index)}`, weight }));
}

function tally(salt: string, weighted: readonly { name: string; weight: number }[]): number[] {
  const assigner = createAssigner(salt, weighted);
  const counts = new Map(weighted.map((arm) => [arm.name, 0]));
  for (const user of users) {
    const { name } = assigner(user);
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return [...counts.values()];
}

/** χ² of the two by two table of two experiments' arms. */
function dependence(saltA: string, saltB: string): number {
  const first = createAssigner(saltA, halves);
  const second = createAssigner(saltB, halves);
  const cells = [0, 0, 0, 0];
  for (const user of sample) {
    const cell = (first(user).name === 'a' ? 0 : 2) + (second(user).name === 'a' ? 0 : 1);
    cells[cell] = (cells[cell] ?? 0) + 1;
  }
  const [aa = 0, ab = 0, ba = 0, bb = 0] = cells;
  const margins = (aa + ab) * (ba + bb) * (aa + ba) * (ab + bb);
  return (sample.length * (aa * bb - ab * ba) ** 2) / margins;
}

describe('assign', () => {
  it('takes the golden arms', () => {
    // (hash × 100) >> 32 worked by hand from the hashes 1525168267, 2447087909, 4129679300 → 35, 56, 96.
    const weighted = arms(50, 30, 20);
    expect(['u1', 'u4', 'u8'].map((user) => assign('ranker-2024', user, weighted).name)).toEqual([
      'arm0',
      'arm1',
      'arm2',
    ]);
  });

  it('follows bucket = (hash × total) >> 32 over consecutive ranges', () => {
    const property = fc.property(
      fc.string(),
      fc.string({ unit: fc.constantFrom('a', '7', '/', '\u0000', 'ü', '漢', '😀') }),
      fc.array(fc.nat({ max: 1000 }), { minLength: 1, maxLength: 5 }),
      (salt, unit, weights) => {
        fc.pre(weights.some((weight) => weight > 0));
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        const bucket = Number((BigInt(murmur3(`${salt}/${unit}`)) * BigInt(total)) / 4294967296n);
        let index = 0;
        for (let end = weights[0] ?? 0; bucket >= end; end += weights[index] ?? 0) index++;
        expect(assign(salt, unit, arms(...weights)).name).toBe(`arm${String(index)}`);
      },
    );
    fc.assert(property);
  });

  it('separates salt and unit', () => {
    expect(murmur3('a/b')).not.toBe(murmur3('ab'));
    const differ = users.filter((user) => assign('s1', user, halves) !== assign('s2', user, halves));
    expect(differ.length / users.length).toBeCloseTo(0.5, 1);
  });

  it('depends on the proportions of the weights only, fractions included', () => {
    for (const user of users.slice(0, 2000)) {
      const expected = assign('s', user, arms(34, 33, 33)).name;
      expect(assign('s', user, arms(0.34, 0.33, 0.33)).name).toBe(expected);
      expect(assign('s', user, arms(34e-9, 33e-9, 33e-9)).name).toBe(expected);
      expect(assign('s', user, arms(340e21, 330e21, 330e21)).name).toBe(expected);
    }
  });

  it.each([
    [[1, 1], 10.83],
    [[50, 30, 20], 13.82],
    [[0.5, 33.3, 2, 7], 16.27],
  ])('gives arms of weights %j their share', (weights, criticalValue) => {
    // Critical values of χ² at 0.001 with 1, 2 and 3 degrees of freedom.
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    for (const salt of ['checkout', 'ranker', 'x']) {
      const chiSquare = tally(salt, arms(...weights)).reduce((sum, count, index) => {
        const expected = (users.length * (weights[index] ?? 0)) / total;
        return sum + (count - expected) ** 2 / expected;
      }, 0);
      expect(chiSquare).toBeLessThan(criticalValue);
    }
  });

  it('never gives an arm of weight 0 anybody', () => {
    expect(tally('s', arms(0, 1, 0))).toEqual([0, users.length, 0]);
  });

  it('is independent between experiments', () => {
    const pairs = Array.from({ length: 200 }, (_, index) =>
      dependence(`a-${String(index)}`, `b-${String(index)}`),
    );
    // 3.841: χ² at 5 % with one degree of freedom, so independence passes it 10 ± 3.1 times in 200. Outside 1 to 20
    // lies 0.2 % of independent assigners; fewer than that would be arms that balance each other.
    const rejected = pairs.filter((chiSquare) => chiSquare > 3.841).length;
    expect(rejected).toBeGreaterThanOrEqual(1);
    expect(rejected).toBeLessThanOrEqual(20);
    // 0.001 over 200 pairs, Bonferroni: χ² at 0.000005.
    expect(Math.max(...pairs)).toBeLessThan(20.8);
  });

  it.each([
    [[1, 99], [5, 95], 0],
    [[99, 1], [75, 25], 1],
    [[5, 45, 50], [20, 30, 50], 0],
    [[50, 45, 5], [50, 25, 25], 2],
  ])('keeps everybody who was in when an outer arm ramps from %j to %j', (before, after, ramped) => {
    const was = createAssigner('ramp', arms(...before));
    const is = createAssigner('ramp', arms(...after));
    const name = `arm${String(ramped)}`;
    const inside = users.filter((user) => was(user).name === name);
    expect(inside.length).toBeGreaterThan(100);
    expect(inside.every((user) => is(user).name === name)).toBe(true);
  });
});

describe('integerWeights', () => {
  it('keeps proportions exactly', () => {
    expect(integerWeights(arms(0.5, 33.3, 2))).toEqual([5n, 333n, 20n]);
    expect(integerWeights(arms(1e-7, 1))).toEqual([1n, 10_000_000n]);
    expect(integerWeights(arms(1.5e21, 2))).toEqual([1_500_000_000_000_000_000_000n, 2n]);
  });

  it.each([[[-1, 2]], [[Number.NaN, 1]], [[Number.POSITIVE_INFINITY]], [[0, 0]], [[]]])(
    'refuses %j',
    (weights: number[]) => {
      expect(errorCode(() => integerWeights(arms(...weights)))).toBe('CONFIG_INVALID');
    },
  );
});

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createRandom, shuffle, type Random } from '../../src/core/index.js';

const take = (count: number, draw: () => number): number[] => Array.from({ length: count }, draw);
const uniforms = (count: number, random: Random): number[] => take(count, () => random.uniform());
const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** sfc32 once more, on BigInt: independent of the 32-bit arithmetic of the code under test. */
function referenceUniforms(seed: number, count: number): number[] {
  const word = (value: bigint): bigint => BigInt.asUintN(32, value);
  let a = word(0x9e3779b9n ^ word(BigInt(seed)));
  let b = word(0x243f6a88n ^ word(BigInt(seed) * 0x85ebca6bn));
  let c = word(0xb7e15162n ^ word(BigInt(seed) * 0xc2b2ae35n));
  let counter = 1n;
  const next = (): number => {
    const result = word(a + b + counter);
    counter = word(counter + 1n);
    a = b ^ (b >> 9n);
    b = word(c + (c << 3n));
    c = word(word((c << 21n) | (c >> 11n)) + result);
    return Number(result) / 2 ** 32;
  };
  take(16, next);
  return take(count, next);
}

describe('createRandom', () => {
  test('draws the sequence of sfc32 (PractRand 0.95, sfc.cpp) for every seed', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffffffff }), (seed) => {
        const random = createRandom(seed);
        expect(uniforms(20, random)).toEqual(referenceUniforms(seed, 20));
      }),
    );
  });

  test('keeps its first draws: recorded results depend on them', () => {
    const random = createRandom(42);
    expect(take(4, () => Math.floor(random.uniform() * 2 ** 32))).toEqual([
      4072252852, 3379312261, 3813277397, 2472795559,
    ]);
  });

  test('is uniform: 16 bins of 160,000 draws, chi-square below its 0.9999 quantile', () => {
    const random = createRandom(7);
    const bins = new Array<number>(16).fill(0);
    for (let draw = 0; draw < 160_000; draw++) {
      const bin = random.integer(16);
      bins[bin] = (bins[bin] ?? 0) + 1;
    }
    // 15 degrees of freedom; R: qchisq(0.9999, 15) = 44.26.
    expect(bins.reduce((sum, count) => sum + (count - 10_000) ** 2 / 10_000, 0)).toBeLessThan(44.26);
  });

  test('integer stays in [0, limit)', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 1_000_000 }), (seed, limit) => {
        const value = createRandom(seed).integer(limit);
        expect(Number.isInteger(value) && value >= 0 && value < limit).toBe(true);
      }),
    );
  });

  test('normal has mean 0, variance 1 and no excess kurtosis', () => {
    const random = createRandom(11);
    const values = take(100_000, () => random.normal());
    expect(Math.abs(mean(values))).toBeLessThan(0.015);
    expect(Math.abs(mean(values.map((value) => value ** 2)) - 1)).toBeLessThan(0.02);
    expect(Math.abs(mean(values.map((value) => value ** 4)) - 3)).toBeLessThan(0.15);
  });

  test('forks are repeatable, differ by label, and do not follow each other or their parent', () => {
    const draws = (label: string): number[] => uniforms(10_000, createRandom(5).fork(label));
    expect(draws('items')).toEqual(draws('items'));
    const [items, users, parent] = [draws('items'), draws('users'), uniforms(10_000, createRandom(5))];
    const correlation = (left: readonly number[], right: readonly number[]): number =>
      mean(left.map((value, index) => (value - 0.5) * ((right[index] ?? NaN) - 0.5))) * 12;
    // Standard error of a correlation of independent draws: 1 / √10,000 = 0.01.
    for (const [left, right] of [
      [items, users],
      [items, parent],
      [users, parent],
    ] as const)
      expect(Math.abs(correlation(left, right))).toBeLessThan(0.04);
  });

  test('drawing from a fork leaves its parent where it was', () => {
    const [used, unused] = [createRandom(3), createRandom(3)];
    uniforms(100, used.fork('child'));
    unused.fork('child');
    expect(uniforms(10, used)).toEqual(uniforms(10, unused));
  });
});

describe('shuffle', () => {
  test('keeps every element, works in place, and is decided by the seed', () => {
    fc.assert(
      fc.property(fc.array(fc.integer()), fc.nat(), (values, seed) => {
        const first = [...values];
        expect(shuffle(first, createRandom(seed))).toBe(first);
        expect([...first].sort((a, b) => a - b)).toEqual([...values].sort((a, b) => a - b));
        expect(shuffle([...values], createRandom(seed))).toEqual(first);
      }),
    );
  });

  test('reaches all six orders of three equally: chi-square below its 0.9999 quantile', () => {
    const random = createRandom(19);
    const counts = new Map<string, number>();
    for (let trial = 0; trial < 60_000; trial++) {
      const order = shuffle(Int32Array.of(1, 2, 3), random).join('');
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(6);
    // 5 degrees of freedom; R: qchisq(0.9999, 5) = 25.74.
    const deviations = [...counts.values()].map((count) => (count - 10_000) ** 2 / 10_000);
    expect(deviations.reduce((sum, value) => sum + value, 0)).toBeLessThan(25.74);
  });
});

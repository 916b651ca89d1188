import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  kendallTau,
  overlapAtK,
  rankBiasedOverlap,
  scoreError,
  scoreNdcgAtK,
} from '../../src/evaluation/index.js';

const invalid = expect.objectContaining({ code: 'INPUT_INVALID' }) as Error;
const undefinedHere = expect.objectContaining({ code: 'STATISTIC_UNDEFINED' }) as Error;

describe('golden vectors', () => {
  test('overlap', () => {
    expect(overlapAtK([1, 2, 3, 4], [4, 3, 9, 1], 4)).toBe(0.75);
    expect(overlapAtK([1, 2, 3, 4], [4, 3, 9, 1], 2)).toBe(0);
    expect(overlapAtK([1, 2], [2, 1, 3], 10)).toBeCloseTo(2 / 3, 12);
    expect(overlapAtK([], [], 10)).toBe(1);
  });

  test("NDCG under another model's scores", () => {
    // Scores 2, -2, 0 have the gains 1, 0, 0.5; the order 2, 0, 1 gains 0.5 + 1/log2(3), the best 1 + 0.5/log2(3).
    const value = (0.5 + 1 / Math.log2(3)) / (1 + 0.5 / Math.log2(3));
    expect(scoreNdcgAtK([2, 0, 1], [2, -2, 0], 3)).toBeCloseTo(value, 12);
    expect(scoreNdcgAtK([0, 2, 1], [2, -2, 0], 3)).toBe(1);
    expect(scoreNdcgAtK([1], [2, -2, 0], 1)).toBe(0);
    expect(scoreNdcgAtK([1, 0], [5, 5], 10)).toBe(1);
  });

  test('score error in standard deviations', () => {
    // Full 1, 2, 3, 4: population deviation √1.25; differences 1, 0, 0, 1.
    expect(scoreError([0, 2, 3, 5], [1, 2, 3, 4])).toBeCloseTo(0.5 / Math.sqrt(1.25), 12);
    expect(scoreError([7, 7], [7, 7])).toBe(0);
    expect(() => scoreError([7, 8], [7, 7])).toThrow(undefinedHere);
  });

  test('rank-biased overlap, extrapolated', () => {
    // Agreement 1, 1/2, 1 at p = 0.9: 0.9³ + (0.1/0.9)(0.9 + 0.5·0.81 + 0.729).
    expect(rankBiasedOverlap([1, 2, 3], [1, 3, 2])).toBeCloseTo(0.729 + 2.034 / 9, 12);
    expect(rankBiasedOverlap([1, 2, 3], [1, 2, 3])).toBeCloseTo(1, 12);
    expect(rankBiasedOverlap([1, 2], [3, 4])).toBe(0);
    expect(rankBiasedOverlap([], [1])).toBe(0);
    expect(rankBiasedOverlap([], [])).toBe(1);
  });

  test("Kendall's tau-b", () => {
    // The example of scipy.stats.kendalltau's documentation.
    expect(kendallTau([12, 2, 1, 12, 2], [1, 4, 7, 1, 0])).toBeCloseTo(-0.47140452079103173, 12);
    expect(kendallTau([1, 2, 3], [4, 5, 9])).toBe(1);
    expect(kendallTau([1, 2, 3], [3, 2, 1])).toBe(-1);
    expect(() => kendallTau([1, 1], [1, 2])).toThrow(undefinedHere);
  });

  test('what cannot be compared is an error', () => {
    expect(() => kendallTau([1, 2], [1])).toThrow(invalid);
    expect(() => scoreError([1, NaN], [1, 2])).toThrow(invalid);
    expect(() => scoreNdcgAtK([0], [Infinity, 1], 1)).toThrow(invalid);
    expect(() => rankBiasedOverlap([1], [1], 1)).toThrow(invalid);
  });
});

test('all are bounded and symmetric, and full marks mean the same order', () => {
  const scores = fc.uniqueArray(fc.integer({ min: -50, max: 50 }), { minLength: 2, maxLength: 20 });
  const pair = scores.chain((a) => fc.tuple(fc.constant(a), fc.shuffledSubarray(a, { minLength: a.length })));
  const order = (values: readonly number[]): number[] =>
    values.map((_, index) => index).sort((x, y) => (values[y] ?? 0) - (values[x] ?? 0));
  fc.assert(
    fc.property(pair, ([a, b]) => {
      const [orderA, orderB] = [order(a), order(b)];
      const same = orderA.every((index, place) => index === orderB[place]);
      const rbo = rankBiasedOverlap(orderA, orderB);
      expect(rbo).toBeCloseTo(rankBiasedOverlap(orderB, orderA), 12);
      expect(rbo > 1 - 1e-9).toBe(same);
      expect(kendallTau(a, b)).toBeCloseTo(kendallTau(b, a), 12);
      expect(kendallTau(a, b) === 1).toBe(same);
      expect(scoreNdcgAtK(orderB, a, a.length)).toBeLessThanOrEqual(1 + 1e-12);
      expect(overlapAtK(orderA, orderB, 5)).toBe(overlapAtK(orderB, orderA, 5));
    }),
  );
});

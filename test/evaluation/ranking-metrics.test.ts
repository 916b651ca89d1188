import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hitRateAtK, mrrAtK, ndcgAtK, recallAtK, topK } from '../../src/evaluation/index.js';

// Worked out by hand: of the items 7, 8, 9 the list has 8 at rank 2 and 7 at rank 4.
const ranked = Int32Array.of(1, 8, 2, 7, 3);
const relevant = [7, 8, 9];
const ideal3 = 1 + 1 / Math.log2(3) + 1 / 2;

describe('golden vectors', () => {
  test('recall divides by the relevant items', () => {
    expect(recallAtK(ranked, relevant, 5)).toBeCloseTo(2 / 3, 12);
    expect(recallAtK(ranked, relevant, 3)).toBeCloseTo(1 / 3, 12);
    expect(recallAtK(ranked, relevant, 1)).toBe(0);
  });

  test('hit rate and reciprocal rank look for the first', () => {
    expect([1, 2, 5].map((k) => hitRateAtK(ranked, relevant, k))).toEqual([0, 1, 1]);
    expect([1, 2, 5].map((k) => mrrAtK(ranked, relevant, k))).toEqual([0, 0.5, 0.5]);
  });

  test('NDCG with binary gains has min(k, relevant) ideal terms', () => {
    const dcg = 1 / Math.log2(3) + 1 / Math.log2(5);
    expect(ndcgAtK(ranked, relevant, 5)).toBeCloseTo(dcg / ideal3, 12);
    expect(ndcgAtK(ranked, relevant, 2)).toBeCloseTo(1 / Math.log2(3) / (1 + 1 / Math.log2(3)), 12);
    // The digits, so that the formula above is not the only witness: 1.061606… / 2.130929…
    expect(ndcgAtK(ranked, relevant, 5)).toBeCloseTo(0.498189, 6);
  });

  test('NDCG with graded gains', () => {
    // Gains 1, 3, 0 for 7, 8, 9: DCG = 3/log2(3) + 1/log2(5), ideal = 3 + 1/log2(3).
    const value = (3 / Math.log2(3) + 1 / Math.log2(5)) / (3 + 1 / Math.log2(3));
    expect(ndcgAtK(ranked, relevant, 5, [1, 3, 0])).toBeCloseTo(value, 12);
    expect(ndcgAtK([8, 7, 9], relevant, 3, [1, 3, 0])).toBe(1);
  });

  test('lists shorter than k are what they are', () => {
    expect(recallAtK([7], relevant, 10)).toBeCloseTo(1 / 3, 12);
    expect(ndcgAtK([], relevant, 10)).toBe(0);
    expect(() => recallAtK(ranked, [], 10)).toThrow(expect.objectContaining({ code: 'INTERNAL' }));
  });
});

test('topK takes the best, ties by lower index, without what is excluded', () => {
  const scores = Float32Array.of(1, 3, 2, 3, NaN, -1, 3);
  expect([...topK(scores, 3)]).toEqual([1, 3, 6]);
  expect([...topK(scores, 2)]).toEqual([1, 3]);
  expect([...topK(scores, 10, Uint8Array.of(0, 1, 0, 0, 0, 0, 0))]).toEqual([3, 6, 2, 0, 5]);
  expect([...topK(scores, 0)]).toEqual([]);
});

test('topK equals a full sort', () => {
  const score = fc.integer({ min: -3, max: 3 });
  fc.assert(
    fc.property(fc.array(score, { maxLength: 60 }), fc.nat(70), fc.nat(), (values, k, mask) => {
      const excluded = Uint8Array.from(values, (_, index) => (mask >> (index % 20)) & 1);
      const sorted = values
        .map((value, index) => ({ value, index }))
        .filter(({ index }) => excluded[index] === 0)
        .sort((a, b) => b.value - a.value || a.index - b.index);
      expect([...topK(Float32Array.from(values), k, excluded)]).toEqual(
        sorted.slice(0, k).map(({ index }) => index),
      );
    }),
  );
});

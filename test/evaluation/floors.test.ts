import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createRandom } from '../../src/core/index.js';
import { easeScorer, itemKnnScorer, popularityScorer, type Scorer } from '../../src/evaluation/index.js';
import { invertSymmetric } from '../../src/evaluation/inverse-kernel.js';

const ITEMS = 6;
const histories = fc.array(
  fc.array(fc.nat(ITEMS - 1), { maxLength: 8 }).map((items) => Int32Array.from(items)),
  { minLength: 1, maxLength: 12 },
);

function scores(scorer: Scorer, history: readonly number[], items = ITEMS): number[] {
  const out = new Float32Array(items).fill(99);
  scorer.score(Int32Array.from(history), out);
  return [...out];
}

function usersOf(data: readonly Int32Array[], item: number): Set<number> {
  return new Set(data.flatMap((history, user) => (history.includes(item) ? [user] : [])));
}

test('popularity counts users, once each', () => {
  const data = [Int32Array.of(0, 1, 1), Int32Array.of(1), Int32Array.of(1, 3)];
  expect(scores(popularityScorer(data, 4), [2], 4)).toEqual([1, 3, 0, 1]);
});

test('item-kNN equals its definition', () => {
  const history = fc.uniqueArray(fc.nat(ITEMS - 1));
  fc.assert(
    fc.property(histories, history, fc.constantFrom(1, 0.9, 0.5), (data, items, decay) => {
      const expected = Array.from({ length: ITEMS }, (_, candidate) => {
        let sum = 0;
        items.forEach((item, position) => {
          const [a, b] = [usersOf(data, item), usersOf(data, candidate)];
          const shared = [...a].filter((user) => b.has(user)).length;
          if (item !== candidate && shared > 0)
            sum += (decay ** (items.length - 1 - position) * shared) / Math.sqrt(a.size * b.size);
        });
        return sum;
      });
      const actual = scores(itemKnnScorer(data, ITEMS, { decay }), items);
      actual.forEach((score, item) => {
        expect(score).toBeCloseTo(expected[item] ?? NaN, 5);
      });
    }),
  );
});

describe('EASE', () => {
  test('has the least squared error of all models with a zero diagonal', () => {
    // Gradient of ‖X − XB‖² + λ‖B‖² with respect to B_ij, i ≠ j, is 0: Xᵀ(XB − X) + λB vanishes off the diagonal.
    fc.assert(
      fc.property(histories, fc.constantFrom(0.5, 10), (data, lambda) => {
        const scorer = easeScorer(data, ITEMS, lambda);
        const b = Array.from({ length: ITEMS }, (_, item) =>
          scores(scorer, [item]).map((value) => (value === -Infinity ? 0 : value)),
        );
        const x = data.map((history) =>
          Array.from({ length: ITEMS }, (_, item) => (history.includes(item) ? 1 : 0)),
        );
        for (let i = 0; i < ITEMS; i++)
          for (let j = 0; j < ITEMS; j++) {
            if (i === j) continue;
            const residual = x.map(
              (row) =>
                row.reduce<number>((sum, value, k) => sum + value * (b[k]?.[j] ?? 0), 0) - (row[j] ?? 0),
            );
            const gradient =
              residual.reduce((sum, value, user) => sum + value * (x[user]?.[i] ?? 0), 0) +
              lambda * (b[i]?.[j] ?? 0);
            expect(gradient).toBeCloseTo(0, 5);
          }
      }),
      { numRuns: 50 },
    );
  });

  test('is the same from either side', () => {
    const random = createRandom(5);
    const users = (count: number): Int32Array[] =>
      Array.from({ length: count }, () => Int32Array.from({ length: 5 }, () => random.integer(40)));
    // 30 users < 40 items takes the small users' side; ten empty users more take the items' side.
    const few = users(30);
    const many = [...few, ...Array.from({ length: 20 }, () => new Int32Array())];
    const dual = scores(easeScorer(few, 40, 3), [1, 2, 3], 40);
    const primal = scores(easeScorer(many, 40, 3), [1, 2, 3], 40);
    dual.forEach((score, item) => {
      if (item >= 1 && item <= 3) expect(score).toBe(-Infinity);
      else expect(score).toBeCloseTo(primal[item] ?? NaN, 5);
    });
  });

  test('needs a ridge', () => {
    expect(() => easeScorer([], 3, 0)).toThrow(expect.objectContaining({ code: 'INPUT_INVALID' }));
  });
});

test.each([1, 3, 4, 63, 64, 65, 130])('inverse of a %i × %i matrix', (size) => {
  const random = createRandom(size);
  const factors = Float64Array.from({ length: size * 5 }, () => random.normal());
  const matrix = new Float64Array(size * size);
  for (let i = 0; i < size; i++)
    for (let j = 0; j < size; j++) {
      let sum = i === j ? 2 : 0;
      for (let k = 0; k < 5; k++) sum += (factors[i * 5 + k] ?? 0) * (factors[j * 5 + k] ?? 0);
      matrix[i * size + j] = sum;
    }
  const inverse = matrix.slice();
  // The upper triangle is not read.
  for (let i = 0; i < size; i++) inverse.fill(NaN, i * size + i + 1, (i + 1) * size);
  invertSymmetric(inverse, size);
  let worst = 0;
  for (let i = 0; i < size; i++)
    for (let j = 0; j < size; j++) {
      let sum = i === j ? -1 : 0;
      for (let k = 0; k < size; k++) sum += (matrix[i * size + k] ?? 0) * (inverse[k * size + j] ?? 0);
      worst = Math.max(worst, Math.abs(sum));
    }
  expect(worst).toBeLessThan(1e-10);
});

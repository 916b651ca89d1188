import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  firstInteractions,
  holdOutAfter,
  holdOutLastBasket,
  holdOutLastItem,
  type Sequences,
  type Split,
} from '../../src/data/index.js';

function sequences(...users: readonly (readonly (readonly [item: number, basket: number])[])[]): Sequences {
  return {
    items: users.map((rows) => Int32Array.from(rows, ([item]) => item)),
    timesSeconds: users.map((rows) => Float64Array.from(rows, (_, index) => 10 * index)),
    baskets: users.map((rows) => Int32Array.from(rows, ([, basket]) => basket)),
  };
}

const lists = (arrays: readonly Int32Array[]): number[][] => arrays.map((array) => [...array]);

describe('golden cases', () => {
  const data = sequences(
    [[1, 0], [2, 0], [1, 1], [3, 1], [3, 1], [4, 1]],
    [[1, 2], [2, 3], [1, 3]],
    [[5, 4], [6, 4]],
    [[1, 5], [1, 6]],
    [],
  ); // prettier-ignore

  test('last basket: new items only, an earlier basket needed', () => {
    const split = holdOutLastBasket(data);
    expect(lists(split.targets)).toEqual([[3, 4], [2], [], [], []]);
    expect(lists(split.train.items)).toEqual([[1, 2], [1], [5, 6], [1, 1], []]);
    expect(split.train.baskets?.map((baskets) => [...baskets])).toEqual([[0, 0], [2], [4, 4], [5, 6], []]);
  });

  test('last item: users with fewer than three keep theirs', () => {
    const split = holdOutLastItem(firstInteractions(data));
    expect(lists(split.targets)).toEqual([[4], [], [], [], []]);
    expect(lists(split.train.items)).toEqual([[1, 2, 3], [1, 2], [5, 6], [1], []]);
  });

  test('time cut: everyone at once, cold users are not judged', () => {
    const split = holdOutAfter(data, 10);
    expect(lists(split.targets)).toEqual([[2, 3, 4], [2], [6], [], []]);
    expect(lists(split.train.items)).toEqual([[1], [1], [5], [1], []]);
    expect(lists(holdOutAfter(data, 0).targets)).toEqual([[], [], [], [], []]);
    expect(lists(holdOutAfter(data, 0).train.items)).toEqual([[], [], [], [], []]);
  });

  test('data without baskets has no last basket', () => {
    const { items, timesSeconds } = data;
    expect(() => holdOutLastBasket({ items, timesSeconds })).toThrow(
      expect.objectContaining({ code: 'DATASET_INVALID' }),
    );
  });
});

describe('properties', () => {
  const row = fc.tuple(fc.nat(8), fc.nat(3));
  const anySequences = fc
    .array(fc.array(row, { maxLength: 12 }), { maxLength: 6 })
    .map((users) => sequences(...users));
  const rules: Readonly<Record<string, (data: Sequences) => Split>> = {
    item: (data) => holdOutLastItem(firstInteractions(data)),
    basket: holdOutLastBasket,
    time: (data) => holdOutAfter(data, 45),
  };

  test.each(Object.entries(rules))(
    '%s: train is a beginning, targets are new, distinct and later',
    (_, rule) => {
      fc.assert(
        fc.property(anySequences, (data) => {
          const { train, targets } = rule(data);
          targets.forEach((held, user) => {
            const kept = [...(train.items[user] ?? [])];
            expect(new Set(held).size).toBe(held.length);
            expect(kept.filter((item) => held.includes(item))).toEqual([]);
            expect(train.timesSeconds[user]).toHaveLength(kept.length);
            if (held.length > 0) expect(kept.length).toBeGreaterThan(0);
            const lastKept = train.timesSeconds[user]?.at(-1) ?? -1;
            for (const target of held) {
              const first = data.items[user]?.indexOf(target) ?? -1;
              expect(data.timesSeconds[user]?.[first]).toBeGreaterThan(lastKept);
            }
          });
        }),
      );
    },
  );
});

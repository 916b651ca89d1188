import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { itemTrends, periodBoundaries, periodOf } from '../../src/training/periods.js';

const times = fc.array(fc.integer({ min: 0, max: 1000 }), { maxLength: 60 });

describe('periods', () => {
  test('the period of a time is the number of boundaries at or before it', () => {
    const ascending = fc
      .uniqueArray(fc.integer({ min: 0, max: 50 }), { maxLength: 12 })
      .map((values) => values.sort((a, b) => a - b));
    fc.assert(
      fc.property(ascending, fc.integer({ min: -1, max: 51 }), (boundaries, time) => {
        expect(periodOf(boundaries, time)).toBe(boundaries.filter((boundary) => boundary <= time).length);
      }),
    );
  });

  test('periods hold equally many interactions where no time repeats', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.integer({ min: 0, max: 1e9 }), { minLength: 1, maxLength: 200 }),
        fc.integer({ min: 1, max: 12 }),
        (distinct, wanted) => {
          const count = Math.min(wanted, distinct.length);
          const boundaries = periodBoundaries(distinct, count);
          const sizes = Array.from({ length: count }, () => 0);
          for (const time of distinct)
            sizes[periodOf(boundaries, time)] = (sizes[periodOf(boundaries, time)] ?? 0) + 1;
          expect(boundaries).toHaveLength(count - 1);
          expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
        },
      ),
    );
  });

  test('boundaries ascend without repeats, are times of the data, and do not hang on its order', () => {
    fc.assert(
      fc.property(times, fc.integer({ min: 1, max: 12 }), (all, count) => {
        const boundaries = periodBoundaries(all, count);
        expect(boundaries.length).toBeLessThan(count);
        expect(boundaries).toEqual([...new Set(boundaries)].sort((a, b) => a - b));
        expect(all).toEqual(expect.arrayContaining(boundaries));
        expect(periodBoundaries(all.toReversed(), count)).toEqual(boundaries);
      }),
    );
  });

  test('times are compared as numbers', () => {
    expect(periodBoundaries([9, 10, 100, 1000], 4)).toEqual([10, 100, 1000]);
  });
});

/** Up to four users with items 1 to 5. */
const users = fc.array(
  fc
    .array(fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 0, max: 100 })), { maxLength: 20 })
    .map((pairs) => ({
      items: Int32Array.from(pairs, ([item]) => item),
      timesSeconds: pairs.map(([, time]) => time),
    })),
  { maxLength: 4 },
);

describe('trends', () => {
  test('are log(1 + interactions in the two periods before), the period itself left out', () => {
    const boundaries = [20, 40, 60, 80];
    fc.assert(
      fc.property(users, (sequences) => {
        const trends = itemTrends(sequences, 5, boundaries);
        expect(trends).toHaveLength(6 * 5);
        for (let item = 0; item <= 5; item++) {
          for (let period = 0; period < 5; period++) {
            let count = 0;
            for (const { items, timesSeconds } of sequences)
              items.forEach((one, place) => {
                const when = Math.min(4, Math.floor((timesSeconds[place] ?? NaN) / 20));
                if (one === item && (when === period - 1 || when === period - 2)) count++;
              });
            expect(trends[item * 5 + period]).toBeCloseTo(Math.log(1 + count), 5);
          }
        }
      }),
    );
  });

  test('what happens in a period changes no trend of that period or an earlier one', () => {
    fc.assert(
      fc.property(users, fc.integer({ min: 0, max: 100 }), (sequences, time) => {
        const boundaries = [20, 40, 60, 80];
        const more = [...sequences, { items: Int32Array.of(3), timesSeconds: [time] }];
        const [before, after] = [sequences, more].map((all) => itemTrends(all, 5, boundaries));
        const period = periodOf(boundaries, time);
        for (let at = 0; at < 30; at++)
          if (at % 5 <= period || Math.floor(at / 5) !== 3) expect(after?.[at]).toBe(before?.[at]);
      }),
    );
  });
});

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createRandom } from '../../src/core/index.js';
import {
  epochWindows,
  sequenceTargets,
  type TrainingWindow,
  type UserSequence,
} from '../../src/training/windows.js';
import { itemsBeforeVisit, ownerOf, sequences } from './sequences.js';

const maxLengths = fc.integer({ min: 2, max: 12 });
const seeds = fc.integer({ min: 0, max: 1e6 });

const windowsOf = (all: readonly UserSequence[], maxLength: number, seed: number): TrainingWindow[] => [
  ...epochWindows(all, maxLength, createRandom(seed)),
];

describe('windows of an epoch', () => {
  test('every item of every sequence is a target exactly once, at its own time', () => {
    fc.assert(
      fc.property(sequences, maxLengths, seeds, (all, maxLength, seed) => {
        const found = windowsOf(all, maxLength, seed)
          .flatMap(({ targets }) => targets)
          .map(({ item, timeSeconds }) => [item, timeSeconds]);
        const expected = all.flatMap(({ items, timesSeconds }) =>
          Array.from(items, (item, place) => [item, timesSeconds[place]]),
        );
        expect(found.sort(([a = 0], [b = 0]) => a - b)).toEqual(expected);
      }),
    );
  });

  test('what a target is predicted from ends in the visit before it: never in its own, never later', () => {
    fc.assert(
      fc.property(sequences, maxLengths, seeds, (all, maxLength, seed) => {
        for (const { items, targets } of windowsOf(all, maxLength, seed)) {
          for (const { item, seen } of targets) {
            const owner = ownerOf(all, item);
            const before = itemsBeforeVisit(owner, item);
            expect(seen).toBeGreaterThanOrEqual(before.length === 0 ? 0 : 1);
            expect(seen).toBeLessThanOrEqual(items.length);
            const history = items.slice(0, seen);
            expect(before).toEqual(expect.arrayContaining(history));
            const last = history.at(-1);
            if (before.length === 0) expect(history).toEqual([]);
            // The most recent item seen is of the visit right before.
            else
              expect(itemsBeforeVisit(owner, last ?? NaN)).toEqual(
                itemsBeforeVisit(owner, before.at(-1) ?? NaN),
              );
          }
        }
      }),
    );
  });

  test('a window is an unbroken stretch of one user, shorter than maxLength, visits shuffled as sets only', () => {
    fc.assert(
      fc.property(sequences, maxLengths, seeds, (all, maxLength, seed) => {
        for (const { items } of windowsOf(all, maxLength, seed)) {
          expect(items.length).toBeGreaterThan(0);
          expect(items.length).toBeLessThan(maxLength);
          const owner = ownerOf(all, items[0] ?? NaN);
          const visitOf = (item: number): number => itemsBeforeVisit(owner, item).length;
          const visits = items.map(visitOf);
          expect(visits).toEqual(visits.toSorted((a, b) => a - b));
          expect(new Set(items).size).toBe(items.length);
          // Between its first and its last visit nothing is missing.
          const [first = 0, last = 0] = [visits[0], visits.at(-1)];
          const between = owner.items.filter((item) => visitOf(item) > first && visitOf(item) < last);
          expect(items).toEqual(expect.arrayContaining([...between]));
        }
      }),
    );
  });

  test('the same seed gives the same windows; sequences stay as they are', () => {
    fc.assert(
      fc.property(sequences, maxLengths, seeds, (all, maxLength, seed) => {
        const copy = structuredClone(all);
        expect(windowsOf(all, maxLength, seed)).toEqual(windowsOf(all, maxLength, seed));
        expect(all).toEqual(copy);
      }),
    );
  });
});

/** Three visits: 1–4, 5–8, 9–12. */
const THREE_VISITS: UserSequence = {
  items: Int32Array.from({ length: 12 }, (_, place) => place + 1),
  timesSeconds: Array.from({ length: 12 }, (_, place) => Math.floor(place / 4)),
  visits: Array.from({ length: 12 }, (_, place) => Math.floor(place / 4)),
};

describe('over many epochs', () => {
  test('a target is predicted from the end of the visit before it in five of eight, from each place inside in one of eight', () => {
    const random = createRandom(5);
    const counts = new Map<number, number>();
    const rounds = 4000;
    for (let round = 0; round < rounds; round++)
      for (const { item, seen } of sequenceTargets(THREE_VISITS, random).targets)
        if (item > 4 && item <= 8) counts.set(seen, (counts.get(seen) ?? 0) + 1);
    expect([...counts.keys()].sort()).toEqual([1, 2, 3, 4]);
    for (const [seen, count] of counts) {
      // One half from the end; the other half over the four places, the end among them.
      const share = seen === 4 ? 5 / 8 : 1 / 8;
      const total = 4 * rounds;
      expect(Math.abs(count - share * total)).toBeLessThan(5 * Math.sqrt(total * share * (1 - share)));
    }
  });

  test('each order of a visit comes up alike', () => {
    const random = createRandom(6);
    const places = new Map<string, number>();
    const rounds = 4000;
    for (let round = 0; round < rounds; round++) {
      const { items } = sequenceTargets(THREE_VISITS, random);
      items.forEach((item, place) =>
        places.set(`${item}@${place}`, (places.get(`${item}@${place}`) ?? 0) + 1),
      );
    }
    expect(places.size).toBe(3 * 4 * 4);
    for (const count of places.values())
      expect(Math.abs(count - rounds / 4)).toBeLessThan(5 * Math.sqrt((rounds * 3) / 16));
  });

  test('windows begin anywhere, so that histories of every length are seen', () => {
    const sequence: UserSequence = { items: THREE_VISITS.items, timesSeconds: THREE_VISITS.timesSeconds };
    const random = createRandom(7);
    const seenBefore = new Set<number>();
    for (let round = 0; round < 200; round++)
      for (const { targets } of epochWindows([sequence], 6, random))
        for (const { item, seen } of targets) if (item === 6) seenBefore.add(seen);
    expect([...seenBefore].sort()).toEqual([1, 2, 3, 4, 5]);
  });
});

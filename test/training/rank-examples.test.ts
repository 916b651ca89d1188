import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createRandom } from '../../src/core/index.js';
import { drawExamples } from '../../src/training/rank-examples.js';
import { itemsBeforeVisit, ownerOf, sequences } from './sequences.js';

const lengths = fc.integer({ min: 1, max: 12 });
const seeds = fc.integer({ min: 0, max: 1e6 });

describe('examples of the ranker', () => {
  test('all of them are every item that has something before it, each once', () => {
    fc.assert(
      fc.property(sequences, lengths, seeds, (all, maxLength, seed) => {
        const examples = drawExamples(all, maxLength, 1e6, createRandom(seed));
        const expected = all.flatMap((sequence) =>
          [...sequence.items].filter((item) => itemsBeforeVisit(sequence, item).length > 0),
        );
        expect(examples.map(({ item }) => item).sort((a, b) => a - b)).toEqual(expected);
      }),
    );
  });

  test('the history is at most maxLength of what the user had before the visit, most recent last', () => {
    fc.assert(
      fc.property(sequences, lengths, seeds, (all, maxLength, seed) => {
        for (const { history, item, timeSeconds, owned } of drawExamples(
          all,
          maxLength,
          1e6,
          createRandom(seed),
        )) {
          const owner = ownerOf(all, item);
          const before = itemsBeforeVisit(owner, item);
          expect(history.length).toBeGreaterThan(0);
          expect(history.length).toBeLessThanOrEqual(maxLength);
          expect(before).toEqual(expect.arrayContaining([...history]));
          const visits = Array.from(history, (one) => itemsBeforeVisit(owner, one).length);
          expect(visits).toEqual(visits.toSorted((a, b) => a - b));
          expect(visits.at(-1)).toBe(itemsBeforeVisit(owner, before.at(-1) ?? NaN).length);
          expect(timeSeconds).toBe(owner.timesSeconds[owner.items.indexOf(item)]);
          expect(owned).toEqual(new Set(owner.items));
        }
      }),
    );
  });

  test('fewer are drawn without replacement, the same for the same seed', () => {
    fc.assert(
      fc.property(sequences, seeds, fc.integer({ min: 0, max: 20 }), (all, seed, count) => {
        const every = drawExamples(all, 5, 1e6, createRandom(seed));
        const some = drawExamples(all, 5, count, createRandom(seed));
        expect(some).toHaveLength(Math.min(count, every.length));
        expect(new Set(some.map(({ item }) => item)).size).toBe(some.length);
        expect(drawExamples(all, 5, count, createRandom(seed))).toEqual(some);
      }),
    );
  });

  test('each example is drawn as often as the others', () => {
    const sequence = {
      items: Int32Array.from({ length: 11 }, (_, index) => index + 1),
      timesSeconds: new Float64Array(11),
    };
    const random = createRandom(21);
    const counts = new Float64Array(12);
    const rounds = 5000;
    for (let round = 0; round < rounds; round++)
      for (const { item } of drawExamples([sequence], 5, 3, random)) counts[item] = (counts[item] ?? NaN) + 1;
    for (let item = 2; item <= 11; item++)
      expect(Math.abs((counts[item] ?? NaN) - 0.3 * rounds)).toBeLessThan(5 * Math.sqrt(rounds * 0.3 * 0.7));
    expect(counts[1]).toBe(0);
  });
});

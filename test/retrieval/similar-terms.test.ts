import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { editDistance } from '../../src/retrieval/edit-distance-kernel.js';
import { editsAllowed, SimilarTerms } from '../../src/retrieval/similar-terms.js';

/** The recursive definition of the optimal string alignment distance. */
function definedDistance(a: string, b: string): number {
  if (a === '' || b === '') return a.length + b.length;
  const [restA, restB] = [a.slice(0, -1), b.slice(0, -1)];
  const options = [
    definedDistance(restA, b) + 1,
    definedDistance(a, restB) + 1,
    definedDistance(restA, restB) + (a.at(-1) === b.at(-1) ? 0 : 1),
  ];
  if (a.length > 1 && b.length > 1 && a.at(-1) === b.at(-2) && a.at(-2) === b.at(-1))
    options.push(definedDistance(a.slice(0, -2), b.slice(0, -2)) + 1);
  return Math.min(...options);
}

describe('edit distance', () => {
  test.each([
    ['kitten', 'sitting', 3],
    ['lamp', 'lmap', 1],
    ['ca', 'abc', 3],
    ['', 'ab', 2],
    ['shoe', 'shoe', 0],
  ])('%s and %s: %i', (a, b, distance) => {
    expect(editDistance(a, b, 5)).toBe(distance);
    expect(editDistance(b, a, 5)).toBe(distance);
  });

  test('is as defined up to the limit, and limit + 1 above', () => {
    const word = fc.stringMatching(/^[abc]{0,6}$/);
    fc.assert(
      fc.property(word, word, fc.integer({ min: 0, max: 3 }), (a, b, limit) => {
        expect(editDistance(a, b, limit)).toBe(Math.min(definedDistance(a, b), limit + 1));
      }),
      { numRuns: 200 },
    );
  });
});

describe('similar terms', () => {
  test('finds exactly the nearest terms within the edits that the length allows', () => {
    const word = fc.stringMatching(/^[abcd]{3,10}$/);
    fc.assert(
      fc.property(fc.uniqueArray(word, { maxLength: 60 }), word, (terms, asked) => {
        const all = terms.map((term, id) => ({ term: id, distance: editDistance(asked, term, 9) }));
        const least = Math.min(...all.map(({ distance }) => distance));
        const expected = all.filter(({ distance }) => distance === least && distance <= editsAllowed(asked));
        const similar = new SimilarTerms(terms);
        const allowed = editsAllowed(asked) > 0 ? expected : [];
        expect(similar.nearest(asked)).toEqual(allowed);
        expect(similar.nearest(asked)).toEqual(allowed);
      }),
      { numRuns: 500 },
    );
  });

  test('short words and words with digits have none', () => {
    const similar = new SimilarTerms(['cat', 'model2015', 'xm5a', 'lamp']);
    expect(similar.nearest('cot')).toEqual([]);
    expect(similar.nearest('model2016')).toEqual([]);
    expect(similar.nearest('xmfa')).toEqual([]);
    expect(similar.nearest('lmap')).toEqual([{ term: 3, distance: 1 }]);
    expect(similar.nearest('x'.repeat(100_000))).toEqual([]);
  });
});

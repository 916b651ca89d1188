import fc from 'fast-check';
import { expect, test } from 'vitest';
import { termOf, wordsOf } from '../../src/retrieval/text-analysis.js';

test.each([
  ['Red SHOES, size 42!', ['red', 'shoes', 'size', '42']],
  ['Ｃａｆé crème', ['cafe', 'creme']],
  ["L’Oréal men's", ['loreal', 'mens']],
  ['ﬁne ½ m²', ['fine', '1', '2', 'm2']],
  ['İstanbul ŁÓDŹ', ['istanbul', 'łodz']],
  ['t-shirt_x', ['t', 'shirt', 'x']],
  ['한국어 हिन्दी', ['한국어', 'हिन्दी']],
  [' … \n', []],
])('words of %j', (text, words) => {
  expect(wordsOf(text)).toEqual(words);
});

test('composed and decomposed text, and upper and lower case, have the same words', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      expect(wordsOf(text.normalize('NFD'))).toEqual(wordsOf(text.normalize('NFC')));
      expect(wordsOf(wordsOf(text).join(' '))).toEqual(wordsOf(text));
    }),
    { numRuns: 500 },
  );
});

test('english leaves out stop words and stems; none keeps words as they are', () => {
  expect(termOf('the', 'english')).toBeUndefined();
  expect(termOf('shoes', 'english')).toBe('shoe');
  expect(termOf('the', 'none')).toBe('the');
  expect(termOf('shoes', 'none')).toBe('shoes');
});

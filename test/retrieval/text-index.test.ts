import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { sha256 } from '../../src/core/index.js';
import {
  buildTextIndex,
  decodeTextIndex,
  encodeTextIndex,
  openTextIndex,
} from '../../src/retrieval/index.js';
import type { TextIndexOptions } from '../../src/retrieval/index.js';
import { errorCode } from '../support/error-code.js';
import { sharedData } from '../support/shared-data.js';

const OPTIONS: TextIndexOptions = {
  fields: [
    { name: 'title', weight: 3 },
    { name: 'text', weight: 1 },
  ],
  language: 'english',
};

const text = fc.array(fc.constantFrom('red', 'blue', 'shoe', 'lamp', 'desk', 'sofa'), { maxLength: 8 });
const documents = fc.array(fc.tuple(text, text), { maxLength: 25 });
const tuning = fc.record({
  // In tenths: below a millionth, scores that differ would be one in the float32 that is answered.
  k1: fc.integer({ min: 0, max: 30 }).map((tenths) => tenths / 10),
  b: fc.integer({ min: 0, max: 10 }).map((tenths) => tenths / 10),
});

/** BM25 over weighted fields, straight from the formula. */
function naiveScores(
  texts: readonly (readonly [readonly string[], readonly string[]])[],
  query: readonly string[],
  k1: number,
  b: number,
): number[] {
  const frequency = ([title, body]: (typeof texts)[number], word: string): number =>
    3 * title.filter((other) => other === word).length + body.filter((other) => other === word).length;
  const lengths = texts.map(([title, body]) => 3 * title.length + body.length);
  const mean = lengths.reduce((sum, length) => sum + length, 0) / texts.length;
  return texts.map((document, row) => {
    let score = 0;
    for (const word of new Set(query)) {
      const having = texts.filter((other) => frequency(other, word) > 0).length;
      const f = frequency(document, word);
      if (f === 0) continue;
      const idf = Math.log(1 + (texts.length - having + 0.5) / (having + 0.5));
      score += (idf * f * (k1 + 1)) / (f + k1 * (1 - b + (b * (lengths[row] ?? 0)) / mean));
    }
    return score;
  });
}

describe('text index', () => {
  test('finds what a naive BM25 finds, in its order', () => {
    fc.assert(
      fc.property(documents, text, fc.integer({ min: 1, max: 30 }), tuning, (texts, query, k, { k1, b }) => {
        const joined = texts.map(([title, body]) => [title.join(' '), body.join(', ')]);
        const index = openTextIndex(buildTextIndex(joined, { ...OPTIONS, language: 'none', k1, b }));
        const known = query.filter((word) =>
          texts.some(([title, body]) => [...title, ...body].includes(word)),
        );
        const scores = naiveScores(texts, known, k1, b);
        const found = index.search(known.join(' '), k);
        const matching = scores.filter((score) => score > 0).sort((x, y) => y - x);
        expect(found.rows).toHaveLength(Math.min(k, matching.length));
        found.rows.forEach((row, place) => {
          expect(scores[row]).toBeCloseTo(matching[place] ?? Number.NaN, 4);
          expect(found.scores[place]).toBeCloseTo(scores[row] ?? Number.NaN, 4);
          if (found.scores[place] === found.scores[place - 1])
            expect(row).toBeGreaterThan(found.rows[place - 1] ?? -1);
        });
      }),
      { numRuns: 300 },
    );
  });

  test('the order, the case and the repetition of words do not matter', () => {
    const index = openTextIndex(
      buildTextIndex(
        [
          ['red shoe', 'for running'],
          ['Running lamps', 'red'],
        ],
        OPTIONS,
      ),
    );
    const expected = index.search('red running shoe', 5);
    expect(expected.rows).toHaveLength(2);
    expect(index.search('Shoes RUNNING red red', 5)).toEqual(expected);
  });

  test('only a word that no document has is replaced by the nearest terms, at a discount', () => {
    const index = openTextIndex(
      buildTextIndex(
        [
          ['wireless headphones', ''],
          ['headset', ''],
          ['lamp 2015', ''],
          ['lump', ''],
        ],
        OPTIONS,
      ),
    );
    const meant = index.search('headphones', 5);
    const misspelt = index.search('haedphones', 5);
    expect([...misspelt.rows]).toEqual([0]);
    expect(misspelt.scores[0]).toBeLessThan(meant.scores[0] ?? 0);
    expect([...index.search('lamp', 5).rows]).toEqual([2]);
    expect([...index.search('lomp', 5).rows]).toEqual([3, 2]);
    expect(index.search('2016', 5).rows).toHaveLength(0);
    expect(index.search('xylophone', 5).rows).toHaveLength(0);
  });

  test('many unknown words cost little and change nothing', () => {
    const index = openTextIndex(buildTextIndex([['red shoe', '']], OPTIONS));
    const query = Array.from(
      { length: 5000 },
      (_, at) => `zz${'qwertyuiop'.slice(at % 9)}${'ab'.repeat(at % 5)}`,
    );
    expect([...index.search(`${query.join(' ')} shoe`, 5).rows]).toEqual([0]);
  });

  test('nothing to find in an empty index, for an empty query, or for stop words', () => {
    expect(openTextIndex(buildTextIndex([], OPTIONS)).search('red', 3).rows).toHaveLength(0);
    const index = openTextIndex(
      buildTextIndex(
        [
          ['', ''],
          ['the red shoe', ''],
        ],
        OPTIONS,
      ),
    );
    for (const query of ['', '  ', 'the', '!?']) expect(index.search(query, 3).rows).toHaveLength(0);
    expect([...index.search('constructor red __proto__', 3).rows]).toEqual([1]);
  });

  test('refuses options out of range, a document with too few texts, and k below 1', () => {
    const build = (options: Partial<TextIndexOptions>) => () =>
      buildTextIndex([], { ...OPTIONS, ...options });
    for (const options of [
      { fields: [] },
      { fields: [{ name: 'title', weight: 0 }] },
      { k1: -1 },
      { b: 1.1 },
      { b: Number.NaN },
    ])
      expect(errorCode(build(options))).toBe('INPUT_INVALID');
    expect(errorCode(() => buildTextIndex([['only a title']], OPTIONS))).toBe('INPUT_INVALID');
    const index = openTextIndex(buildTextIndex([['red', '']], OPTIONS));
    for (const k of [0, 1.5, Number.NaN])
      expect(errorCode(() => index.search('red', k))).toBe('INPUT_INVALID');
  });
});

describe('text index file', () => {
  test('decodes to what was encoded, and equal documents give equal bytes', () => {
    const unicode = fc.array(fc.tuple(fc.string({ unit: 'grapheme' }), fc.string()), { maxLength: 300 });
    fc.assert(
      fc.property(unicode, (texts) => {
        const data = buildTextIndex(texts, OPTIONS);
        const bytes = encodeTextIndex(data);
        expect(decodeTextIndex(bytes)).toEqual(data);
        expect(encodeTextIndex(buildTextIndex(texts, OPTIONS))).toEqual(bytes);
      }),
    );
  });

  test('keeps numbers that need many bytes', () => {
    const texts = Array.from({ length: 20_000 }, (_, row) => [
      row === 19_999 ? 'lamp '.repeat(40_000) : '',
      '',
    ]);
    const data = buildTextIndex(texts, OPTIONS);
    expect([data.postingRows[0], data.frequencies[0]]).toEqual([19_999, 40_000]);
    expect(decodeTextIndex(encodeTextIndex(data))).toEqual(data);
  });

  test('the format of version 1 stays as it is', () => {
    const texts = [
      ['red shoes', 'for running'],
      ['Café table', 'red or blue, red'],
    ];
    expect(sha256(encodeTextIndex(buildTextIndex(texts, OPTIONS)))).toBe(
      'fa1f050186be045b6ac00774b47a320ba56c0ef35977a73b7a7f3e2bcf77f4af',
    );
  });

  test('every truncation and every changed byte is refused', () => {
    const bytes = encodeTextIndex(
      buildTextIndex(
        [
          ['red shoes', 'for running'],
          ['lamp', 'red'],
        ],
        OPTIONS,
      ),
    );
    for (let at = 0; at < bytes.length; at++) {
      expect(errorCode(() => decodeTextIndex(bytes.subarray(0, at)))).toBe('FILE_CORRUPT');
      const changed = Uint8Array.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8));
      expect(errorCode(() => decodeTextIndex(changed))).toBe('FILE_CORRUPT');
    }
  });
});

const scifact = sharedData('scifact');

describe.skipIf(scifact === undefined)('scifact', () => {
  const lines = (name: string): string[] => {
    const bytes = readFileSync(`${scifact ?? ''}/${name}`);
    return (name.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8').trim().split('\n');
  };

  test('NDCG@10 over the 300 test queries is 0.69 or more (plain BM25: 0.668)', () => {
    const corpus = lines('corpus.jsonl.gz').map(
      (line) => JSON.parse(line) as { _id: string; title: string; text: string },
    );
    const index = openTextIndex(
      buildTextIndex(
        corpus.map(({ title, text }) => [title, text]),
        OPTIONS,
      ),
    );
    const judged = new Map<string, Set<string>>();
    for (const line of lines('qrels.validation.tsv')) {
      const [query = '', document = ''] = line.split('\t');
      judged.set(query, (judged.get(query) ?? new Set()).add(document));
    }
    const discount = (place: number): number => 1 / Math.log2(place + 2);
    let total = 0;
    for (const line of lines('queries.validation.tsv')) {
      const [id = '', query = ''] = line.split('\t');
      const relevant = judged.get(id) ?? new Set();
      const ideal = Array.from({ length: Math.min(10, relevant.size) }, (_, place) => discount(place));
      const gains = [...index.search(query, 10).rows].map((row, place) =>
        relevant.has(corpus[row]?._id ?? '') ? discount(place) : 0,
      );
      const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
      total += sum(gains) / sum(ideal);
    }
    expect(judged.size).toBe(300);
    expect(total / 300).toBeGreaterThanOrEqual(0.69);
  });
});

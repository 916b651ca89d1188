import { expect, test } from 'vitest';
import { AnswerCache } from '../../src/serving/answer-cache.js';

const ranked = {
  rows: [1],
  scores: [0.5],
  source: 'given',
  variant: 'full',
  retrieveMs: 1,
  rankMs: 1,
  queueMs: 0,
} as const;

test('a key changes with the bundle, the endpoint, the pipeline and the input', () => {
  const one = new AnswerCache({ maxEntries: 2, ttlMs: 1_000 }, 'v1');
  const other = new AnswerCache({ maxEntries: 2, ttlMs: 1_000 }, 'v2');
  const input = { k: 3, history: [1, 2] };
  const keys = [
    one.key('recommend', 'full', input),
    other.key('recommend', 'full', input),
    one.key('search', 'full', input),
    one.key('recommend', 'small', input),
    one.key('recommend', 'full', { ...input, history: [2, 1] }),
  ];
  expect(new Set(keys).size).toBe(keys.length);
  expect(one.key('recommend', 'full', { ...input })).toBe(keys[0]);
});

test('it holds so many answers, the least used goes first, and none of their tensors', () => {
  const cache = new AnswerCache({ maxEntries: 2, ttlMs: 60_000 }, 'v1');
  const job = { inputs: {}, rows: 1 };
  const ranking = { variant: 'full', rows: Int32Array.of(0), job, scores: Float32Array.of(1) };
  cache.set('a', { ...ranked, ranking });
  cache.set('b', ranked);
  expect(cache.get('a')).toEqual(ranked);
  cache.set('c', ranked);
  expect([cache.get('a'), cache.get('b'), cache.get('c')]).toEqual([ranked, undefined, ranked]);
});

test('0 entries is no cache', () => {
  const cache = new AnswerCache({ maxEntries: 0, ttlMs: 60_000 }, 'v1');
  cache.set('a', ranked);
  expect(cache.get('a')).toBeUndefined();
});

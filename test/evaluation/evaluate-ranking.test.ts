import { expect, test } from 'vitest';
import type { Split } from '../../src/data/index.js';
import {
  formatInterval,
  markdownTable,
  measureRelevance,
  RELEVANCE_METRICS,
  rankUnseen,
  retention,
  summariseRelevance,
} from '../../src/evaluation/index.js';

const targets = [Int32Array.of(5), new Int32Array(), Int32Array.of(6), Int32Array.of(7), Int32Array.of(8)];
// Hits at rank 1, –, 2, none, 4.
const full = [[5, 1], [], [1, 6], [1, 2], [1, 2, 3, 8]];
// Hits at rank 2, –, 2, none, none.
const variant = [[1, 5], [], [1, 6], [1, 2], [1, 2, 3, 4]];

test('rows hold means over judged users with a t interval', () => {
  const rows = summariseRelevance(measureRelevance(full, targets));
  expect(rows.map(({ metric }) => metric)).toEqual(RELEVANCE_METRICS);
  expect(rows.map(({ users }) => users)).toEqual([4, 4, 4, 4, 4]);
  const hits = rows.find(({ metric }) => metric === 'HR@10')?.interval;
  // 1, 1, 0, 1: mean 0.75, standard error 0.25, t(0.975, 3) = 3.182446.
  expect(hits?.mean).toBe(0.75);
  expect(hits?.low).toBeCloseTo(0.75 - 3.182446 * 0.25, 6);
  expect(hits?.high).toBeCloseTo(0.75 + 3.182446 * 0.25, 6);
  const ranks = rows.find(({ metric }) => metric === 'MRR@10')?.interval;
  expect(ranks?.mean).toBeCloseTo((1 + 1 / 2 + 0 + 1 / 4) / 4, 12);
});

test('retention is the ratio of means with a paired interval by the delta method', () => {
  const [a, b] = [measureRelevance(variant, targets), measureRelevance(full, targets)];
  // Reciprocal ranks: variant ½, ½, 0, 0; full 1, ½, 0, ¼. R = 1 / 1.75; residuals S − R·N by hand.
  const ratio = 1 / 1.75;
  const residuals = [0.5 - ratio, 0.5 - ratio / 2, 0, -ratio / 4];
  const variance = residuals.reduce((sum, value) => sum + value ** 2, 0) / 3;
  const standardError = Math.sqrt(variance / 4) / (1.75 / 4);
  const { mean, low, high } = retention(a, b, 'MRR@10');
  expect(mean).toBeCloseTo(ratio, 12);
  expect(low).toBeCloseTo(ratio - 3.182446 * standardError, 5);
  expect(high).toBeCloseTo(ratio + 3.182446 * standardError, 5);
});

test('equal rankings retain everything, and claim no interval', () => {
  const relevance = measureRelevance(full, targets);
  expect(retention(relevance, relevance, 'NDCG@10')).toEqual({ mean: 1 });
});

test('what cannot be measured is an error', () => {
  expect(() => measureRelevance([[1]], [new Int32Array()])).toThrow(
    expect.objectContaining({ code: 'STATISTIC_UNDEFINED' }),
  );
  const relevance = measureRelevance(full, targets);
  const others = measureRelevance(full, [...targets.slice(0, 4), new Int32Array()]);
  expect(() => retention(relevance, others, 'HR@10')).toThrow(
    expect.objectContaining({ code: 'INPUT_INVALID' }),
  );
});

test('rankUnseen leaves out what the user has had, and users who are not judged', () => {
  const split: Split = {
    train: {
      items: [Int32Array.of(3, 1), Int32Array.of(0), Int32Array.of(2)],
      timesSeconds: [Float64Array.of(1, 2), Float64Array.of(1), Float64Array.of(1)],
    },
    targets: [Int32Array.of(0), new Int32Array(), Int32Array.of(3)],
  };
  const scorer = {
    score: (history: Int32Array, out: Float32Array) => {
      out.set([1, 2, 3, history[0] ?? 0]);
    },
  };
  expect(rankUnseen(scorer, split, 4, 3).map((ranked) => [...ranked])).toEqual([[2, 0], [], [1, 3, 0]]);
});

test('tables line up and escape what would break them', () => {
  const rows = [
    { name: 'a|b', value: 0.5 },
    { name: 'two\nlines', value: 12 },
  ];
  const table = markdownTable(
    [
      { header: 'name', cell: ({ name }: { name: string }) => name },
      { header: 'value', cell: ({ value }: { value: number }) => value },
    ],
    rows,
  );
  expect(table).toBe(
    [
      '| name      | value |',
      '| --------- | ----: |',
      '| a\\|b      |   0.5 |',
      '| two lines |    12 |',
      '',
    ].join('\n'),
  );
  expect(formatInterval({ mean: 0.0842, low: 0.06, high: 0.1 })).toBe('0.084 [0.060, 0.100]');
  expect(formatInterval({ mean: 1 }, 2)).toBe('1.00');
});

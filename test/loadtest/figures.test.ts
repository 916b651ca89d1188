import { describe, expect, test } from 'vitest';
import { LatencyHistogram, type HistogramData } from '../../loadtest/generator/histogram-kernel.js';
import type { GroupResult, SecondResult } from '../../loadtest/generator/plan.js';
import { figuresOf, quantileRanks, voidReason } from '../../loadtest/open-loop/figures.js';
import { holdsObjective } from '../../loadtest/open-loop/find-rate.js';
import { classesOf } from '../../loadtest/open-loop/hot-client.js';
import { recoverySeconds } from '../../loadtest/open-loop/overload.js';

const histogram = (micros: readonly number[]): HistogramData => {
  const made = new LatencyHistogram();
  for (const value of micros) made.record(value);
  return made.toData();
};

/** `ok` answers of 1 ms, 2 ms, …, sent with `lagMicros`. */
const group = (ok: number, lagMicros: number, changes: Partial<GroupResult> = {}): GroupResult => ({
  segment: 0,
  class: 'all',
  scheduled: ok,
  statuses: { 200: ok },
  ok,
  okWithinLimit: ok / 2,
  refused: 0,
  refusedWithRetryAfter: 0,
  timeouts: 0,
  connectionErrors: 0,
  late: 0,
  latency: histogram(Array.from({ length: ok }, (_, place) => 1000 * (place + 1))),
  refusalLatency: histogram([]),
  lag: histogram(Array.from({ length: ok }, () => lagMicros)),
  ...changes,
});

describe('figuresOf', () => {
  test('adds groups up and has quantiles of all answers', () => {
    const refusing = group(100, 100, {
      scheduled: 130,
      statuses: { 200: 100, 503: 20, 504: 6 },
      refused: 20,
      refusedWithRetryAfter: 15,
      refusalLatency: histogram([500]),
      timeouts: 4,
      late: 3,
    });
    const figures = figuresOf([group(100, 100), refusing], 10, 0);
    expect(figures).toMatchObject({
      scheduled: 230,
      offeredPerSecond: 23,
      ok: 200,
      okPerSecond: 20,
      goodputPerSecond: 10,
      statuses: { 200: 200, 503: 20, 504: 6 },
      refused: 20,
      refusedWithRetryAfter: 15,
      refusedP99Ms: 0.5,
      failed: 10,
      timeouts: 4,
      late: 3,
      maxMs: 100,
    });
    // Each of 1 to 100 ms twice: half are at most 50 ms; three digits are kept.
    expect(figures.p50Ms).toBeCloseTo(50, 1);
    expect(figures.p99Ms).toBeCloseTo(99, 0);
    // Ranks 195 and 202 of 200: there is no upper one.
    expect(figures.p99LowMs).toBeCloseTo(98, 0);
    expect(figures).not.toHaveProperty('p99HighMs');
  });

  test('without answers has no quantiles', () => {
    expect(figuresOf([group(0, 0, { scheduled: 5 })], 1, 0)).not.toHaveProperty('p99Ms');
  });
});

// Exact binomial: P(X <= 965) = 2.2e-14 … the interval of the 0.99 quantile of 1000 values, ranks 984 to 997, covers
// P(984 <= X < 997) = 0.956 of B(1000, 0.99).
test('ranks of the interval of a quantile', () => {
  expect(quantileRanks(1_000, 0.99)).toEqual({ low: 983, high: 998 });
  expect(quantileRanks(10, 0.99)).toEqual({ low: 9, high: 12 });
});

describe('voidReason', () => {
  // p99 of 1 to 100 ms is 99 ms: a lag of 9.8 ms is within a tenth, one of 10 ms is not.
  test('is the lag over a tenth of the p99', () => {
    expect(voidReason(figuresOf([group(100, 9_800)], 1, 0))).toBeUndefined();
    expect(voidReason(figuresOf([group(100, 10_000)], 1, 0))).toContain('10.00 ms at p99, over 10 %');
  });

  test('is a request that the generator could not send', () => {
    expect(voidReason(figuresOf([group(100, 0)], 1, 1))).toContain('no connection left for 1 requests');
  });
});

test('an objective holds with p99 within it and at most 0.1 % failed', () => {
  const figures = figuresOf([group(100, 0)], 1, 0);
  expect(holdsObjective(figures, 99.2)).toBe(true);
  expect(holdsObjective(figures, 98)).toBe(false);
  const thousand = group(1_000, 0, { latency: histogram(Array.from({ length: 1_000 }, () => 500)) });
  expect(holdsObjective(figuresOf([{ ...thousand, scheduled: 1_001 }], 1, 0), 1)).toBe(true);
  expect(holdsObjective(figuresOf([{ ...thousand, scheduled: 1_002 }], 1, 0), 1)).toBe(false);
  expect(holdsObjective(figuresOf([group(0, 0, { scheduled: 5 })], 1, 0), 100)).toBe(false);
});

test('recovery is the end of the first second that is well', () => {
  const second = (p99Ms: number, ok = 100): SecondResult => ({
    scheduled: 100,
    ok,
    okWithinLimit: ok,
    refused: 100 - ok,
    failed: 0,
    p50Micros: 1,
    p99Micros: p99Ms * 1000,
  });
  const silent: SecondResult = { scheduled: 100, ok: 0, okWithinLimit: 0, refused: 0, failed: 100 };
  expect(recoverySeconds([silent, second(30), second(10, 98), second(20), second(1)], 20)).toBe(4);
  expect(recoverySeconds([second(20)], 20)).toBe(1);
  expect(recoverySeconds([second(21), silent], 20)).toBeUndefined();
});

test('clients share what the hot one leaves, and each names itself', () => {
  const classes = classesOf('x-client-id', 4, 0.6);
  expect(classes.map(({ headers }) => headers['x-client-id'])).toEqual([
    'client-1',
    'client-2',
    'client-3',
    'client-4',
    'hot',
  ]);
  for (const [place, weight] of [0.1, 0.1, 0.1, 0.1, 0.6].entries())
    expect(classes[place]?.weight).toBeCloseTo(weight, 12);
  expect(classesOf('x-client-id', 4, 0).map(({ name }) => name)).not.toContain('hot');
});

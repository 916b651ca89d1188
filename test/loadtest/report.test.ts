import { describe, expect, test } from 'vitest';
import { measurementOf, type Measurement } from '../../loadtest/measurement.js';
import type { Phase } from '../../loadtest/phases.js';
import { formatMarkdown, totalErrors, type Report } from '../../loadtest/report.js';
import type { ServerWork } from '../../loadtest/server-counters.js';
import { summarise, type VariantFacts } from '../../loadtest/summary.js';

const work = (answersByVariant: Record<string, number>, changes: Partial<ServerWork> = {}): ServerWork => ({
  cpuSeconds: 0.1,
  cpuSecondsByProcess: { gateway: 0.1 },
  answers: 100,
  cached: 0,
  answersByPipeline: {},
  answersByVariant,
  failuresByCode: {},
  ...changes,
});

/** A phase of 2 s whose latencies are 1 ms to `answers` ms. */
function measured(
  phase: Phase,
  answers: number,
  server: ServerWork,
  failed: Record<string, number> = {},
): Measurement {
  const latenciesMs = Float64Array.from({ length: answers }, (_, place) => place + 1);
  const driven = {
    seconds: 2,
    latenciesMs,
    statuses: { 200: answers, ...failed },
    timeouts: 0,
    connectionErrors: 0,
  };
  return measurementOf(phase, driven, server);
}

const variants: VariantFacts[] = [
  {
    name: 'full',
    fileBytes: 1_234_567,
    sharedWeightBytes: 2_000,
    runner: { privateBytes: 60_000_000 },
    fidelity: { count: 0 },
  },
  {
    name: 'int8',
    fileBytes: 999,
    sharedWeightBytes: 2_000,
    runner: {},
    fidelity: { count: 12, overlapAt10: { mean: 0.95, low: 0.9, high: 1 } },
  },
];

const measurements = [
  measured({ kind: 'warm-up', pipeline: 'full', round: 0 }, 1_000, work({ full: 1_000 }), { 504: 2 }),
  measured({ kind: 'alone', pipeline: 'full', round: 1 }, 100, work({ full: 90, none: 10 })),
  measured({ kind: 'alone', pipeline: 'quick', round: 1 }, 400, work({ int8: 100 })),
  measured({ kind: 'alone', pipeline: 'full', round: 2 }, 300, work({ full: 300 }, { answers: 50 })),
  measured({ kind: 'alone', pipeline: 'full', round: 3 }, 200, work({ full: 200 }, { answers: 200 })),
  measured(
    { kind: 'mixture', round: 1 },
    10,
    work({ full: 5 }, { cached: 3, answersByPipeline: { full: 6, quick: 2 } }),
    {
      503: 4,
    },
  ),
];
const report: Report = {
  conditions: {
    command: 'npm run loadtest',
    date: '2020-01-01T00:00:00.000Z',
    cpu: 'A CPU',
    cores: 2,
    node: 'v20',
    loadAverage: 0.5,
    target: 'server started on models/demo',
    endpoint: 'recommend',
    connections: 16,
    secondsPerPhase: 2,
    rounds: 3,
    warmUpSeconds: 2,
    bodies: 40,
    users: 40,
    queries: 0,
    seed: 1,
    shadowShare: 0.02,
  },
  rows: summarise(['full', 'quick', 'bare'], measurements, variants),
  measurements,
};

describe('measurementOf', () => {
  test('counts only 2xx as answers', () => {
    const one = measured({ kind: 'alone', pipeline: 'full', round: 1 }, 100, work({}, { answers: 50 }), {
      503: 7,
    });
    expect(one).toMatchObject({
      answers: 100,
      requestsPerSecond: 50,
      p50Ms: 50,
      p90Ms: 90,
      p99Ms: 99,
      cpuMicrosPerRequest: 2_000,
      non2xx: 7,
    });
  });

  test('has no quantiles and no CPU time without answers', () => {
    const one = measured({ kind: 'alone', pipeline: 'full', round: 1 }, 0, work({}, { answers: 0 }), {
      503: 7,
    });
    expect(one).not.toHaveProperty('p50Ms');
    expect(one).not.toHaveProperty('cpuMicrosPerRequest');
    expect(one).toMatchObject({ requestsPerSecond: 0, non2xx: 7 });
  });
});

describe('summarise', () => {
  test('takes medians over rounds and sums of counts, without the warm-up', () => {
    expect(report.rows[0]).toMatchObject({
      name: 'full',
      rounds: 3,
      answers: 600,
      requestsPerSecond: 100,
      p50Ms: 100,
      p99Ms: 198,
      cpuMicrosPerRequest: 1_000,
      errors: 0,
      answersByVariant: { full: 590, none: 10 },
    });
  });

  test('finds the variant by what served', () => {
    expect(report.rows.map(({ name, variant }) => [name, variant?.name])).toEqual([
      ['full', 'full'],
      ['quick', 'int8'],
      ['bare', undefined],
      ['mixture', undefined],
    ]);
  });
});

describe('formatMarkdown', () => {
  const text = formatMarkdown(report);
  const lines = text.split('\n');
  const table = lines.filter((line) => line.startsWith('|'));
  const cells = (line = ''): string[] =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim());

  test('labels the loop', () => {
    expect(lines).toContain('- closed loop: latency at saturation, not at a rate');
    expect(lines).toContain('- server: no answer cache, shadow share 0.02');
  });

  test('aligns every line of the table', () => {
    expect(table).toHaveLength(6);
    expect(new Set(table.map(({ length }) => length)).size).toBe(1);
    expect(cells(table[0])).toHaveLength(13);
  });

  test('shows figures, bytes and the overlap with its interval', () => {
    expect(cells(table[2])).toEqual(
      ['full', 'full', '100.0', '100.00', '180.00', '198.00', '1000', 'reference'].concat([
        '1.2 MB',
        '2.0 kB',
        '60.0 MB',
        '600',
        '0',
      ]),
    );
    expect(cells(table[3])).toEqual(
      ['quick', 'int8', '200.0', '200.00', '360.00', '396.00', '1000', '0.950 [0.900, 1.000] n=12'].concat([
        '999 B',
        '2.0 kB',
        '–',
        '400',
        '0',
      ]),
    );
    expect(cells(table[5]).slice(-2)).toEqual(['10', '4']);
  });

  test('remarks on everything that makes a figure doubtful', () => {
    expect(text).toContain('- mixture: full 75.0 %, quick 25.0 %\n');
    expect(text).toContain('- ANSWERED FROM THE CACHE, not by the model: mixture 3\n');
    expect(text).toContain('- answered without a ranker: full 10\n');
    expect(text).toContain('- ERRORS in warm-up full: 504 2\n');
    expect(text).toContain('- ERRORS in mixture round 1: 503 4\n');
  });

  test('counts the errors of the warm-up too', () => {
    expect(totalErrors(report)).toBe(6);
  });
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRandom, must, shuffle } from '../../src/core/index.js';
import { EvidenceBook, RetentionEvidence } from '../../src/serving/evidence.js';
import { LiveRetentionJoin, type Comparison } from '../../src/serving/live-retention.js';
import { studentQuantile } from '../../src/statistics/index.js';

const MINUTE_MS = 60_000;

/** A join whose clock the test moves. */
function joinAt(startMs = 1_000): { join: LiveRetentionJoin; clock: { nowMs: number } } {
  const clock = { nowMs: startMs };
  return { join: new LiveRetentionJoin(() => clock.nowMs), clock };
}

interface Compared {
  readonly user: string;
  readonly requestId: string;
  readonly rows: readonly number[];
  readonly variant: readonly number[];
  readonly full: readonly number[];
}

/** Σ over places of 1/log₂(place + 2), over the best that so many labels can have: binary gains. */
function directNdcg(order: readonly number[], labels: ReadonlySet<number>): number {
  let [gain, ideal] = [0, 0];
  for (const [place, row] of order.slice(0, 10).entries())
    if (labels.has(row)) gain += 1 / Math.log2(place + 2);
  for (let place = 0; place < Math.min(10, labels.size); place++) ideal += 1 / Math.log2(place + 2);
  return gain / ideal;
}

/** R = ΣS/ΣN and R − t·√(Σ(sᵤ − R·nᵤ)² / (K − 1) / K) / N̄ over K users, all written out. */
function directRetention(pairs: readonly { user: string; variant: number; full: number }[]): {
  mean: number;
  low: number;
} {
  const users = new Map<string, { s: number; n: number }>();
  for (const { user, variant, full } of pairs) {
    const sums = users.get(user) ?? { s: 0, n: 0 };
    users.set(user, { s: sums.s + variant, n: sums.n + full });
  }
  const all = [...users.values()];
  const count = all.length;
  const meanN = all.reduce((sum, { n }) => sum + n, 0) / count;
  const mean = all.reduce((sum, { s }) => sum + s, 0) / count / meanN;
  const squares = all.reduce((sum, { s, n }) => sum + (s - mean * n) ** 2, 0);
  const error = Math.sqrt(squares / (count - 1) / count) / meanN;
  return { mean, low: mean - studentQuantile(0.95, count - 1) * error };
}

function settle(
  join: LiveRetentionJoin,
  evidence: RetentionEvidence,
  one: Compared,
  timeMs: number,
): Comparison {
  const { user, requestId, rows, variant, full } = one;
  const comparison = join.open({ user, requestId, timeMs, rows: Int32Array.from(rows) });
  join.settle(comparison, { evidence, variant: Int32Array.from(variant), full: Int32Array.from(full) });
  return comparison;
}

describe('live retention', () => {
  it('is the ratio of sums with the delta interval over users, as worked out directly', () => {
    const random = createRandom(11);
    const { join, clock } = joinAt();
    const evidence = new RetentionEvidence();
    const labels = new Map<string, { one: Compared; rows: Set<number> }>();
    for (let request = 0; request < 400; request++) {
      clock.nowMs += 100;
      const rows = Array.from(
        shuffle(
          Int32Array.from({ length: 60 }, (_, row) => row),
          random,
        ),
      ).slice(0, 30);
      const full = rows.slice(0, 10);
      const variant = [...full.slice(0, 4), ...rows.slice(12, 18)];
      const one = { user: `u${random.integer(50)}`, requestId: `r${request}`, rows, variant, full };
      settle(join, evidence, one, clock.nowMs);
      labels.set(one.requestId, { one, rows: new Set() });
      // A few clicks, on this answer or an earlier one of this test, some of them twice.
      for (let click = random.integer(3); click > 0; click--) {
        const { one: target, rows: known } = must(labels.get(`r${random.integer(request + 1)}`), 'request');
        const row = must(target.rows[random.integer(30)], 'row');
        const engagement = { user: target.user, row, timeMs: clock.nowMs, requestId: target.requestId };
        join.engage(engagement);
        known.add(row);
      }
    }
    // 32 answers of a user are open at most; none of 50 users has more of 400.
    const pairs = [...labels.values()]
      .filter(({ rows }) => rows.size > 0)
      .map(({ one, rows }) => ({
        user: one.user,
        variant: directNdcg(one.variant, rows),
        full: directNdcg(one.full, rows),
      }));
    const expected = directRetention(pairs);
    const report = evidence.report();
    expect(report.pairs).toBe(pairs.length);
    expect(report.users).toBe(new Set(pairs.map(({ user }) => user)).size);
    expect(report.mean).toBeCloseTo(expected.mean, 10);
    expect(report.low).toBeCloseTo(expected.low, 10);
    expect(pairs.length).toBeGreaterThan(150);
    expect(expected.low).toBeLessThan(expected.mean);
  });

  it('is known by hand for two answers', () => {
    const { join } = joinAt();
    const evidence = new RetentionEvidence();
    const rows = [7, 8, 9];
    settle(join, evidence, { user: 'a', requestId: '1', rows, variant: [8, 7, 9], full: [7, 8, 9] }, 1_000);
    settle(join, evidence, { user: 'b', requestId: '2', rows, variant: [9, 8, 7], full: [9, 7, 8] }, 1_000);
    expect(evidence.report()).toEqual({ pairs: 0, users: 0 });
    join.engage({ user: 'a', row: 7, timeMs: 1_000 });
    // Second place instead of first: 1/log₂3.
    expect(evidence.report()).toEqual({ pairs: 1, users: 1, mean: 1 / Math.log2(3) });
    join.engage({ user: 'b', row: 9, timeMs: 1_000 });
    expect(evidence.report()).toMatchObject({ pairs: 2, users: 2, mean: (1 / Math.log2(3) + 1) / 2 });
    join.engage({ user: 'a', row: 8, timeMs: 1_000 });
    expect(evidence.report()).toEqual({ pairs: 2, users: 2, mean: 1, low: 1 - 1 });
  });

  it('of orders that never differ has the bound that so many users can give', () => {
    const { join } = joinAt();
    const evidence = new RetentionEvidence();
    for (let user = 0; user < 300; user++) {
      const order = { rows: [1, 2], variant: [1, 2], full: [1, 2] };
      settle(join, evidence, { user: `u${user}`, requestId: `r${user}`, ...order }, 1_000);
      join.engage({ user: `u${user}`, row: 1 + (user % 2), timeMs: 1_000 });
    }
    expect(evidence.report()).toEqual({ pairs: 300, users: 300, mean: 1, low: 1 - 3 / 300 });
  });

  it('counts clicks that came before the second order was known', () => {
    const { join } = joinAt();
    const evidence = new RetentionEvidence();
    const rows = Int32Array.of(1, 2);
    const comparison = join.open({ user: 'a', requestId: '1', timeMs: 1_000, rows });
    rows.fill(0);
    join.engage({ user: 'a', row: 2, timeMs: 1_000 });
    expect(evidence.report().pairs).toBe(0);
    join.settle(comparison, { evidence, variant: Int32Array.of(2, 1), full: Int32Array.of(1, 2) });
    expect(evidence.report()).toEqual({ pairs: 1, users: 1, mean: 1 / (1 / Math.log2(3)) });
  });
});

describe('a label', () => {
  const one = { user: 'a', requestId: 'r', rows: [1, 2, 3], variant: [1, 2, 3], full: [1, 2, 3] };
  const given = { user: 'a', row: 1, timeMs: 10_000 };
  const cases: [string, Partial<typeof given & { requestId: string }>, number][] = [
    ['an item of the candidates', {}, 1],
    ['another item', { row: 4 }, 0],
    ['another user', { user: 'b' }, 0],
    ['before the answer', { timeMs: 9_999 }, 0],
    ['before the answer, but naming it', { timeMs: 9_999, requestId: 'r' }, 1],
    ['naming another answer', { requestId: 'other' }, 0],
    ['within half an hour', { timeMs: 10_000 + 30 * MINUTE_MS }, 1],
    ['later', { timeMs: 10_001 + 30 * MINUTE_MS }, 0],
  ];
  it.each(cases)('%s', (_, change, pairs) => {
    const { join } = joinAt(10_000);
    const evidence = new RetentionEvidence();
    settle(join, evidence, one, 10_000);
    join.engage({ ...given, ...change });
    join.engage({ ...given, ...change });
    expect(evidence.report().pairs).toBe(pairs);
  });

  it('finds no answer that is older than half an hour, or closed', () => {
    const { join, clock } = joinAt(10_000);
    const evidence = new RetentionEvidence();
    settle(join, evidence, one, 10_000);
    join.close(settle(join, evidence, { ...one, user: 'b' }, 10_000));
    join.engage({ ...given, user: 'b' });
    clock.nowMs += 30 * MINUTE_MS + 1;
    join.engage({ ...given, requestId: 'r' });
    expect(evidence.report().pairs).toBe(0);
    expect(join.openCount).toBe(0);
  });
});

describe('memory', () => {
  it('holds 32 answers of one user and 20,000 of all, the latest', () => {
    const { join } = joinAt();
    const evidence = new RetentionEvidence();
    const open = (user: string, requestId: string): Comparison =>
      settle(join, evidence, { user, requestId, rows: [1], variant: [1], full: [1] }, 1_000);
    for (let request = 0; request < 40; request++) open('a', `r${request}`);
    expect(join.openCount).toBe(32);
    for (const requestId of ['r7', 'r8']) join.engage({ user: 'a', row: 1, timeMs: 1_000, requestId });
    expect(evidence.report().pairs).toBe(1);
    for (let user = 0; user < 20_100; user++) open(`u${user}`, 'r');
    expect(join.openCount).toBe(20_000);
    join.engage({ user: 'u99', row: 1, timeMs: 1_000 });
    join.engage({ user: 'u100', row: 1, timeMs: 1_000 });
    expect(evidence.report().pairs).toBe(2);
  });

  it('holds four million candidates', () => {
    const { join } = joinAt();
    const rows = new Int32Array(100_000);
    for (let user = 0; user < 50; user++)
      join.open({ user: `u${user}`, requestId: 'r', timeMs: 1_000, rows });
    expect(join.openCount).toBe(40);
  });
});

describe('evidence', () => {
  it('of pairs that are replaced again and again is that of the last ones', () => {
    const number = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 5 }), number, number), { minLength: 3 }),
        (steps) => {
          const evidence = new RetentionEvidence();
          const last = new Map<string, { user: string; variant: number; full: number }>();
          for (const [user, variant, full] of steps) {
            const name = `u${user}`;
            evidence.update(name, { variant, full: full + 0.1 }, last.get(name));
            last.set(name, { user: name, variant, full: full + 0.1 });
          }
          fc.pre(last.size >= 2);
          const { mean, users, pairs } = evidence.report();
          const expected = directRetention([...last.values()]);
          expect([users, pairs]).toEqual([last.size, last.size]);
          expect(mean).toBeCloseTo(expected.mean, 9);
        },
      ),
    );
  });

  it('belongs to the files of a variant and of full, not to the variant’s name', () => {
    const book = new EvidenceBook();
    const bundle = (hashes: Record<string, string>): Parameters<EvidenceBook['of']>[0] => {
      const names = Object.keys(hashes);
      const files = (file: string): string[] => (file === 'small.onnx' ? [file, 'weights.bin'] : [file]);
      return {
        manifest: {
          variants: {
            full: { file: 'full.onnx' },
            small: { file: 'small.onnx' },
            copy: { file: 'copy.onnx' },
          },
          files: Object.fromEntries(names.map((name) => [name, { sha256: hashes[name] ?? '', bytes: 1 }])),
        } as unknown as Parameters<EvidenceBook['of']>[0]['manifest'],
        models: new Map(
          ['full.onnx', 'small.onnx', 'copy.onnx'].map((file) => [
            file,
            { files: files(file), graphBytes: 1, weightBytes: 0 },
          ]),
        ),
      };
    };
    const hashes = { 'full.onnx': 'F', 'small.onnx': 'S', 'copy.onnx': 'S2', 'weights.bin': 'W' };
    const first = book.of(bundle(hashes), 'small');
    expect(book.of(bundle({ ...hashes, 'copy.onnx': 'S3' }), 'small')).toBe(first);
    expect(book.of(bundle(hashes), 'copy')).not.toBe(first);
    for (const file of ['full.onnx', 'small.onnx', 'weights.bin'])
      expect(book.of(bundle({ ...hashes, [file]: 'X' }), 'small'), file).not.toBe(first);
    expect(book.of(bundle(hashes), 'small')).toBe(first);
  });
});

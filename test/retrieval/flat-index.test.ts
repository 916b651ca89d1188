import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeModel, writeModel } from '../../src/onnx/index.js';
import { buildFlatModel, openFlatIndex, openFlatModel } from '../../src/retrieval/index.js';
import { openSession } from '../../src/runtime/index.js';
import { rejectionCode } from '../support/error-code.js';
import { bestRows, bruteForceScores, clusteredVectors } from './vectors.js';

/** Small whole numbers: dot products are exact in float32 and ties are common. */
const table = fc.record({
  dimensions: fc.integer({ min: 1, max: 5 }),
  rows: fc.integer({ min: 1, max: 40 }),
  count: fc.integer({ min: 1, max: 9 }),
  k: fc.integer({ min: 1, max: 50 }),
  numbers: fc.array(fc.integer({ min: -3, max: 3 }), { minLength: 250, maxLength: 250 }),
});

describe('flat index', () => {
  test('dot: equals brute force, ties to the lower row, padded with -1', async () => {
    await fc.assert(
      fc.asyncProperty(table, async ({ dimensions, rows, count, k, numbers }) => {
        const vectors = Float32Array.from(numbers.slice(0, rows * dimensions));
        const queries = Float32Array.from(numbers.slice(-count * dimensions));
        const index = await openFlatIndex(vectors, dimensions, 'dot', openSession);
        const found = await index.search(queries, count, k);
        await index.release();
        bruteForceScores(vectors, queries, dimensions, 'dot').forEach((scores, query) => {
          const best = bestRows(scores, k);
          const padding = new Array<number>(k - best.length).fill(-1);
          expect([...found.rows.subarray(query * k, (query + 1) * k)]).toEqual([...best, ...padding]);
          const expected = [
            ...best.map((row) => scores[row]),
            ...padding.map(() => Number.NEGATIVE_INFINITY),
          ];
          expect([...found.scores.subarray(query * k, (query + 1) * k)].map((x) => x + 0)).toEqual(
            expected.map((x) => (x ?? 0) + 0),
          );
        });
      }),
      { numRuns: 60 },
    );
  });

  test('cosine: scores equal brute force to float32 precision, best first, zero vectors score 0', async () => {
    const vectors = clusteredVectors(300, 12, 1);
    vectors.fill(0, 24, 36);
    const queries = clusteredVectors(7, 12, 2);
    queries.fill(0, 0, 12);
    const index = await openFlatIndex(vectors, 12, 'cosine', openSession);
    const found = await index.search(queries, 7, 300);
    const exact = bruteForceScores(vectors, queries, 12, 'cosine');
    for (let at = 0; at < found.rows.length; at++) {
      const scores = exact[Math.floor(at / 300)] ?? [];
      expect(found.scores[at]).toBeCloseTo(scores[found.rows[at] ?? -1] ?? Number.NaN, 5);
      if (at % 300 > 0) expect(found.scores[at]).toBeLessThanOrEqual(found.scores[at - 1] ?? Number.NaN);
    }
    for (let query = 0; query < 7; query++)
      expect(new Set(found.rows.subarray(query * 300, (query + 1) * 300)).size).toBe(300);
    await index.release();
  });

  test.each(['dot', 'cosine'] as const)(
    '%s: the model answers as the index does, in bytes and as a file',
    async (metric) => {
      const vectors = clusteredVectors(600, 32, 3);
      const queries = clusteredVectors(5, 32, 4);
      const folder = await mkdtemp(join(tmpdir(), 'whittle-flat-'));
      const model = buildFlatModel(vectors, 32, metric);
      await writeModel(model, join(folder, 'items.onnx'));
      expect(await readdir(join(folder, 'weights'))).toHaveLength(1);
      const shape = { size: 600, dimensions: 32 };
      const index = await openFlatIndex(vectors, 32, metric, openSession);
      const expected = await index.search(queries, 5, 20);
      for (const source of [encodeModel(model), join(folder, 'items.onnx')]) {
        const opened = await openFlatModel(source, shape, openSession);
        const found = await opened.search(queries, 5, 20);
        expect(found.rows).toEqual(expected.rows);
        found.scores.forEach((score, at) => expect(score).toBeCloseTo(expected.scores[at] ?? Number.NaN, 4));
        await opened.release();
      }
      await index.release();
      await rm(folder, { recursive: true });
    },
  );

  test('refuses a model of other dimensions, wrong queries, numbers that are not finite, and k below 1', async () => {
    const vectors = clusteredVectors(20, 4, 5);
    const model = encodeModel(buildFlatModel(vectors, 4, 'dot'));
    expect(await rejectionCode(openFlatModel(model, { size: 20, dimensions: 5 }, openSession))).toBe(
      'BUNDLE_INVALID',
    );
    const index = await openFlatIndex(vectors, 4, 'dot', openSession);
    const query = Float32Array.of(1, 2, 3, 4);
    expect(await rejectionCode(index.search(query, 2, 3))).toBe('INPUT_INVALID');
    expect(await rejectionCode(index.search(Float32Array.of(1, 2, Number.NaN, 4), 1, 3))).toBe(
      'INPUT_INVALID',
    );
    for (const k of [0, -1, 1.5, Number.NaN])
      expect(await rejectionCode(index.search(query, 1, k))).toBe('INPUT_INVALID');
    await index.release();
    for (const unusable of [new Float32Array(0), new Float32Array(7), Float32Array.of(1, 2, 3, Infinity)])
      expect(await rejectionCode(openFlatIndex(unusable, 4, 'dot', openSession))).toBe('INPUT_INVALID');
  });

  test('no queries, no answers', async () => {
    const index = await openFlatIndex(clusteredVectors(20, 4, 5), 4, 'dot', openSession);
    expect((await index.search(new Float32Array(0), 0, 3)).rows).toHaveLength(0);
    await index.release();
  });
});

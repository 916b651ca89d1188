import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { WhittleError } from '../../src/core/index.js';
import { annRecallAtK, buildHnswIndex, loadHnswIndex, openFlatIndex } from '../../src/retrieval/index.js';
import { openSession } from '../../src/runtime/index.js';
import { rejectionCode } from '../support/error-code.js';
import { bruteForceScores, clusteredVectors } from './vectors.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whittle-hnsw-'));
});
afterAll(() => rm(folder, { recursive: true }));

describe.each(['dot', 'cosine'] as const)('HNSW over clustered vectors, %s', (metric) => {
  const vectors = clusteredVectors(5000, 32, 1);
  const queries = clusteredVectors(100, 32, 1);

  test('recall@100 against exact search is 0.99 or more at ef 400, and the same after save and load', async () => {
    const exact = await openFlatIndex(vectors, 32, metric, openSession);
    const built = await buildHnswIndex(vectors, { dimensions: 32, metric, efSearch: 400 });
    const recall = await annRecallAtK(built, exact, queries, 100);
    expect(recall).toBeGreaterThanOrEqual(0.99);
    const path = join(folder, `${metric}.hnsw`);
    await built.save(path);
    const loaded = await loadHnswIndex(path, { size: 5000, dimensions: 32, metric, efSearch: 400 });
    expect(await loaded.search(queries, 100, 100)).toEqual(await built.search(queries, 100, 100));
    expect(await annRecallAtK(loaded, exact, queries, 100)).toBe(recall);
    await Promise.all([exact.release(), built.release(), loaded.release()]);
  });

  test('scores are those of the rows, best first', async () => {
    const index = await buildHnswIndex(vectors.subarray(0, 500 * 32), { dimensions: 32, metric });
    const found = await index.search(queries.subarray(0, 3 * 32), 3, 20);
    const exact = bruteForceScores(vectors.subarray(0, 500 * 32), queries.subarray(0, 3 * 32), 32, metric);
    found.scores.forEach((score, at) => {
      expect(score).toBeCloseTo(exact[Math.floor(at / 20)]?.[found.rows[at] ?? -1] ?? Number.NaN, 4);
      if (at % 20 > 0) expect(score).toBeLessThanOrEqual(found.scores[at - 1] ?? Number.NaN);
    });
    await index.release();
  });
});

test('items with large biases: linked by l2 they are found, by inner product not all', async () => {
  const vectors = clusteredVectors(3000, 16, 5).map((value, at) =>
    at % 16 === 15 ? 3 + (at % 7) / 3 : value,
  );
  const queries = clusteredVectors(50, 16, 6).map((value, at) => (at % 16 === 15 ? 1 : value));
  const exact = await openFlatIndex(vectors, 16, 'dot', openSession);
  const recallOf = async (space: 'ip' | 'l2'): Promise<number> => {
    const built = await buildHnswIndex(vectors, { dimensions: 16, metric: 'dot', space });
    const path = join(folder, `${space}.hnsw`);
    await built.save(path);
    const loaded = await loadHnswIndex(path, { size: 3000, dimensions: 16, metric: 'dot', space });
    const { scores, rows } = await loaded.search(queries.subarray(0, 16), 1, 5);
    const expected = bruteForceScores(vectors, queries.subarray(0, 16), 16, 'dot');
    scores.forEach((score, at) => {
      expect(score).toBeCloseTo(expected[0]?.[rows[at] ?? -1] ?? Number.NaN, 3);
    });
    return annRecallAtK(loaded, exact, queries, 100);
  };
  expect(await recallOf('l2')).toBeGreaterThanOrEqual(0.99);
  expect(await recallOf('ip')).toBeLessThan(0.99);
});

describe('HNSW', () => {
  const vectors = clusteredVectors(200, 8, 3);
  const options = { dimensions: 8, metric: 'dot' } as const;
  const expected = { size: 200, dimensions: 8, metric: 'dot' } as const;

  test('equal vectors give equal files; an older file is replaced', async () => {
    const paths = [join(folder, 'first.hnsw'), join(folder, 'second.hnsw')] as const;
    await writeFile(paths[1], 'an older file');
    for (const path of paths) await (await buildHnswIndex(vectors, options)).save(path);
    expect(await readFile(paths[0])).toEqual(await readFile(paths[1]));
  });

  test('more asked for than there is: padded with -1', async () => {
    const index = await buildHnswIndex(vectors.subarray(0, 3 * 8), options);
    const { rows, scores } = await index.search(vectors.subarray(0, 16), 2, 5);
    for (const start of [0, 5]) {
      expect([...rows.subarray(start, start + 3)].sort()).toEqual([0, 1, 2]);
      expect([...rows.subarray(start + 3, start + 5)]).toEqual([-1, -1]);
      expect([...scores.subarray(start + 3, start + 5)]).toEqual([-Infinity, -Infinity]);
    }
  });

  test('refuses wrong queries, unusable vectors, and a released index', async () => {
    const index = await buildHnswIndex(vectors, options);
    expect(await rejectionCode(index.search(new Float32Array(7), 1, 1))).toBe('INPUT_INVALID');
    expect(await rejectionCode(index.search(new Float32Array(8).fill(Number.NaN), 1, 1))).toBe(
      'INPUT_INVALID',
    );
    expect(await rejectionCode(index.search(new Float32Array(8), 1, 0))).toBe('INPUT_INVALID');
    expect(await rejectionCode(buildHnswIndex(new Float32Array(9), options))).toBe('INPUT_INVALID');
    await index.release();
    expect(await rejectionCode(index.search(new Float32Array(8), 1, 1))).toBe('INTERNAL');
  });

  test('refuses a file of another shape, and a folder that is not there', async () => {
    const index = await buildHnswIndex(vectors, options);
    const path = join(folder, 'shape.hnsw');
    await index.save(path);
    expect(await rejectionCode(loadHnswIndex(path, { ...expected, size: 201 }))).toBe('BUNDLE_INVALID');
    expect(await rejectionCode(loadHnswIndex(path, { ...expected, dimensions: 16 }))).toBe('BUNDLE_INVALID');
    expect(await rejectionCode(loadHnswIndex(join(folder, 'none.hnsw'), expected))).toBe('FILE_MISSING');
    expect(await rejectionCode(index.save(join(folder, 'none', 'x.hnsw')))).toBe('FILE_MISSING');
  });

  test('a truncated file is refused; whatever else is damaged is refused or still searched safely', async () => {
    const path = join(folder, 'whole.hnsw');
    await (await buildHnswIndex(vectors, options)).save(path);
    const whole = await readFile(path);
    const damaged = join(folder, 'damaged.hnsw');
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length - 1), async (length) => {
        await writeFile(damaged, whole.subarray(0, length));
        expect(await rejectionCode(loadHnswIndex(damaged, expected))).toBe('FILE_CORRUPT');
      }),
      { numRuns: 50 },
    );
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
        await copyFile(path, damaged);
        const bytes = Buffer.from(whole);
        bytes[at] = (bytes[at] ?? 0) ^ flip;
        await writeFile(damaged, bytes);
        try {
          const index = await loadHnswIndex(damaged, expected);
          const { rows } = await index.search(vectors.subarray(0, 8), 1, 200);
          for (const row of rows) expect(row >= -1 && row < 200).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(WhittleError);
          expect(['FILE_CORRUPT', 'BUNDLE_INVALID']).toContain((error as WhittleError).code);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('says so where the optional package does not load', async () => {
    vi.doMock('hnswlib-node', () => {
      throw new Error('Could not locate the bindings file');
    });
    expect(await rejectionCode(buildHnswIndex(vectors, options))).toBe('PACKAGE_MISSING');
    vi.doUnmock('hnswlib-node');
  });
});

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { IndexSpec } from '../../src/core/index.js';
import { writeModel } from '../../src/onnx/index.js';
import { buildFlatModel, buildHnswIndex, openVectorIndex } from '../../src/retrieval/index.js';
import { openSession } from '../../src/runtime/index.js';
import { rejectionCode } from '../support/error-code.js';
import { clusteredVectors } from './vectors.js';

const vectors = clusteredVectors(300, 16, 1);
const spec: IndexSpec = { kind: 'flat', metric: 'cosine', dimensions: 16, vectors: 'items.f32' };
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whittle-index-'));
  await writeFile(join(folder, 'items.f32'), vectors);
  await writeModel(buildFlatModel(vectors, 16, 'cosine'), join(folder, 'items.onnx'));
  await (
    await buildHnswIndex(vectors, { dimensions: 16, metric: 'cosine' })
  ).save(join(folder, 'items.hnsw'));
});
afterAll(() => rm(folder, { recursive: true }));

test.each<[string, IndexSpec]>([
  ['flat over the vectors', spec],
  ['flat from its model', { ...spec, file: 'items.onnx' }],
  ['hnsw', { ...spec, kind: 'hnsw', file: 'items.hnsw', efSearch: 300 }],
])('%s: an item is the nearest to itself', async (_, opened) => {
  const index = await openVectorIndex(opened, folder, 300, openSession);
  expect([index.size, index.dimensions]).toEqual([300, 16]);
  const { rows, scores } = await index.search(vectors, 300, 1);
  expect([...rows]).toEqual(Array.from({ length: 300 }, (_unused, row) => row));
  for (const score of scores) expect(score).toBeCloseTo(1, 5);
  await index.release();
});

test('refuses files that are missing or of another size', async () => {
  const open = (opened: IndexSpec, rows = 300) =>
    rejectionCode(openVectorIndex(opened, folder, rows, openSession));
  expect(await open(spec, 299)).toBe('BUNDLE_INVALID');
  expect(await open({ ...spec, dimensions: 15 })).toBe('BUNDLE_INVALID');
  expect(await open({ ...spec, vectors: 'none.f32' })).toBe('FILE_MISSING');
  expect(await open({ ...spec, kind: 'hnsw' })).toBe('BUNDLE_INVALID');
  expect(await open({ ...spec, kind: 'hnsw', file: 'items.hnsw' }, 299)).toBe('BUNDLE_INVALID');
  expect(await open({ ...spec, kind: 'hnsw', file: 'items.f32' })).toBe('FILE_CORRUPT');
});

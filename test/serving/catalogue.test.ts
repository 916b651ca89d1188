import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { BundleManifest, CatalogueSpec } from '../../src/core/index.js';
import { writeItems } from '../../src/data/index.js';
import { openCatalogue, type Catalogue } from '../../src/serving/catalogue.js';
import { rejectionCode } from '../support/error-code.js';

let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'whittle-test-'));
  await writeItems(join(directory, 'items.parquet'), {
    id: ['007', '7', 'x'],
    title: ['bond', 'seven', ''],
    sold: Float64Array.of(5, 9, 5),
    price: Float64Array.of(1, NaN, 3),
  });
  await writeItems(join(directory, 'twice.parquet'), { id: ['a', 'a', 'b'] });
});

afterAll(() => rm(directory, { recursive: true }));

function open(changes: Partial<CatalogueSpec>): Promise<Catalogue> {
  const catalogue = { file: 'items.parquet', idColumn: 'id', rows: 3, ...changes };
  return openCatalogue(directory, { catalogue } as BundleManifest);
}

test('ids are text, whatever they look like', async () => {
  const catalogue = await open({ titleColumn: 'title' });
  expect(catalogue.ids).toEqual(['007', '7', 'x']);
  expect(['007', '7', '07'].map((id) => catalogue.rowOf(id))).toEqual([0, 1, undefined]);
  expect(catalogue.titles).toEqual(['bond', 'seven', '']);
});

test('popularity falls, and of equals the lower row comes first', async () => {
  expect((await open({ popularityColumn: 'sold' })).popularRows).toEqual(Int32Array.of(1, 0, 2));
  expect((await open({})).popularRows).toBeUndefined();
});

test('number columns', async () => {
  const catalogue = await open({});
  expect(catalogue.numbers('sold')).toEqual(Float64Array.of(5, 9, 5));
  for (const [column, said] of [
    ['title', 'no fitting column title'],
    ['weight', 'no fitting column weight'],
    ['price', 'no finite number in row 1'],
  ] as const)
    expect(() => catalogue.numbers(column)).toThrow(said);
});

test.each<[what: string, changes: Partial<CatalogueSpec>, code: string]>([
  ['another number of rows', { rows: 4 }, 'BUNDLE_INVALID'],
  ['ids that repeat', { file: 'twice.parquet' }, 'BUNDLE_INVALID'],
  ['a popularity of text', { popularityColumn: 'title' }, 'BUNDLE_INVALID'],
  ['no id column', { idColumn: 'sku' }, 'FILE_CORRUPT'],
  ['no file', { file: 'none.parquet' }, 'FILE_MISSING'],
])('%s', async (_what, changes, code) => {
  expect(await rejectionCode(open(changes))).toBe(code);
});

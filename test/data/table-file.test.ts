import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readColumnNames, readTable, writeItems } from '../../src/data/index.js';
import { rejectionCode } from '../support/error-code.js';

let folder = '';
const at = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whittle-table-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const numbers = (...values: readonly number[]): Float64Array => Float64Array.from(values);

test('text formats: columns of numbers are numbers, the named ones stay text', async () => {
  const csv = 'sku,zip,price,title,none\n007,01234,1.5,"lamp, ""large""",\n008,99,,chair,\n';
  await writeFile(at('a.csv'), csv);
  await writeFile(at('a.tsv.gz'), gzipSync('sku\tprice\tsize\n007\t1\t3 cm\n'));
  expect(await readColumnNames(at('a.csv'))).toEqual(['sku', 'zip', 'price', 'title', 'none']);
  expect(await readTable(at('a.csv'), ['sku'])).toEqual({
    sku: ['007', '008'],
    zip: numbers(1234, 99),
    price: numbers(1.5, NaN),
    title: ['lamp, "large"', 'chair'],
    none: ['', ''],
  });
  expect(await readTable(at('a.tsv.gz'), [])).toEqual({ sku: numbers(7), price: numbers(1), size: ['3 cm'] });
});

test('typed formats: long ids stay exact as text, lists are left out', async () => {
  const lines = ['{"id": 9007199254740993, "price": 2, "vector": [1, 2]}', '{"id": 2, "price": null}'];
  await writeFile(at('a.jsonl'), lines.join('\n'));
  const expected = { id: ['9007199254740993', '2'], price: numbers(2, NaN) };
  expect(await readTable(at('a.jsonl'), ['id'])).toEqual(expected);
  await writeItems(at('a.parquet'), expected);
  expect(await readTable(at('a.parquet'), ['id'])).toEqual(expected);
});

test('rows keep the order of the file', async () => {
  const ids = Array.from({ length: 20_000 }, (_, row) => `i${row}`);
  await writeFile(at('long.csv'), `id\n${ids.join('\n')}\n`);
  expect(await readTable(at('long.csv'), [])).toEqual({ id: ids });
});

test.each([
  ['nothing', undefined, 'missing.csv'],
  ['an empty file', '', 'empty.csv'],
  ['a header alone', 'id,title\n', 'header.csv'],
  ['an unknown format', 'id\n1\n', 'table.xlsx'],
  ['no Parquet', 'id\n1\n', 'text.parquet'],
])('refuses %s', async (_, content, name) => {
  if (content !== undefined) await writeFile(at(name), content);
  expect(await rejectionCode(readTable(at(name), []))).toBe('DATASET_INVALID');
});

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readRequestRows } from '../../src/data/index.js';
import { rejectionCode } from '../support/error-code.js';

let folder = '';
const at = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whittle-rows-'));
});
afterAll(() => rm(folder, { recursive: true }));

test('nested lists of Parquet and JSON lines, in the order of the file', async () => {
  await writeFile(
    at('a.jsonl'),
    '{"x": [1, 2.5], "m": [[1], [2]], "id": 7}\n{"x": [3, 4], "m": [[3], [4]], "id": 8}\n',
  );
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  await connection.run(
    `copy (select * from read_json('${at('a.jsonl')}')) to '${at('a.parquet')}' (format parquet)`,
  );
  connection.closeSync();
  instance.closeSync();
  for (const file of ['a.jsonl', 'a.parquet']) {
    const { columns, rows, totalRows } = await readRequestRows(at(file), 10);
    expect([rows, totalRows]).toEqual([2, 2]);
    expect(columns['x']).toEqual([
      [1, 2.5],
      [3, 4],
    ]);
    expect(
      JSON.stringify(columns['m'], (_, value: unknown) =>
        typeof value === 'bigint' ? Number(value) : value,
      ),
    ).toBe('[[[1],[2]],[[3],[4]]]');
    expect(columns['id']?.map(Number)).toEqual([7, 8]);
  }
});

test('cells of text formats are texts, empty ones null', async () => {
  await writeFile(at('b.csv'), 'x,"a b"\n"[1, 2]",3\n[4],\n');
  expect((await readRequestRows(at('b.csv'), 10)).columns).toEqual({
    x: ['[1, 2]', '[4]'],
    'a b': ['3', null],
  });
});

test('no more rows than asked for, but how many there are', async () => {
  await writeFile(at('c.csv'), `x\n${Array.from({ length: 5000 }, (_, row) => row).join('\n')}\n`);
  const { columns, rows, totalRows } = await readRequestRows(at('c.csv'), 3);
  expect([columns['x'], rows, totalRows]).toEqual([['0', '1', '2'], 3, 5000]);
});

test('a missing, empty or broken file is refused', async () => {
  await writeFile(at('d.csv'), 'x\n');
  await writeFile(at('e.parquet'), 'no parquet');
  await writeFile(at('f.txt'), 'x\n1\n');
  for (const name of ['none.csv', 'd.csv', 'e.parquet', 'f.txt'])
    expect([name, await rejectionCode(readRequestRows(at(name), 10))]).toEqual([name, 'DATASET_INVALID']);
});

import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sha256File } from '../../src/core/index.js';
import { withDuckDb } from '../../src/data/duckdb.js';
import { readItems, readUsers, writeItems, writeUsers } from '../../src/data/index.js';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'whittle parquet [1]-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const items = {
  id: Array.from({ length: 5000 }, (_, row) => `9007199254740${String(row).padStart(5, '0')}`),
  title: Array.from({ length: 5000 }, (_, row) => `Naïve "title", it's № ${row}`),
  price: Float64Array.from({ length: 5000 }, (_, row) => (row === 7 ? NaN : row / 3)),
};
const users = Array.from({ length: 5000 }, (_, row) => ({
  user: `u${row}`,
  history: Array.from({ length: row % 7 }, (_, place) => `item ${row * place}`),
}));

test('items come back as they were, in order', async () => {
  const path = join(folder, "it's items.parquet");
  await writeItems(path, items);
  expect(await readItems(path)).toEqual(items);
});

test('texts with any character, and tables of several row groups or of no rows, come back in order', async () => {
  const path = join(folder, 'texts.parquet');
  const odd = { id: ['a', '', 'b\u001fc', 'd\ne', '\u{1f600}'], plain: ['v', 'w', 'x', '', ''] };
  await writeItems(path, odd);
  expect(await readItems(path)).toEqual(odd);
  const many = { id: Array.from({ length: 150_000 }, (_, row) => `item ${row}`) };
  await writeItems(path, many);
  expect((await readItems(path))['id']).toEqual(many.id);
  await writeItems(path, { id: [], price: new Float64Array(0) });
  expect(await readItems(path)).toEqual({ id: [], price: new Float64Array(0) });
});

test('a small file that stands for more text than is read is refused before it is read', async () => {
  const path = join(folder, 'bomb.parquet');
  await withDuckDb(async (connection) => {
    await connection.run(
      `copy (select repeat('x', 65536) as id from range(40000)) to '${path}' (format parquet, compression zstd)`,
    );
  });
  expect(statSync(path).size).toBeLessThan(2 ** 20);
  const before = process.memoryUsage().rss;
  await expect(readItems(path)).rejects.toMatchObject({
    code: 'INPUT_TOO_LARGE',
    details: { field: 'id', value: 65_536 * 40_000 },
  });
  expect(process.memoryUsage().rss - before).toBeLessThan(2 ** 29);
});

test('users come back as they were, in order, empty histories too', async () => {
  const path = join(folder, 'users.parquet');
  await writeUsers(path, users);
  expect(await readUsers(path)).toEqual(users);
});

test('equal input gives equal bytes', async () => {
  const paths = ['a', 'b', 'c', 'd'].map((name) => join(folder, `${name}.parquet`));
  const [a = '', b = '', c = '', d = ''] = paths;
  await writeItems(a, items);
  await writeItems(b, items);
  await writeUsers(c, users);
  await writeUsers(d, users);
  expect(await sha256File(a)).toBe(await sha256File(b));
  expect(await sha256File(c)).toBe(await sha256File(d));
});

test('what is missing or no Parquet is an error', async () => {
  const path = join(folder, 'broken.parquet');
  writeFileSync(path, 'PAR1 but not really');
  await expect(readItems(path)).rejects.toMatchObject({ code: 'FILE_CORRUPT' });
  await expect(readUsers(join(folder, 'none.parquet'))).rejects.toMatchObject({ code: 'FILE_MISSING' });
  const whole = join(folder, 'whole.parquet');
  await writeItems(whole, { id: ['1'] });
  await expect(readItems(whole, ['sku'])).rejects.toMatchObject({
    code: 'FILE_CORRUPT',
    details: { found: ['id'], wanted: ['sku'] },
  });
});

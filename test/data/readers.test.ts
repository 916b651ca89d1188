import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readDataset, type Dataset } from '../../src/data/index.js';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'whittle-readers-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, name.endsWith('.gz') ? gzipSync(content) : content);
  return path;
}

/** Rows as [user, item, time, value], by id. */
function rows({ interactions, users, catalogue }: Dataset): unknown[] {
  return [...interactions.user].map((user, row) => [
    users[user],
    catalogue.ids[interactions.item[row] ?? -1],
    interactions.timeSeconds[row],
    interactions.value[row],
  ]);
}

const csv = 'when,who,what,stars\n20,u10,b,3\n10,u9,a,4\n20,u10,a,5\n10,u10,"c, ""x""",1\n';
const mapping = { user: 'who', item: 'what', time: 'when', rating: 'stars' };
const expected = [
  ['u10', 'c, "x"', 10, 1],
  ['u10', 'b', 20, 3],
  ['u10', 'a', 20, 5],
  ['u9', 'a', 10, 4],
];

describe('one file of interactions', () => {
  test('is sorted by user, time and row, whatever its format', async () => {
    const tsv = csv.replaceAll('"c, ""x"""', 'c; "x"').replaceAll(',', '\t').replace('c; "x"', 'c, "x"');
    const jsonl = expected
      .map(([who, what, when, stars]) => JSON.stringify({ who, what, when, stars }))
      .join('\n');
    const paths = [
      file('plain.csv', csv),
      file('packed.csv.gz', csv),
      file('plain.tsv', tsv),
      file('plain.jsonl', jsonl),
      file('packed.jsonl.gz', jsonl),
    ];
    for (const path of paths) expect(rows(await readDataset(path, mapping)), path).toEqual(expected);
  });

  test('orders numeric ids by value', async () => {
    const data = await readDataset(file('ids.csv', 'user,item,time\n10,30,1\n9,4,1\nx,5,1\n'));
    expect(data.users).toEqual(['9', '10', 'x']);
    expect(data.catalogue.ids).toEqual(['4', '5', '30']);
  });

  test('takes times as seconds, milliseconds and ISO 8601', async () => {
    const content =
      'user,item,time\nu,a,1500000000\nu,b,1500000000500\nu,c,2017-07-14T02:40:01Z\nu,d,2017-07-14 02:40:02\n';
    const { interactions } = await readDataset(file('times.csv', content));
    expect([...interactions.timeSeconds]).toEqual([1.5e9, 1500000000.5, 1500000001, 1500000002]);
  });

  test('makes queries and titles of columns, and leaves returns out', async () => {
    const content =
      'user,item,time,q,name,n\nu,a,1,red shoe,,1\nu,a,2,,Shoe,2\nu,b,3,blue,Hat,-1\nv,b,4, hat ,Hat,1\n';
    const columns = { user: 'user', item: 'item', time: 'time', query: 'q', text: 'name', quantity: 'n' };
    const data = await readDataset(file('search.csv', content), columns);
    expect(data.catalogue.titles).toEqual(['Shoe', 'Hat']);
    expect(rows(data)).toHaveLength(3);
    expect(data.queries).toEqual([
      { text: 'red shoe', split: 'all', relevant: [0], gains: [1], user: 0, timeSeconds: 1 },
      { text: 'hat', split: 'all', relevant: [1], gains: [1], user: 1, timeSeconds: 4 },
    ]);
  });
});

describe('unusable input is DATASET_INVALID', () => {
  const cases: readonly (readonly [string, string | undefined, object])[] = [
    ['missing.csv', undefined, { path: 'missing.csv' }],
    ['empty.csv', '', { path: 'empty.csv' }],
    ['header-only.csv', 'user,item,time\n', { path: 'header-only.csv' }],
    [
      'columns.csv',
      'user,thing,time\n1,2,3\n',
      { found: ['user', 'thing', 'time'], wanted: ['user', 'item', 'time'] },
    ],
    ['semicolons.csv', 'user;item;time\n1;2;3\n', { found: ['user;item;time'] }],
    ['ragged.csv', 'user,item,time\n1,2,3\n1,2\n', { path: 'ragged.csv' }],
    ['no-time.csv', 'user,item,time\n1,2,3\n1,3,soon\n', { row: 1, fault: 'has no usable time' }],
    ['no-user.csv', 'user,item,time\n,2,3\n', { row: 0, fault: 'has no user' }],
    ['no-item.csv', 'user,item,time\n1,,3\n', { row: 0, fault: 'has no item' }],
    ['sheet.xlsx', 'x', { path: 'sheet.xlsx' }],
  ];
  test.each(cases)('%s', async (name, content, details) => {
    const path = content === undefined ? join(folder, name) : file(name, content);
    const wanted = 'path' in details ? { ...details, path } : details;
    await expect(readDataset(path)).rejects.toMatchObject({ code: 'DATASET_INVALID', details: wanted });
  });

  test('a folder without a known layout says which there are', async () => {
    await expect(readDataset(folder)).rejects.toMatchObject({
      code: 'DATASET_INVALID',
      details: { wanted: expect.arrayContaining([expect.stringContaining('ratings.csv')]) as unknown },
    });
  });

  test('an interaction with an item that the catalogue lacks names its row', async () => {
    const place = mkdtempSync(join(folder, 'films-'));
    writeFileSync(join(place, 'movies.csv'), 'movieId,title,genres\n1,"A, The",x\n');
    writeFileSync(join(place, 'ratings.csv'), 'userId,movieId,rating,timestamp\n1,1,3,5\n1,2,3,6\n');
    await expect(readDataset(place)).rejects.toMatchObject({
      code: 'DATASET_INVALID',
      details: { row: 1, fault: 'names an item that the catalogue lacks' },
    });
  });
});

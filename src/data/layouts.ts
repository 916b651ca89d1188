import { existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { WhittleError } from '../core/index.js';
import { createEmptyStaging } from './assemble.js';
import { loadTable, sqlText } from './duckdb.js';

/** A folder layout that is known by its files. */
export interface Layout {
  readonly name: string;
  /** What the folder must hold, for people. */
  readonly files: string;
  recognises(folder: string): boolean;
  /** Fills the staging tables of `assembleDataset`. */
  stage(connection: DuckDBConnection, folder: string): Promise<void>;
}

/** The file `name` in `folder`, plain or gzipped. */
function findFile(folder: string, name: string): string | undefined {
  return [name, `${name}.gz`].map((file) => join(folder, file)).find((path) => existsSync(path));
}

/** Path of a file that need not exist; reading it names it in the error. */
function fileIn(folder: string, name: string): string {
  return findFile(folder, name) ?? join(folder, name);
}

/** MovieLens: ratings as interactions, people's tags as queries for the film they were given to. */
const movieLens: Layout = {
  name: 'MovieLens',
  files: 'ratings.csv, movies.csv and, if there, tags.csv',
  recognises: (folder) => findFile(folder, 'ratings.csv') !== undefined,
  async stage(connection, folder) {
    await loadTable(connection, 'movies', fileIn(folder, 'movies.csv'), ['movieId', 'title', 'genres']);
    await loadTable(connection, 'ratings', fileIn(folder, 'ratings.csv'), [
      'userId',
      'movieId',
      'rating',
      'timestamp',
    ]);
    await createEmptyStaging(connection, 'judgments');
    await connection.run(`
      create table catalogue as select "row", movieId as id, title, genres from movies;
      create table events as select "row", userId as "user", movieId as item,
        try_cast(timestamp as double) as time_seconds, try_cast(rating as double) as value, null::text as basket
        from ratings`);
    const tags = findFile(folder, 'tags.csv');
    if (tags === undefined) return;
    await loadTable(connection, 'tags', tags, ['userId', 'movieId', 'tag', 'timestamp']);
    await connection.run(`
      insert into judgments select "row", "row"::text, trim(tag), 'all', movieId, 1, userId,
        try_cast(timestamp as double) from tags where trim(tag) <> ''`);
  },
};

/**
 * Online Retail: purchases of known customers, without returns (quantity 0 or less) and cancelled invoices (number
 * starts with C). A basket is the lines of an invoice with the same time. `isGoods` is 0 for codes such as POST, D
 * and M, which stand for charges; goods have codes that start with a digit. `price` is the median price.
 */
const onlineRetail: Layout = {
  name: 'Online Retail',
  files: 'events.tsv[.gz] and items.tsv[.gz]',
  recognises: (folder) => findFile(folder, 'events.tsv') !== undefined,
  async stage(connection, folder) {
    const wanted = ['invoice', 'stock', 'qty', 'unix', 'price', 'customer'];
    await loadTable(connection, 'lines', fileIn(folder, 'events.tsv'), wanted);
    await loadTable(connection, 'goods', fileIn(folder, 'items.tsv'), ['stock', 'description']);
    await createEmptyStaging(connection, 'judgments');
    await connection.run(`
      create table events as select "row", customer as "user", stock as item, try_cast(unix as double) as time_seconds,
        try_cast(qty as double) as value, invoice || ' ' || unix as basket, try_cast(price as double) as price
        from lines where customer <> '' and not starts_with(invoice, 'C') and coalesce(try_cast(qty as double) > 0, true);
      create table catalogue as
        select row_number() over (order by item) - 1 as "row", item as id, coalesce(any_value(description), item) as title,
          median(price) as price, regexp_matches(item, '^[0-9]')::integer as isGoods
        from events left join goods on goods.stock = events.item group by item`);
  },
};

/**
 * Search with judgments: corpus.jsonl, and for each part of the queries queries.<part>.tsv (id, text) and
 * qrels.<part>.tsv (query id, document id, gain), both without header. Parts keep the names of their files.
 */
const judgedSearch: Layout = {
  name: 'judged search',
  files: 'corpus.jsonl[.gz], queries.<part>.tsv and qrels.<part>.tsv',
  recognises: (folder) => findFile(folder, 'corpus.jsonl') !== undefined,
  async stage(connection, folder) {
    await loadTable(connection, 'corpus', fileIn(folder, 'corpus.jsonl'), ['_id', 'title', 'text']);
    await connection.run(
      'create table catalogue as select "row", _id::text as id, title::text as title, text::text as text from corpus',
    );
    await createEmptyStaging(connection, 'events');
    await createEmptyStaging(connection, 'judgments');
    for (const part of queryParts(folder)) await stagePart(connection, folder, part);
  },
};

function queryParts(folder: string): readonly string[] {
  const parts = readdirSync(folder)
    .map((file) => /^queries\.([^.]+)\.tsv(\.gz)?$/.exec(file)?.[1])
    .filter((part) => part !== undefined)
    .sort();
  if (parts.length === 0)
    throw new WhittleError('DATASET_INVALID', `${folder} has no queries.<part>.tsv`, { path: folder });
  return parts;
}

async function stagePart(connection: DuckDBConnection, folder: string, part: string): Promise<void> {
  const [queries, judged] = [`queries ${part}`, `judged ${part}`];
  const queryHeader = ['id', 'text'];
  const judgedHeader = ['query', 'item', 'gain'];
  await loadTable(connection, queries, fileIn(folder, `queries.${part}.tsv`), queryHeader, queryHeader);
  await loadTable(connection, judged, fileIn(folder, `qrels.${part}.tsv`), judgedHeader, judgedHeader);
  // A gain of 0 says that the document is not relevant, which is what a document without a judgment counts as too.
  await connection.run(`
    insert into judgments select j."row", ${sqlText(part)} || ' ' || j.query, q.text, ${sqlText(part)}, j.item,
      try_cast(j.gain as double), null, null
      from "${judged}" j left join "${queries}" q on q.id = j.query
      where coalesce(try_cast(j.gain as double) > 0, true)`);
}

const LAYOUTS: readonly Layout[] = [movieLens, onlineRetail, judgedSearch];

/** @throws DATASET_INVALID where the folder has none of the known layouts. */
export function recogniseLayout(folder: string): Layout {
  const layout = LAYOUTS.find((candidate) => candidate.recognises(folder));
  if (layout === undefined)
    throw new WhittleError('DATASET_INVALID', `${basename(folder)} has no known layout`, {
      path: folder,
      found: readdirSync(folder).slice(0, 20),
      wanted: LAYOUTS.map(({ name, files }) => `${name}: ${files}`),
    });
  return layout;
}

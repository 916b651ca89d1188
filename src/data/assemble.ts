import type { DuckDBConnection } from '@duckdb/node-api';
import { WhittleError } from '../core/index.js';
import type { Catalogue, Column, Dataset, Interactions, JudgedQuery } from './dataset.js';
import { queryColumns, sqlName } from './duckdb.js';

type Columns = Readonly<Record<string, readonly unknown[]>>;

/**
 * Turns staging tables into a data set:
 * - `catalogue` ("row", id, title, further columns): text and numbers,
 * - `events` ("row", user, item, time_seconds, value, basket),
 * - `judgments` ("row", query, text, split, item, gain, user, time_seconds): one row a judged item; rows of one
 *   `query` belong together.
 * Users are ordered by id, numbers by their value and before other ids.
 * @throws DATASET_INVALID where a row lacks a needed value or names an unknown item.
 */
export async function assembleDataset(
  connection: DuckDBConnection,
  name: string,
  path: string,
): Promise<Dataset> {
  await checkStaging(connection, path);
  await connection.run(`
    create table items as select id, row_number() over (order by "row") - 1 as index from catalogue;
    create table users as select id, row_number() over (order by try_cast(id as hugeint) nulls last, id) - 1 as index
      from (select distinct "user" as id from events)`);
  const users = await queryColumns(connection, 'select id from users order by index');
  return {
    name,
    catalogue: await readCatalogue(connection),
    users: texts(users['id']),
    interactions: await readEvents(connection),
    queries: await readJudgments(connection),
  };
}

/** What must not be, as queries for the rows where it is. */
const FAULTS: readonly { readonly what: string; readonly sql: string }[] = [
  { what: 'has an empty item id', sql: `select "row" from catalogue where id is null or id = ''` },
  {
    what: 'repeats an item id',
    sql: `select "row" from catalogue qualify row_number() over (partition by id order by "row") > 1`,
  },
  { what: 'has no user', sql: `select "row" from events where "user" is null or "user" = ''` },
  { what: 'has no item', sql: `select "row" from events where item is null or item = ''` },
  { what: 'has no usable time', sql: 'select "row" from events where time_seconds is null' },
  { what: 'has no usable value', sql: 'select "row" from events where value is null' },
  {
    what: 'names an item that the catalogue lacks',
    sql: 'select "row" from events where item not in (select id from catalogue)',
  },
  {
    what: 'judges an item that the catalogue lacks',
    sql: 'select "row" from judgments where item not in (select id from catalogue)',
  },
  { what: 'has no usable judgment', sql: 'select "row" from judgments where gain is null or text is null' },
];

async function checkStaging(connection: DuckDBConnection, path: string): Promise<void> {
  for (const { what, sql } of FAULTS) {
    const { first, rows } = await queryColumns(
      connection,
      `select min("row")::integer as first, count(*)::integer as rows from (${sql})`,
    );
    if (rows?.[0] !== 0)
      throw new WhittleError(
        'DATASET_INVALID',
        `${path}: row ${String(first?.[0])} (0 is the first under the header) ${what}`,
        { path, row: first?.[0], rows: rows?.[0], fault: what },
      );
  }
}

async function readCatalogue(connection: DuckDBConnection): Promise<Catalogue> {
  const table = await queryColumns(connection, 'select * exclude ("row") from catalogue order by "row"');
  const { id, title, ...others } = table;
  const columns: Record<string, Column> = {};
  for (const [name, values] of Object.entries(others)) columns[name] = toColumn(values);
  return { ids: texts(id), titles: texts(title), columns };
}

async function readEvents(connection: DuckDBConnection): Promise<Interactions> {
  const table = await queryColumns(
    connection,
    `select users.index::integer as user, items.index::integer as item, time_seconds, value::double as value,
       (dense_rank() over (order by basket) - 1)::integer as basket, bool_and(basket is not null) over () as baskets
     from events join users on users.id = events."user" join items on items.id = events.item
     order by users.index, time_seconds, events."row"`,
  );
  return {
    user: Int32Array.from(numbers(table['user'])),
    item: Int32Array.from(numbers(table['item'])),
    timeSeconds: Float64Array.from(numbers(table['time_seconds'])),
    value: Float32Array.from(numbers(table['value'])),
    ...(table['baskets']?.[0] === true && { basket: Int32Array.from(numbers(table['basket'])) }),
  };
}

async function readJudgments(connection: DuckDBConnection): Promise<readonly JudgedQuery[]> {
  const table = await queryColumns(
    connection,
    `select query, any_value(text) as text, any_value(split) as split, any_value(users.index)::integer as "user",
       any_value(time_seconds)::double as time, list(items.index::integer order by judgments."row") as relevant,
       list(gain::double order by judgments."row") as gains
     from judgments join items on items.id = judgments.item left join users on users.id = judgments."user"
     group by query order by min(judgments."row")`,
  );
  return (table['query'] ?? []).map((_, index) => judgedQuery(table, index));
}

function judgedQuery(table: Columns, index: number): JudgedQuery {
  const user = table['user']?.[index];
  const time = table['time']?.[index];
  return {
    text: String(table['text']?.[index]),
    split: String(table['split']?.[index]),
    relevant: numbers(table['relevant']?.[index] as readonly unknown[]),
    gains: numbers(table['gains']?.[index] as readonly unknown[]),
    ...(typeof user === 'number' && { user }),
    ...(typeof time === 'number' && { timeSeconds: time }),
  };
}

function texts(values: readonly unknown[] = []): readonly string[] {
  return values.map((value) => (typeof value === 'string' ? value : ''));
}

function numbers(values: readonly unknown[] = []): readonly number[] {
  return values.map(Number);
}

/** Numbers where all values are numbers (a missing one is NaN), else text (a missing one is empty). */
function toColumn(values: readonly unknown[]): Column {
  if (!values.every((value) => value === null || typeof value === 'number')) return texts(values);
  return Float64Array.from(values, (value) => value ?? NaN);
}

/** Creates the staging tables that a source does not fill. */
export async function createEmptyStaging(
  connection: DuckDBConnection,
  table: 'events' | 'judgments',
): Promise<void> {
  const columns = {
    events: '"row" bigint, "user" text, item text, time_seconds double, value double, basket text',
    judgments:
      '"row" bigint, query text, text text, split text, item text, gain double, "user" text, time_seconds double',
  };
  await connection.run(`create table ${sqlName(table)} (${columns[table]})`);
}

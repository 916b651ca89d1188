import { existsSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import {
  DOUBLE,
  DuckDBDataChunk,
  LIST,
  VARCHAR,
  listValue,
  type DuckDBConnection,
  type DuckDBType,
  type DuckDBValue,
} from '@duckdb/node-api';
import { assert, toWhittleError, WhittleError } from '../core/index.js';
import type { Column } from './dataset.js';
import { queryColumns, sqlName, sqlPath, sqlText, withDuckDb } from './duckdb.js';
import { readNumbers, readTexts } from './parquet-columns.js';

/** A table: columns of equal length by name. */
export type Table = Readonly<Record<string, Column>>;

/** A known user of a bundle. */
export interface UserHistory {
  readonly user: string;
  /** Item ids, oldest first. */
  readonly history: readonly string[];
}

/** Rows that DuckDB takes at once. */
const CHUNK_ROWS = 2048;

interface WrittenColumn {
  readonly name: string;
  readonly type: DuckDBType;
  /** Values of the rows `start` to `end`. */
  values(start: number, end: number): readonly DuckDBValue[];
}

/** Writes columns as a Parquet file (zstd): text as VARCHAR, numbers as DOUBLE. Equal input gives equal bytes. */
export async function writeItems(path: string, columns: Table): Promise<void> {
  const rows = Object.values(columns)[0]?.length ?? 0;
  for (const [name, column] of Object.entries(columns))
    assert(column.length === rows, `column ${name} has ${column.length} rows, others ${rows}`);
  const written = Object.entries(columns).map(([name, column]): WrittenColumn => ({
    name,
    type: column instanceof Float64Array ? DOUBLE : VARCHAR,
    values: (start, end) => [...column.slice(start, end)],
  }));
  await writeParquet(path, rows, written);
}

/**
 * Reads a Parquet file in row order. Numbers of any width become doubles, everything else text; a missing number is
 * NaN, a missing text is empty. The columns `asText` are text whatever their type, which keeps long numeric ids exact.
 * @throws FILE_MISSING, FILE_CORRUPT (not Parquet, or without one of `asText`); INPUT_TOO_LARGE for a column of more than
 *   2 GiB of text, which a small file can stand for.
 */
export async function readItems(path: string, asText: readonly string[] = []): Promise<Table> {
  return readParquet(path, async (connection, source) => {
    const described = await queryColumns(connection, `describe select * from ${source}`);
    const names = (described['column_name'] ?? []).map(String);
    const missing = asText.filter((name) => !names.includes(name));
    if (missing.length > 0)
      throw new WhittleError('FILE_CORRUPT', `${path} lacks the column ${missing.join(', ')}`, {
        path,
        found: names,
        wanted: asText,
      });
    const isText = (name: string): boolean =>
      asText.includes(name) || !isNumeric(String(described['column_type']?.[names.indexOf(name)]));
    const texts = await readTexts(connection, path, source, names.filter(isText));
    const numbers = await readNumbers(
      connection,
      source,
      names.filter((name) => !isText(name)),
    );
    return Object.fromEntries(names.map((name) => [name, texts.get(name) ?? numbers.get(name) ?? []]));
  });
}

/** Whether a DuckDB type holds numbers. */
export function isNumeric(type: string): boolean {
  return /^(U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL)/.test(type);
}

/** Writes users and their histories as a Parquet file (zstd). Equal input gives equal bytes. */
export async function writeUsers(path: string, users: readonly UserHistory[]): Promise<void> {
  await writeParquet(path, users.length, [
    { name: 'user', type: VARCHAR, values: (start, end) => users.slice(start, end).map(({ user }) => user) },
    {
      name: 'history',
      type: LIST(VARCHAR),
      values: (start, end) => users.slice(start, end).map(({ history }) => listValue(history)),
    },
  ]);
}

/**
 * Reads what {@link writeUsers} wrote, in the same order.
 * @throws FILE_MISSING, FILE_CORRUPT.
 */
export async function readUsers(path: string): Promise<readonly UserHistory[]> {
  return readParquet(path, async (connection, source) => {
    // A history as one text is read in a fraction of the time of its items; between chunks the event loop turns.
    const result = await connection.run(
      `select "user"::text as user, to_json(history::text[])::text as history from ${source}`,
    );
    const users: UserHistory[] = [];
    for await (const rows of result.yieldRowsJs()) {
      for (const [user, history] of rows as unknown as readonly (readonly [string, string])[])
        users.push({ user, history: JSON.parse(history) as readonly string[] });
      await turn();
    }
    return users;
  });
}

async function writeParquet(path: string, rows: number, columns: readonly WrittenColumn[]): Promise<void> {
  await withDuckDb(async (connection) => {
    const fields = columns.map(({ name, type }) => `${sqlName(name)} ${type.toString()}`);
    await connection.run(`create table written (${fields.join(', ')})`);
    const appender = await connection.createAppender('written');
    for (let start = 0; start < rows; start += CHUNK_ROWS) {
      const end = Math.min(start + CHUNK_ROWS, rows);
      const chunk = DuckDBDataChunk.create(
        columns.map(({ type }) => type),
        end - start,
      );
      columns.forEach((column, index) => {
        chunk.setColumnValues(index, column.values(start, end));
      });
      appender.appendDataChunk(chunk);
    }
    appender.closeSync();
    await connection.run(`copy written to ${sqlText(path)} (format parquet, compression zstd)`);
  });
}

async function readParquet<T>(
  path: string,
  read: (connection: DuckDBConnection, source: string) => Promise<T>,
): Promise<T> {
  if (!existsSync(path)) throw new WhittleError('FILE_MISSING', `${path} does not exist`, { path });
  try {
    return await withDuckDb((connection) => read(connection, `read_parquet(${sqlPath(path)})`));
  } catch (error) {
    throw toWhittleError(error, 'FILE_CORRUPT');
  }
}

import type { DuckDBConnection } from '@duckdb/node-api';
import { WhittleError } from '../core/index.js';
import type { Column } from './dataset.js';
import { describeFile, queryColumns, reading, sqlName, withDuckDb, type TableFile } from './duckdb.js';
import { isNumeric, type Table } from './parquet.js';

/** Names of a table file's columns, in its order. @throws DATASET_INVALID for a missing or unreadable file. */
export async function readColumnNames(path: string): Promise<readonly string[]> {
  const { columns } = await withDuckDb((connection) => describeFile(connection, path));
  return columns.map(({ name }) => name);
}

/**
 * Reads any table file (csv, tsv, jsonl, each also .gz, or parquet) in row order. A column is numbers where its type
 * is a number or all its texts are (a missing one is NaN), else text (a missing one is empty). Lists and structures are
 * left out.
 *
 * @param asText Columns that stay text whatever they hold, which keeps ids such as 007 as they are.
 * @throws DATASET_INVALID for a missing, unreadable or empty file.
 */
export async function readTable(path: string, asText: readonly string[]): Promise<Table> {
  return withDuckDb(async (connection) => {
    const file = await describeFile(connection, path);
    const numeric = await numericColumns(connection, path, file);
    const read = file.columns
      .filter(({ type }) => !isNested(type))
      .map(({ name }) => ({ name, isNumber: numeric.has(name) && !asText.includes(name) }));
    const selected = read.map(({ name, isNumber }) =>
      isNumber
        ? `coalesce(try_cast(${sqlName(name)} as double), 'nan'::double)`
        : `coalesce(${sqlName(name)}::text, '')`,
    );
    const reader = await reading(path, () =>
      connection.runAndReadAll(`select ${selected.join(', ')} from ${file.source}`),
    );
    const values = reader.getColumnsJS();
    if ((values[0]?.length ?? 0) === 0)
      throw new WhittleError('DATASET_INVALID', `${path} has no rows`, { path });
    return Object.fromEntries(
      read.map(({ name, isNumber }, index): [string, Column] => {
        const column = values[index] ?? [];
        return [name, isNumber ? Float64Array.from(column as number[]) : (column as string[])];
      }),
    );
  });
}

/** Columns of a number type, and text columns in which every value that is there is a number. */
async function numericColumns(
  connection: DuckDBConnection,
  path: string,
  { source, columns }: TableFile,
): Promise<ReadonlySet<string>> {
  const numeric = new Set(columns.filter(({ type }) => isNumeric(type)).map(({ name }) => name));
  const texts = columns.filter(({ type }) => type === 'VARCHAR').map(({ name }) => name);
  if (texts.length === 0) return numeric;
  const tests = texts.map((name) => {
    const value = `nullif(${sqlName(name)}, '')`;
    return `count(${value}) > 0 and count(${value}) = count(try_cast(${value} as double))`;
  });
  const sql = `select ${tests.map((test, index) => `${test} as "${index}"`).join(', ')} from ${source}`;
  const found = await reading(path, () => queryColumns(connection, sql));
  texts.forEach((name, index) => {
    if (found[String(index)]?.[0] === true) numeric.add(name);
  });
  return numeric;
}

function isNested(type: string): boolean {
  return /\]$|^(STRUCT|MAP|UNION)/.test(type);
}

import { existsSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { WhittleError } from '../core/index.js';
import { assembleDataset, createEmptyStaging } from './assemble.js';
import type { Dataset } from './dataset.js';
import { loadTable, sqlName, withDuckDb } from './duckdb.js';
import { recogniseLayout } from './layouts.js';

/** Names of the columns of one file of interactions. */
export interface ColumnMapping {
  readonly user: string;
  readonly item: string;
  /** Unix seconds, Unix milliseconds (numbers above 10^11) or an ISO 8601 date and time (UTC where it names no zone). */
  readonly time: string;
  /** Strength of the interaction. Absent, it is 1. */
  readonly rating?: string;
  /** Strength of the interaction; rows with 0 or less are returns and left out. Not together with `rating`. */
  readonly quantity?: string;
  /** What the user searched for; the row's item is judged relevant to it. */
  readonly query?: string;
  /** Title of the row's item; an item has the first one. */
  readonly text?: string;
}

const DEFAULT_MAPPING: ColumnMapping = { user: 'user', item: 'item', time: 'time' };

/**
 * Reads a data set: a folder in a known layout (MovieLens, Online Retail, judged search), or one file of interactions
 * (csv, tsv, jsonl, each also .gz, or parquet) with its columns named by `mapping`.
 * @throws DATASET_INVALID naming the file, the columns found and wanted, or the first unusable row.
 */
export async function readDataset(path: string, mapping: ColumnMapping = DEFAULT_MAPPING): Promise<Dataset> {
  const name = basename(path).replace(/\..*$/, '');
  const isFolder = existsSync(path) && statSync(path).isDirectory();
  const layout = isFolder ? recogniseLayout(path) : undefined;
  return withDuckDb(async (connection) => {
    await (layout === undefined ? stageFile(connection, path, mapping) : layout.stage(connection, path));
    return assembleDataset(connection, name, path);
  });
}

async function stageFile(connection: DuckDBConnection, path: string, mapping: ColumnMapping): Promise<void> {
  if (mapping.rating !== undefined && mapping.quantity !== undefined)
    throw new WhittleError('DATASET_INVALID', 'The mapping names both a rating and a quantity', { mapping });
  await loadTable(connection, 'file', path, [...new Set(Object.values(mapping) as string[])]);
  const text = (column: string): string => `${sqlName(column)}::text`;
  const strength = mapping.rating ?? mapping.quantity;
  const value = strength === undefined ? '1.0' : `try_cast(${text(strength)} as double)`;
  const kept = mapping.quantity === undefined ? 'true' : `coalesce(${value} > 0, true)`;
  const title = mapping.text === undefined ? 'null::text' : `nullif(${text(mapping.text)}, '')`;
  const query = mapping.query === undefined ? 'null::text' : `trim(${text(mapping.query)})`;
  await createEmptyStaging(connection, 'judgments');
  await connection.run(`
    set timezone = 'UTC';
    create table events as select "row", ${text(mapping.user)} as "user", ${text(mapping.item)} as item,
      ${timeExpression(text(mapping.time))} as time_seconds, ${value} as value, null::text as basket, ${title} as title,
      ${query} as query
      from file where ${kept};
    create table catalogue as
      select row_number() over (order by try_cast(item as hugeint) nulls last, item) - 1 as "row", item as id,
        coalesce(arg_min(title, "row"), item) as title from events where item <> '' group by item`);
  await connection.run(`
    insert into judgments select "row", "row"::text, query, 'all', item, 1, "user", time_seconds
      from events where query <> ''`);
}

function timeExpression(time: string): string {
  const seconds = `try_cast(${time} as double)`;
  const unix = `if(abs(${seconds}) > 1e11, ${seconds} / 1000, ${seconds})`;
  return `coalesce(${unix}, epoch(try_cast(${time} as timestamptz)))`;
}

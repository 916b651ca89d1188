import { existsSync, statSync } from 'node:fs';
import { extname } from 'node:path';
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api';
import { WhittleError } from '../core/index.js';

/**
 * Runs `use` on a fresh in-memory DuckDB and closes it. One thread, so that rows keep the order of the file and
 * written files are the same bytes each time.
 */
export async function withDuckDb<T>(use: (connection: DuckDBConnection) => Promise<T>): Promise<T> {
  const instance = await DuckDBInstance.create(':memory:', { threads: '1' });
  const connection = await instance.connect();
  try {
    return await use(connection);
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

/** `text` as an SQL string. */
export function sqlText(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** `name` as an SQL identifier. */
export function sqlName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A path as an SQL string, with the characters that DuckDB would take for a file pattern escaped. */
export function sqlPath(path: string): string {
  return sqlText(path.replaceAll(/[[*?]/g, '[$&]'));
}

/** Extension without `.gz`, in lower case: `events.tsv.gz` → `.tsv`. */
function formatOf(path: string): string {
  const plain = path.toLowerCase().replace(/\.gz$/, '');
  return extname(plain);
}

/** How a headerless file's columns are called; absent where the first line names them. */
export type Header = readonly string[] | undefined;

function csvSource(path: string, delimiter: string, header: Header): string {
  const names =
    header === undefined
      ? 'header = true'
      : `header = false, names = [${header.map((name) => sqlText(name)).join(', ')}]`;
  // A field of a CSV file may be quoted (RFC 4180), one of a TSV file never is. Nothing is left to be guessed.
  const quote = delimiter === ',' ? '"' : '';
  const dialect = `delim = ${sqlText(delimiter)}, quote = '${quote}', escape = '${quote}', comment = '', skip = 0`;
  return `read_csv(${sqlPath(path)}, ${dialect}, ${names}, all_varchar = true)`;
}

/** The table function that reads `path` by its extension: csv, tsv, jsonl, ndjson (each also .gz) or parquet. */
function tableSource(path: string, header?: Header): string {
  switch (formatOf(path)) {
    case '.csv':
      return csvSource(path, ',', header);
    case '.tsv':
      return csvSource(path, '\t', header);
    case '.jsonl':
    case '.ndjson':
      return `read_json(${sqlPath(path)}, format = 'newline_delimited', sample_size = -1)`;
    case '.parquet':
      return `read_parquet(${sqlPath(path)})`;
    default:
      throw new WhittleError('DATASET_INVALID', `${path} has no format that can be read`, {
        path,
        allowed: ['.csv', '.tsv', '.jsonl', '.ndjson', '.parquet', 'each text format also with .gz'],
      });
  }
}

/** @throws DATASET_INVALID where `path` is missing, a folder or empty. */
function requireFile(path: string): void {
  if (!existsSync(path)) throw new WhittleError('DATASET_INVALID', `${path} does not exist`, { path });
  const stats = statSync(path);
  if (stats.isDirectory()) throw new WhittleError('DATASET_INVALID', `${path} is a folder`, { path });
  if (stats.size === 0) throw new WhittleError('DATASET_INVALID', `${path} is empty`, { path });
}

/** Rows of a query by column name, converted in bulk. */
export async function queryColumns(
  connection: DuckDBConnection,
  sql: string,
): Promise<Readonly<Record<string, readonly unknown[]>>> {
  const reader = await connection.runAndReadAll(sql);
  return reader.getColumnsObjectJS();
}

/**
 * Loads a file as the table `name`, whose column `row` is the line's 0-based number. Text formats give text columns.
 * @throws DATASET_INVALID for a missing or unreadable file, a missing column, or a file without rows.
 */
export async function loadTable(
  connection: DuckDBConnection,
  name: string,
  path: string,
  wanted: readonly string[],
  header?: Header,
): Promise<void> {
  requireFile(path);
  const source = tableSource(path, header);
  const found = await describeColumns(connection, path, source);
  const missing = wanted.filter((column) => !found.includes(column));
  if (missing.length > 0)
    throw new WhittleError('DATASET_INVALID', `${path} lacks the column ${missing.join(', ')}`, {
      path,
      found,
      wanted,
    });
  const columns = wanted.map((column) => sqlName(column)).join(', ');
  await reading(path, () =>
    connection.run(
      `create table ${sqlName(name)} as select row_number() over () - 1 as "row", ${columns} from ${source}`,
    ),
  );
  const { rows } = await queryColumns(connection, `select count(*)::integer as rows from ${sqlName(name)}`);
  if (rows?.[0] === 0)
    throw new WhittleError('DATASET_INVALID', `${path} has no rows`, { path, found, wanted });
}

/** A file that can be selected from. */
export interface TableFile {
  /** What stands behind `from`. */
  readonly source: string;
  /** In the order of the file; text formats have VARCHAR columns. */
  readonly columns: readonly { readonly name: string; readonly type: string }[];
}

/** Looks at a file without loading it. @throws DATASET_INVALID for a missing or unreadable file. */
export async function describeFile(connection: DuckDBConnection, path: string): Promise<TableFile> {
  requireFile(path);
  const source = tableSource(path);
  const described = await reading(path, () => queryColumns(connection, `describe select * from ${source}`));
  const types = described['column_type'] ?? [];
  const columns = (described['column_name'] ?? []).map((name, index) => ({
    name: String(name),
    type: String(types[index]),
  }));
  return { source, columns };
}

async function describeColumns(
  connection: DuckDBConnection,
  path: string,
  source: string,
): Promise<readonly string[]> {
  const described = await reading(path, () => queryColumns(connection, `describe select * from ${source}`));
  return (described['column_name'] ?? []).map(String);
}

/** Runs `read` on a file. @throws DATASET_INVALID with DuckDB's reason where it fails. */
export async function reading<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    // The first line says what is wrong; the rest is about DuckDB's options.
    const reason = (error instanceof Error ? error.message : String(error)).split('\n', 1).join('');
    throw new WhittleError('DATASET_INVALID', `${path} cannot be read: ${reason}`, { path, reason }, error);
  }
}

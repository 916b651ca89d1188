import { WhittleError } from '../core/index.js';
import { describeFile, queryColumns, reading, sqlName, withDuckDb } from './duckdb.js';

/** Rows of a table file with whatever its cells hold. */
export interface RequestRows {
  /**
   * Cells by column, in the order of the file: numbers, big integers, booleans, texts, nested lists of these, or null.
   * Text formats have texts.
   */
  readonly columns: Readonly<Record<string, readonly unknown[]>>;
  /** Rows that were read. */
  readonly rows: number;
  /** Rows that the file has. */
  readonly totalRows: number;
}

/**
 * Reads the first `limit` rows of a table file (csv, tsv, jsonl, each also .gz, or parquet).
 * @throws DATASET_INVALID for a missing, unreadable or empty file.
 */
export async function readRequestRows(path: string, limit: number): Promise<RequestRows> {
  return withDuckDb(async (connection) => {
    const { source, columns } = await describeFile(connection, path);
    const names = columns.map(({ name }) => sqlName(name)).join(', ');
    const [cells, counts] = await reading(path, async () => [
      await queryColumns(connection, `select ${names} from ${source} limit ${limit}`),
      await queryColumns(connection, `select count(*)::integer as rows from ${source}`),
    ]);
    const rows = Object.values(cells)[0]?.length ?? 0;
    if (rows === 0) throw new WhittleError('DATASET_INVALID', `${path} has no rows`, { path });
    return { columns: cells, rows, totalRows: Number(counts['rows']?.[0]) };
  });
}

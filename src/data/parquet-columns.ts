import type { DuckDBConnection } from '@duckdb/node-api';
import { WhittleError } from '../core/index.js';
import { queryColumns, sqlName } from './duckdb.js';

/** A control character that stands between the values of a joined column; text rarely holds it. */
const SEPARATOR_CODE = 31;
const SEPARATOR = String.fromCharCode(SEPARATOR_CODE);
/** Half of the longest string that JavaScript has. */
const MAX_JOINED_BYTES = 2 ** 28;
const MAX_TEXT_BYTES = 2 ** 31;

/** Number columns as doubles, a missing one as NaN. */
export async function readNumbers(
  connection: DuckDBConnection,
  source: string,
  names: readonly string[],
): Promise<ReadonlyMap<string, Float64Array>> {
  const select = (name: string): string => `coalesce(${sqlName(name)}::double, 'nan'::double)`;
  const columns = await readColumns(connection, source, names.map(select));
  return new Map(
    names.map((name, index) => [name, Float64Array.from((columns[index] ?? []) as readonly number[])]),
  );
}

/**
 * Columns as text, a missing one empty. A column comes as one joined text and is split here, which takes a third of the
 * time of asking for each value; one that holds the separator, or is too long for a string, value by value.
 * @throws INPUT_TOO_LARGE before anything is read.
 */
export async function readTexts(
  connection: DuckDBConnection,
  path: string,
  source: string,
  names: readonly string[],
): Promise<ReadonlyMap<string, readonly string[]>> {
  const texts = new Map<string, readonly string[]>();
  for (const name of names) {
    const text = `coalesce(${sqlName(name)}::text, '')`;
    const { rows, bytes, separated } = await measure(connection, source, text);
    if (bytes > MAX_TEXT_BYTES) throw tooLarge(path, name, bytes);
    const joinable = rows > 0 && !separated && bytes + rows < MAX_JOINED_BYTES;
    const select = joinable ? `string_agg(${text}, chr(${SEPARATOR_CODE}))` : text;
    const [values = []] = (await readColumns(connection, source, [select])) as string[][];
    texts.set(name, joinable ? (values[0] ?? '').split(SEPARATOR) : values);
  }
  return texts;
}

async function measure(
  connection: DuckDBConnection,
  source: string,
  text: string,
): Promise<{ readonly rows: number; readonly bytes: number; readonly separated: boolean }> {
  const { rows, bytes, separated } = await queryColumns(
    connection,
    `select count(*)::double as rows, coalesce(sum(strlen(${text})), 0)::double as bytes,
      coalesce(bool_or(contains(${text}, chr(${SEPARATOR_CODE}))), false) as separated from ${source}`,
  );
  return { rows: Number(rows?.[0]), bytes: Number(bytes?.[0]), separated: separated?.[0] === true };
}

async function readColumns(
  connection: DuckDBConnection,
  source: string,
  selected: readonly string[],
): Promise<readonly (readonly unknown[])[]> {
  if (selected.length === 0) return [];
  const reader = await connection.runAndReadAll(`select ${selected.join(', ')} from ${source}`);
  const columns = reader.getColumnsJS();
  // A table without rows gives no columns at all.
  return selected.map((_, index) => columns[index] ?? []);
}

function tooLarge(path: string, column: string, bytes: number): WhittleError {
  return new WhittleError(
    'INPUT_TOO_LARGE',
    `${path}: column ${column} holds ${bytes} bytes of text; at most ${MAX_TEXT_BYTES} are read`,
    { path, field: column, value: bytes, allowed: MAX_TEXT_BYTES },
  );
}

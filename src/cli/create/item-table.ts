import { must, WhittleError } from '../../core/index.js';
import { readColumnNames, readTable, type Table } from '../../data/index.js';
import { plainName } from './input-names.js';

/** The items of a bundle that is made. */
export interface ItemTable {
  readonly columns: Table;
  readonly rows: number;
  readonly idColumn: string;
  readonly titleColumn?: string;
  /** Columns that the text index covers, the title first. */
  readonly textColumns: readonly string[];
  readonly numberColumns: readonly string[];
}

export interface ItemTableOptions {
  readonly idColumn?: string;
  readonly titleColumn?: string;
  readonly textColumns?: readonly string[];
}

/** Names of columns, in the order in which they are looked for; case and separators do not count. */
const ID_NAMES = [
  'id',
  'itemid',
  'productid',
  'docid',
  'documentid',
  'movieid',
  'articleid',
  'sku',
  'asin',
  'item',
];
const TITLE_NAMES = ['title', 'name', 'itemname', 'productname'];
const TEXT_NAMES = ['text', 'description', 'body', 'abstract', 'summary', 'content'];

/**
 * Reads the catalogue. Columns that no option names are known by their names.
 * @throws USAGE_INVALID where there is no id column or an option names none of the columns; DATASET_INVALID for a file
 *   that cannot be read, or the first row whose id is empty or stood before.
 */
export async function readItemTable(path: string, options: ItemTableOptions): Promise<ItemTable> {
  const roles = rolesOf(await readColumnNames(path), path, options);
  const { idColumn, titleColumn, textColumns } = roles;
  const texts = [idColumn, ...textColumns, ...(titleColumn === undefined ? [] : [titleColumn])];
  const columns = await readTable(path, texts);
  const ids = must(columns[idColumn], 'ids') as readonly string[];
  checkIds(path, idColumn, ids);
  const numberColumns = Object.keys(columns).filter((name) => columns[name] instanceof Float64Array);
  return { columns, rows: ids.length, ...roles, numberColumns };
}

/** Items that are known by their vectors alone: ids are row numbers. */
export function numberedItems(rows: number): ItemTable {
  const ids = Array.from({ length: rows }, (_, row) => String(row));
  return { columns: { id: ids }, rows, idColumn: 'id', textColumns: [], numberColumns: [] };
}

type Roles = Pick<ItemTable, 'idColumn' | 'titleColumn' | 'textColumns'>;

function rolesOf(names: readonly string[], path: string, options: ItemTableOptions): Roles {
  const idColumn = chosenColumn('id-column', options.idColumn, names, path) ?? named(names, ID_NAMES);
  if (idColumn === undefined)
    throw new WhittleError(
      'USAGE_INVALID',
      `${path} has no column that is known as the id; say which with --id-column: ${names.join(', ')}`,
      { field: 'id-column', allowed: names },
    );
  const titleColumn =
    chosenColumn('title-column', options.titleColumn, names, path) ?? named(names, TITLE_NAMES);
  const title = titleColumn === undefined ? [] : [titleColumn];
  const texts =
    options.textColumns?.map((column) => chosenColumn('text-columns', column, names, path) ?? column) ??
    names.filter((name) => TEXT_NAMES.includes(plainName(name)));
  const textColumns = [...new Set([...title, ...texts])];
  return { idColumn, textColumns, ...(titleColumn === undefined ? {} : { titleColumn }) };
}

/** The column that an option names. @throws USAGE_INVALID where there is none. */
function chosenColumn(
  option: string,
  column: string | undefined,
  names: readonly string[],
  path: string,
): string | undefined {
  if (column === undefined || names.includes(column)) return column;
  throw new WhittleError(
    'USAGE_INVALID',
    `--${option} ${column}: ${path} has no such column; it has ${names.join(', ')}`,
    { field: option, value: column, allowed: names },
  );
}

function named(names: readonly string[], known: readonly string[]): string | undefined {
  for (const plain of known) {
    const found = names.find((name) => plainName(name) === plain);
    if (found !== undefined) return found;
  }
  return undefined;
}

function checkIds(path: string, column: string, ids: readonly string[]): void {
  const seen = new Set<string>();
  for (const [row, id] of ids.entries()) {
    const fault = id === '' ? 'is empty' : seen.has(id) ? `${id} stood before` : undefined;
    if (fault !== undefined)
      throw new WhittleError(
        'DATASET_INVALID',
        `${path}: row ${row} (0 is the first under the header): ${column} ${fault}`,
        { path, row, field: column, value: id, allowed: 'an id of its own for each item' },
      );
    seen.add(id);
  }
}

/**
 * Checks that a column that feeds a model has a number in every row.
 * @throws DATASET_INVALID naming the first row without.
 */
export function checkNumbers({ columns }: ItemTable, column: string, input: string): void {
  const values = must(columns[column], column) as Float64Array;
  const row = values.findIndex((value) => !Number.isFinite(value));
  if (row < 0) return;
  throw new WhittleError(
    'DATASET_INVALID',
    `Column ${column}, which feeds input ${input}, has no number in row ${row} (0 is the first): fill it, or bind the input to something else`,
    { field: column, row, input },
  );
}

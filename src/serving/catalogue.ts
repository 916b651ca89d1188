import { join } from 'node:path';
import { must, WhittleError, type BundleManifest } from '../core/index.js';
import { readItems } from '../data/index.js';

/** The items of a bundle in memory. A **row** is an item's 0-based position. */
export interface Catalogue {
  readonly rows: number;
  readonly ids: readonly string[];
  readonly titles: readonly string[] | undefined;
  rowOf(id: string): number | undefined;
  /** Rows by falling popularity (ties: lower row first); undefined where the bundle names no popularity. */
  readonly popularRows: Int32Array | undefined;
  /** A number column. @throws BUNDLE_INVALID where there is none of that name, or a row has no finite number in it. */
  numbers(column: string): Float64Array;
}

/**
 * Reads the catalogue of a bundle.
 * @throws FILE_CORRUPT, BUNDLE_INVALID where a named column is missing, ids repeat or the number of rows differs.
 */
export async function openCatalogue(directory: string, manifest: BundleManifest): Promise<Catalogue> {
  const { file, idColumn, titleColumn, popularityColumn, rows } = manifest.catalogue;
  const columns = await readItems(
    join(directory, file),
    titleColumn === undefined ? [idColumn] : [idColumn, titleColumn],
  );
  const texts = (name: string): readonly string[] => {
    const column = columns[name];
    if (column === undefined) throw missingColumn(file, name, Object.keys(columns));
    return column instanceof Float64Array ? Array.from(column, String) : column;
  };
  const numbers = (name: string): Float64Array => {
    const column = columns[name];
    if (!(column instanceof Float64Array)) throw missingColumn(file, name, Object.keys(columns));
    checkFinite(file, name, column);
    return column;
  };
  const ids = texts(idColumn);
  const rowById = new Map<string, number>();
  for (const [row, id] of ids.entries()) rowById.set(id, row);
  if (ids.length !== rows || rowById.size !== rows) {
    throw new WhittleError(
      'BUNDLE_INVALID',
      `${file} holds ${ids.length} rows and ${rowById.size} ids, bundle.json says ${rows}`,
      {
        file,
        expected: rows,
        found: { rows: ids.length, ids: rowById.size },
      },
    );
  }
  return {
    rows,
    ids,
    titles: titleColumn === undefined ? undefined : texts(titleColumn),
    rowOf: (id) => rowById.get(id),
    popularRows: popularityColumn === undefined ? undefined : descending(numbers(popularityColumn)),
    numbers,
  };
}

/** A missing number is NaN here, and would make every score of its item NaN. */
function checkFinite(file: string, column: string, values: Float64Array): void {
  const row = values.findIndex((value) => !Number.isFinite(value));
  if (row === -1) return;
  throw new WhittleError('BUNDLE_INVALID', `${file}: column ${column} has no finite number in row ${row}`, {
    file,
    field: column,
    row,
    allowed: 'a finite number in every row',
  });
}

function missingColumn(file: string, column: string, columns: readonly string[]): WhittleError {
  return new WhittleError(
    'BUNDLE_INVALID',
    `${file} has no fitting column ${column}; it has ${columns.join(', ')}`,
    {
      file,
      field: column,
      allowed: columns,
    },
  );
}

function descending(values: Float64Array): Int32Array {
  const rows = Int32Array.from(values.keys());
  return rows.sort((a, b) => must(values[b], 'value') - must(values[a], 'value') || a - b);
}

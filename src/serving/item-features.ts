import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { must, WhittleError, type InputBinding } from '../core/index.js';
import type { ItemFeatures } from './binding.js';
import type { Catalogue } from './catalogue.js';

/**
 * Reads a raw little-endian float32 matrix `[rows, dimensions]`.
 * @throws FILE_MISSING, FILE_CORRUPT where the size differs.
 */
export async function readVectors(path: string, rows: number, dimensions: number): Promise<Float32Array> {
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new WhittleError('FILE_MISSING', `The vector file ${path} cannot be read`, { path }, cause);
  });
  const expected = rows * dimensions * Float32Array.BYTES_PER_ELEMENT;
  if (bytes.byteLength !== expected) {
    throw new WhittleError(
      'FILE_CORRUPT',
      `${path} has ${bytes.byteLength} bytes; ${rows} × ${dimensions} float32 take ${expected}`,
      {
        path,
        expected,
        found: bytes.byteLength,
      },
    );
  }
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}

/** Loads the columns and vectors that the contract's per-candidate inputs read. */
export async function openItemFeatures(
  directory: string,
  bindings: readonly InputBinding[],
  catalogue: Catalogue,
): Promise<ItemFeatures> {
  const tables = new Map<string, { values: Float32Array; width: number }>();
  for (const { name, source } of bindings) {
    if (source.from === 'column') {
      tables.set(name, { values: Float32Array.from(catalogue.numbers(source.column)), width: 1 });
    } else if (source.from === 'vectors') {
      const values = await readVectors(join(directory, source.file), catalogue.rows, source.dimensions);
      tables.set(name, { values, width: source.dimensions });
    }
  }
  return { table: (binding) => must(tables.get(binding.name), `table of input ${binding.name}`) };
}

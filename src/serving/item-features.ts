import { join } from 'node:path';
import { must, type InputBinding } from '../core/index.js';
import { readVectors } from '../retrieval/index.js';
import type { ItemFeatures } from './binding.js';
import type { Catalogue } from './catalogue.js';

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

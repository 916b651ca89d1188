import { join } from 'node:path';
import { WhittleError } from '../core/index.js';
import type { IndexSpec, OpenSession } from '../core/index.js';
import { readVectors } from './files.js';
import { openFlatIndex, openFlatModel } from './flat-index.js';
import { loadHnswIndex } from './hnsw-index.js';
import type { VectorIndex } from './vector-index.js';

/**
 * Opens the index that a bundle describes: `hnsw` from its file; `flat` from its model where `file` names one, else over
 * the vectors themselves.
 * @param directory The bundle's folder, which paths in `spec` are relative to.
 * @param rows Number of items in the catalogue, which the index must have too.
 * @throws PACKAGE_MISSING (hnswlib-node; use `{...spec, kind: 'flat'}` without a file), FILE_MISSING, FILE_CORRUPT,
 *   BUNDLE_INVALID, MODEL_INVALID.
 */
export async function openVectorIndex(
  spec: IndexSpec,
  directory: string,
  rows: number,
  openSession: OpenSession,
): Promise<VectorIndex> {
  const { dimensions, metric, efSearch, space } = spec;
  const shape = { size: rows, dimensions };
  const file = spec.file === undefined ? undefined : join(directory, spec.file);
  if (spec.kind === 'hnsw') {
    if (file === undefined)
      throw new WhittleError('BUNDLE_INVALID', 'An index of kind hnsw needs a file', { field: 'index.file' });
    const given = {
      ...(efSearch === undefined ? {} : { efSearch }),
      ...(space === undefined ? {} : { space }),
    };
    return loadHnswIndex(file, { ...shape, metric, ...given });
  }
  if (file !== undefined) return openFlatModel(file, shape, openSession);
  return openFlatIndex(
    await readVectors(join(directory, spec.vectors), rows, dimensions),
    dimensions,
    metric,
    openSession,
  );
}

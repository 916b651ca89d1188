import { basename } from 'node:path';
import { requestFeeds } from '../../compression/index.js';
import type { TensorMap } from '../../core/index.js';
import { readRequestRows } from '../../data/index.js';
import type { Model } from '../../onnx/index.js';
import type { Output } from '../output.js';

/** More requests than this hardly change what a pass learns, but take long. */
const MAX_ROWS = 4096;

/**
 * Feeds of the first 4096 requests of a table file; with a note where it has more.
 * @throws DATASET_INVALID where the file cannot be read or does not match the model's inputs.
 */
export async function calibrationFile(
  model: Model,
  path: string,
  output: Output,
): Promise<readonly TensorMap[]> {
  const { columns, rows, totalRows } = await readRequestRows(path, MAX_ROWS);
  if (rows < totalRows) output.note(`${path}: the first ${rows} of ${totalRows} rows are used`);
  return requestFeeds(model, columns, basename(path));
}

import { readCalibration } from '../../compression/index.js';
import type { TensorMap } from '../../core/index.js';
import type { Model } from '../../onnx/index.js';
import type { Output } from '../output.js';

/** Feeds of a file of recorded requests, with a note where not all of them are used. @throws DATASET_INVALID */
export async function calibrationFile(
  model: Model,
  path: string,
  output: Output,
): Promise<readonly TensorMap[]> {
  const { feeds, rows, totalRows } = await readCalibration(model, path);
  if (rows < totalRows) output.note(`${path}: the first ${rows} of ${totalRows} rows are used`);
  return feeds;
}

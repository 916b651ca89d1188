import { basename } from 'node:path';
import type { TensorMap } from '../../core/index.js';
import { readRequestRows } from '../../data/index.js';
import type { Model } from '../../onnx/index.js';
import { requestFeeds } from './request-feeds.js';

/** More requests than this hardly change what a pass learns, but take long. */
const MAX_ROWS = 4096;

/**
 * Feeds of the first 4096 requests of a table file (csv, tsv, jsonl, each also .gz, or parquet), one column an input.
 * @throws DATASET_INVALID where the file cannot be read or does not match the model's inputs.
 */
export async function readCalibration(
  model: Model,
  path: string,
): Promise<{ readonly feeds: readonly TensorMap[]; readonly rows: number; readonly totalRows: number }> {
  const { columns, rows, totalRows } = await readRequestRows(path, MAX_ROWS);
  return { feeds: requestFeeds(model, columns, basename(path)), rows, totalRows };
}

import { open, type FileHandle } from 'node:fs/promises';
import { WhittleError } from '../../core/index.js';
import { readNpyHeader } from './npy-header.js';
import type { RowInput } from './sources.js';

/** One vector an item. */
export interface ItemVectors {
  /** `[rows, dimensions]`. */
  readonly values: Float32Array;
  readonly rows: number;
  readonly dimensions: number;
}

interface Layout {
  readonly rows: number;
  readonly dimensions: number;
  /** Bytes before the first number. */
  readonly offset: number;
}

/**
 * Reads item vectors: raw little-endian float32, or `.npy` of float32. A raw file's dimensions follow from the number
 * of items, or else are the one width of the model's float inputs that the file is a whole number of.
 * @throws FILE_MISSING; USAGE_INVALID where the size fits no dimension, or several; DATASET_INVALID naming the row of a
 *   number that is not finite, or for an `.npy` file of something else.
 */
export async function readItemVectors(
  path: string,
  items: number | undefined,
  inputs: readonly RowInput[],
): Promise<ItemVectors> {
  const file = await openFile(path);
  try {
    const { size } = await file.stat();
    const { rows, dimensions, offset } = path.endsWith('.npy')
      ? await readNpyHeader(file, path, size)
      : rawLayout(path, size, items, inputs);
    if (items !== undefined && rows !== items)
      throw wrongSize(path, `it holds ${rows} vectors, but there are ${items} items`, { rows, items });
    const values = await readNumbers(file, rows * dimensions, offset);
    checkFinite(path, values, dimensions);
    return { values, rows, dimensions };
  } finally {
    await file.close();
  }
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r');
  } catch (cause) {
    throw new WhittleError('FILE_MISSING', `The vectors ${path} cannot be read`, { path }, cause);
  }
}

function rawLayout(
  path: string,
  bytes: number,
  items: number | undefined,
  inputs: readonly RowInput[],
): Layout {
  if (bytes === 0) throw wrongSize(path, 'it is empty', { bytes });
  if (items !== undefined) {
    const dimensions = bytes / 4 / items;
    if (Number.isInteger(dimensions)) return { rows: items, dimensions, offset: 0 };
    throw wrongSize(path, `its ${bytes} bytes are not one float32 vector for each of ${items} items`, {
      bytes,
      items,
    });
  }
  const widths = inputs.filter(({ dtype, width = 1 }) => dtype.startsWith('float') && width > 1);
  const known = [...new Set(widths.map(({ width = 1 }) => width))];
  const fitting = known.filter((width) => bytes % (4 * width) === 0);
  const [dimensions] = fitting;
  if (fitting.length === 1 && dimensions !== undefined)
    return { rows: bytes / 4 / dimensions, dimensions, offset: 0 };
  const takes =
    known.length === 0 ? 'the model takes no vectors' : `the model takes ${known.join(' or ')} numbers`;
  const fit = fitting.length === 0 ? 'are vectors of none' : 'may be vectors of several';
  const reason = known.length === 0 ? takes : `${takes}, and the file's ${bytes} bytes ${fit} of these`;
  throw wrongSize(path, `${reason}: give --items too, whose number decides`, { bytes, dimensions: known });
}

function wrongSize(path: string, reason: string, details: Readonly<Record<string, unknown>>): WhittleError {
  return new WhittleError('USAGE_INVALID', `--vectors ${path}: ${reason}`, {
    field: 'vectors',
    ...details,
    allowed: 'raw little-endian float32 [rows, dimensions], or .npy',
  });
}

/** Most bytes of one read. */
const READ_BYTES = 1 << 28;

async function readNumbers(file: FileHandle, count: number, offset: number): Promise<Float32Array> {
  const values = new Float32Array(count);
  const bytes = new Uint8Array(values.buffer);
  for (let at = 0; at < bytes.length;) {
    const { bytesRead } = await file.read(bytes, at, Math.min(READ_BYTES, bytes.length - at), offset + at);
    if (bytesRead === 0)
      throw new WhittleError('FILE_CORRUPT', 'The vectors are cut short', { field: 'vectors' });
    at += bytesRead;
  }
  return values;
}

function checkFinite(path: string, values: Float32Array, dimensions: number): void {
  const index = values.findIndex((value) => !Number.isFinite(value));
  if (index < 0) return;
  const row = Math.floor(index / dimensions);
  throw new WhittleError(
    'DATASET_INVALID',
    `${path}: vector ${row} (0 is the first) holds ${values[index]}; every number must be finite`,
    { path, row, allowed: 'finite numbers' },
  );
}

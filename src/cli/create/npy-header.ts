import type { FileHandle } from 'node:fs/promises';
import { WhittleError } from '../../core/index.js';

/** Magic text, two bytes of version, and the header's length: two bytes in version 1, four after. */
const MAGIC = '\u0093NUMPY';
const LONGEST_PREFIX = 12;

/**
 * The shape of a NumPy file (format of NEP 1) and where its numbers begin.
 * @throws DATASET_INVALID where it is not a C-ordered float32 matrix, or cut.
 */
export async function readNpyHeader(
  file: FileHandle,
  path: string,
  bytes: number,
): Promise<{ readonly rows: number; readonly dimensions: number; readonly offset: number }> {
  const prefix = await readBytes(file, 0, LONGEST_PREFIX);
  if (prefix.toString('latin1', 0, 6) !== MAGIC) throw unusable(path, 'it does not begin as one');
  const isFirstVersion = prefix[6] === 1;
  const start = isFirstVersion ? 10 : 12;
  const length = isFirstVersion ? prefix.readUInt16LE(8) : prefix.readUInt32LE(8);
  const header = (await readBytes(file, start, Math.min(length, 65_536))).toString('latin1');
  const type = /'descr':\s*'([^']*)'/.exec(header)?.[1] ?? 'no type';
  const isRowMajor = /'fortran_order':\s*False/.test(header);
  const [, rows = '', dimensions = ''] = /'shape':\s*\((\d+),\s*(\d+)\)/.exec(header) ?? [];
  if (type !== '<f4' || !isRowMajor || rows === '' || dimensions === '')
    throw unusable(path, `it holds ${header.trim()}`);
  const offset = start + length;
  const shape = { rows: Number(rows), dimensions: Number(dimensions), offset };
  if (shape.rows * shape.dimensions === 0 || bytes !== offset + shape.rows * shape.dimensions * 4)
    throw unusable(path, `its shape [${rows}, ${dimensions}] is not its size of ${bytes} bytes`);
  return shape;
}

async function readBytes(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  await file.read(buffer, 0, length, position);
  return buffer;
}

function unusable(path: string, reason: string): WhittleError {
  return new WhittleError(
    'DATASET_INVALID',
    `${path} is not an .npy file of float32 [rows, dimensions] in C order: ${reason}`,
    { path, allowed: "descr '<f4', fortran_order False, two dimensions" },
  );
}

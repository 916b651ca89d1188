import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { WhittleError } from '../core/index.js';

/**
 * Reads raw little-endian float32 vectors `[rows, dimensions]`.
 * @throws FILE_MISSING; BUNDLE_INVALID where the file has another size.
 */
export async function readVectors(path: string, rows: number, dimensions: number): Promise<Float32Array> {
  const file = await openForReading(path);
  try {
    const { size } = await file.stat();
    const expected = rows * dimensions * 4;
    if (size !== expected)
      throw new WhittleError(
        'BUNDLE_INVALID',
        `${path} has ${size} bytes; ${rows} float32 vectors of ${dimensions} dimensions have ${expected}`,
        { path, bytes: size, rows, dimensions },
      );
    const vectors = new Float32Array(rows * dimensions);
    await readFully(file, path, new Uint8Array(vectors.buffer), 0);
    return vectors;
  } finally {
    await file.close();
  }
}

/** @throws FILE_MISSING where the file cannot be opened. */
export async function openForReading(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r');
  } catch (error) {
    throw new WhittleError('FILE_MISSING', `The file ${path} cannot be opened`, { path }, error);
  }
}

// One read is limited to 2 GiB.
const READ_BYTES = 1 << 28;

/** Fills `bytes` from `position` on. @throws FILE_CORRUPT where the file is too short. */
export async function readFully(
  file: FileHandle,
  path: string,
  bytes: Uint8Array,
  position: number,
): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const wanted = Math.min(READ_BYTES, bytes.length - at);
    const { bytesRead } = await file.read(bytes, at, wanted, position + at);
    if (bytesRead === 0) throw new WhittleError('FILE_CORRUPT', `The file ${path} is cut short`, { path });
    at += bytesRead;
  }
}

import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import type { BigIntStats } from 'node:fs';
import { WhittleError } from '../core/index.js';
import type { FileContent } from './model.js';

/** Largest tensor that is loaded as one buffer: ONNX Runtime and protobuf count in signed 32 bits. */
const MAX_BUFFER_BYTES = 2 ** 31 - 1;
const CHUNK_BYTES = 4 * 1024 * 1024;

/** Tells a file from one that was written, or put in its place, later. */
export function fileVersion({ dev, ino, size, mtimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs].join(':');
}

/**
 * A tensor's values in one new buffer.
 * @throws MODEL_TOO_LARGE above 2 GiB; FILE_MISSING; FILE_CORRUPT where the file is cut or has been written to since the
 *   model was read.
 */
export function readFileContent(tensor: string, content: FileContent): Uint8Array {
  const { path, byteLength } = content;
  if (byteLength > MAX_BUFFER_BYTES)
    throw new WhittleError('MODEL_TOO_LARGE', `Tensor ${tensor} in ${path} is too large for one buffer`, {
      tensor,
      path,
      byteLength,
      limit: MAX_BUFFER_BYTES,
    });
  return withFile(tensor, content, (file) => {
    checkFile(file, tensor, content);
    const bytes = new Uint8Array(byteLength);
    readInto(file, tensor, content, bytes);
    return bytes;
  });
}

/**
 * The same bytes in pieces of a few MiB, for a tensor of any size. A piece is the caller's to keep.
 * @throws FILE_MISSING, FILE_CORRUPT as {@link readFileContent}.
 */
export function* fileContentChunks(tensor: string, content: FileContent): Generator<Uint8Array> {
  const { offset, byteLength } = content;
  const file = openContent(tensor, content);
  try {
    checkFile(file, tensor, content);
    for (let start = 0; start < byteLength; start += CHUNK_BYTES) {
      const chunk = new Uint8Array(Math.min(CHUNK_BYTES, byteLength - start));
      readInto(file, tensor, { ...content, offset: offset + start }, chunk);
      yield chunk;
    }
  } finally {
    closeSync(file);
  }
}

function withFile<Result>(tensor: string, content: FileContent, use: (file: number) => Result): Result {
  const file = openContent(tensor, content);
  try {
    return use(file);
  } finally {
    closeSync(file);
  }
}

function openContent(tensor: string, { path }: FileContent): number {
  try {
    return openSync(path, 'r');
  } catch (error) {
    throw new WhittleError(
      'FILE_MISSING',
      `Cannot open ${path}, which holds tensor ${tensor}`,
      { tensor, path },
      error,
    );
  }
}

/** Compared before a buffer is made, so that a wrong length costs no memory. */
function checkFile(file: number, tensor: string, { path, offset, byteLength, version }: FileContent): void {
  const stats = fstatSync(file, { bigint: true });
  if (version !== undefined && fileVersion(stats) !== version)
    throw new WhittleError(
      'FILE_CORRUPT',
      `${path}, which holds tensor ${tensor}, has changed since the model was read: read the model again`,
      { tensor, path, remedy: 'read the model again' },
    );
  if (offset + byteLength > stats.size)
    throw new WhittleError('FILE_CORRUPT', `${path} ends before the end of tensor ${tensor}`, {
      tensor,
      path,
      needed: offset + byteLength,
      size: Number(stats.size),
    });
}

/** Fills `bytes` from the content's offset on. The file must still be the same afterwards. */
function readInto(file: number, tensor: string, content: FileContent, bytes: Uint8Array): void {
  const { path, offset } = content;
  for (let read = 0; read < bytes.byteLength;) {
    const step = readSync(file, bytes, read, bytes.byteLength - read, offset + read);
    if (step === 0)
      throw new WhittleError('FILE_CORRUPT', `${path} became shorter while it was read`, { tensor, path });
    read += step;
  }
  checkFile(file, tensor, { ...content, byteLength: bytes.byteLength });
}

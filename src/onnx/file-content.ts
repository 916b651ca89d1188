import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { WhittleError } from '../core/index.js';
import type { TensorContent } from './model.js';

export type FileContent = TensorContent & { kind: 'file' };

/** Largest tensor that is loaded as one buffer: ONNX Runtime and protobuf count in signed 32 bits. */
const MAX_BUFFER_BYTES = 2 ** 31 - 1;
const CHUNK_BYTES = 4 * 1024 * 1024;

/**
 * A tensor's external data in one new buffer.
 * @throws MODEL_TOO_LARGE above 2 GiB; FILE_MISSING; FILE_CORRUPT where the file ends early.
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
  const file = openContent(tensor, content);
  try {
    return readExactly(file, tensor, content);
  } finally {
    closeSync(file);
  }
}

/** The same bytes in pieces of a few MiB, for a tensor of any size. A piece is the caller's to keep. */
export function* fileContentChunks(tensor: string, content: FileContent): Generator<Uint8Array> {
  const { offset, byteLength } = content;
  const file = openContent(tensor, content);
  try {
    for (let start = 0; start < byteLength; start += CHUNK_BYTES) {
      const length = Math.min(CHUNK_BYTES, byteLength - start);
      yield readExactly(file, tensor, { ...content, offset: offset + start, byteLength: length });
    }
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

function readExactly(file: number, tensor: string, content: FileContent): Uint8Array {
  const { path, offset, byteLength } = content;
  // Compared with the file before the buffer is made, so that a wrong length costs no memory.
  const { size } = fstatSync(file);
  if (offset + byteLength > size)
    throw new WhittleError('FILE_CORRUPT', `${path} ends before the end of tensor ${tensor}`, {
      tensor,
      path,
      needed: offset + byteLength,
      size,
    });
  const bytes = new Uint8Array(byteLength);
  for (let read = 0; read < byteLength;) {
    const step = readSync(file, bytes, read, byteLength - read, offset + read);
    if (step === 0)
      throw new WhittleError('FILE_CORRUPT', `${path} became shorter while it was read`, { tensor, path });
    read += step;
  }
  return bytes;
}

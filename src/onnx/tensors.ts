import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { elementCount, WhittleError } from '../core/index.js';
import type { Tensor } from '../core/index.js';
import { dataTypeFacts, packedBytes } from './dtypes.js';
import type { Initializer, TensorContent } from './model.js';

/** Largest tensor that is loaded as one buffer: ONNX Runtime and protobuf count in signed 32 bits. */
const MAX_BUFFER_BYTES = 2 ** 31 - 1;

/**
 * The values of an initializer. The array looks at the initializer's own bytes where they are aligned, else at a copy:
 * do not write to it. External data is read from its file at each call.
 * @throws MODEL_INVALID where the content has not the length that dtype and dims ask for.
 * @throws FILE_MISSING, FILE_CORRUPT where external data cannot be read; MODEL_TOO_LARGE above 2 GiB.
 */
export function tensorOf(initializer: Initializer): Tensor {
  const { dtype, dims, content } = initializer;
  const count = elementCount(dims);
  if (content.kind === 'strings') {
    checkSize(initializer, content.values.length, count, 'strings');
    return { dtype, dims, data: content.values.map((value) => new TextDecoder().decode(value)) };
  }
  const bytes = bytesOf(initializer);
  checkSize(initializer, bytes.byteLength, packedBytes(dtype, count), 'bytes');
  const { array: ArrayType, bits } = dataTypeFacts(dtype);
  const elementBytes = Math.max(1, bits / 8);
  const { buffer, byteOffset } = aligned(bytes, elementBytes);
  return { dtype, dims, data: new ArrayType(buffer, byteOffset, bytes.byteLength / elementBytes) };
}

/** An initializer that shares the tensor's buffer: do not write to the tensor while the model is in use. */
export function initializerOf(name: string, tensor: Tensor): Initializer {
  return { name, dtype: tensor.dtype, dims: tensor.dims, content: contentOf(tensor) };
}

/** Bytes of the values, wherever they are stored. */
export function byteLength(initializer: Initializer): number {
  const { content } = initializer;
  if (content.kind === 'file') return content.byteLength;
  if (content.kind === 'bytes') return content.bytes.byteLength;
  return content.values.reduce((total, value) => total + value.byteLength, 0);
}

/** Raw little-endian bytes of a numeric initializer; external data is read from its file. Do not write to them. */
export function bytesOf(initializer: Initializer): Uint8Array {
  const { content, name } = initializer;
  if (content.kind === 'bytes') return content.bytes;
  if (content.kind === 'file') return readContent(name, content);
  throw new WhittleError('GRAPH_UNSUPPORTED', `Tensor ${name} holds strings, which have no raw bytes`, {
    tensor: name,
  });
}

function contentOf(tensor: Tensor): TensorContent {
  const { data } = tensor;
  if (ArrayBuffer.isView(data))
    return { kind: 'bytes', bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
  const encoder = new TextEncoder();
  return { kind: 'strings', values: data.map((value) => encoder.encode(value)) };
}

function checkSize(initializer: Initializer, actual: number, expected: number, unit: string): void {
  if (actual === expected) return;
  const { name, dtype, dims } = initializer;
  throw new WhittleError(
    'MODEL_INVALID',
    `Tensor ${name} has ${actual} ${unit}, but ${dtype} [${dims.join(', ')}] needs ${expected}`,
    { tensor: name, dtype, dims, actual, expected },
  );
}

function aligned(bytes: Uint8Array, elementBytes: number): { buffer: ArrayBuffer; byteOffset: number } {
  const { buffer, byteOffset } = bytes;
  if (buffer instanceof ArrayBuffer && byteOffset % elementBytes === 0) return { buffer, byteOffset };
  return { buffer: Uint8Array.from(bytes).buffer, byteOffset: 0 };
}

function readContent(name: string, content: TensorContent & { kind: 'file' }): Uint8Array {
  if (content.byteLength > MAX_BUFFER_BYTES)
    throw new WhittleError(
      'MODEL_TOO_LARGE',
      `Tensor ${name} is too large to load: read ${content.path} in parts`,
      {
        tensor: name,
        byteLength: content.byteLength,
        limit: MAX_BUFFER_BYTES,
      },
    );
  const file = openContent(name, content);
  try {
    return readExactly(file, name, content);
  } finally {
    closeSync(file);
  }
}

function openContent(name: string, content: TensorContent & { kind: 'file' }): number {
  try {
    return openSync(content.path, 'r');
  } catch (error) {
    throw new WhittleError(
      'FILE_MISSING',
      `Cannot open ${content.path}, which holds tensor ${name}`,
      { tensor: name, path: content.path },
      error,
    );
  }
}

function readExactly(file: number, name: string, content: TensorContent & { kind: 'file' }): Uint8Array {
  const { path, offset, byteLength: length } = content;
  // Compared with the file before the buffer is made, so that a wrong length costs no memory.
  const size = fstatSync(file).size;
  if (offset + length > size)
    throw new WhittleError('FILE_CORRUPT', `${path} ends before the end of tensor ${name}`, {
      tensor: name,
      path,
      needed: offset + length,
      size,
    });
  const bytes = new Uint8Array(length);
  let read = 0;
  while (read < length) {
    const step = readSync(file, bytes, read, length - read, offset + read);
    if (step === 0)
      throw new WhittleError('FILE_CORRUPT', `${path} became shorter while it was read`, {
        tensor: name,
        path,
      });
    read += step;
  }
  return bytes;
}

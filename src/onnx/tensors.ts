import { elementCount, WhittleError } from '../core/index.js';
import type { Tensor } from '../core/index.js';
import { dataTypeFacts, packedBytes } from './dtypes.js';
import { fileContentChunks, readFileContent } from './file-content.js';
import type { Initializer, TensorContent } from './model.js';

const CHUNK_BYTES = 4 * 1024 * 1024;

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
  if (content.kind === 'file') return readFileContent(name, content);
  throw new WhittleError('GRAPH_UNSUPPORTED', `Tensor ${name} holds strings, which have no raw bytes`, {
    tensor: name,
  });
}

/** The bytes in pieces, so that a tensor of any size passes through little memory. Do not write to them. */
export function* contentChunks({ name, content }: Initializer): Generator<Uint8Array> {
  if (content.kind === 'bytes')
    for (let start = 0; start < content.bytes.byteLength; start += CHUNK_BYTES)
      yield content.bytes.subarray(start, start + CHUNK_BYTES);
  if (content.kind === 'file') yield* fileContentChunks(name, content);
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
  return { buffer: new Uint8Array(bytes).buffer, byteOffset: 0 };
}

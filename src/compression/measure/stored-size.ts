import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createBrotliCompress, createDeflate, constants as zlib } from 'node:zlib';
import { elementCount } from '../../core/index.js';
import { contentChunks, packedBytes } from '../../onnx/index.js';
import type { Initializer } from '../../onnx/index.js';
import { countZeros } from '../kernels/zeros-kernel.js';
import type { ZeroCount } from '../kernels/zeros-kernel.js';

/** Bytes that a tensor takes in several encodings, all without loss. */
export interface StoredSize {
  /** As ONNX stores it. */
  readonly rawBytes: number;
  /** Deflate at level 6, what gzip and a ZIP file do. */
  readonly deflateBytes: number;
  /** Brotli at quality 5, what a download over HTTP gets. */
  readonly brotliBytes: number;
  /** One bit an element that says whether it is zero, then the others. */
  readonly bitmapBytes: number;
  /** For each element that is not zero its value and how many zeros stand before it, in 16 bits. */
  readonly indexBytes: number;
}

/** Zeros that 16 bits can count. A longer gap is cut by storing a zero. */
const MAX_GAP = 2 ** 16 - 1;
const GAP_BYTES = 2;
/** No tensor at all. */
export const NO_BYTES: StoredSize = {
  rawBytes: 0,
  deflateBytes: 0,
  brotliBytes: 0,
  bitmapBytes: 0,
  indexBytes: 0,
};

/**
 * Bytes of a numeric tensor in several encodings, found by encoding it piece by piece, so that one of any size passes
 * through little memory. Two int4 share a byte and count as one element. A tensor of strings counts nothing.
 * @throws FILE_MISSING, FILE_CORRUPT where its values are in a file that is gone or cut.
 */
export async function storedSize(initializer: Initializer): Promise<StoredSize> {
  const { dtype, dims, content } = initializer;
  if (content.kind === 'strings') return NO_BYTES;
  const rawBytes = packedBytes(dtype, elementCount(dims));
  const elementBytes = Math.max(1, packedBytes(dtype, 2) / 2);
  const { stored, fillers } = zerosOf(initializer, elementBytes);
  return {
    rawBytes,
    deflateBytes: await compressedBytes(initializer, createDeflate({ level: 6 })),
    brotliBytes: await compressedBytes(
      initializer,
      createBrotliCompress({
        params: { [zlib.BROTLI_PARAM_QUALITY]: 5, [zlib.BROTLI_PARAM_SIZE_HINT]: rawBytes },
      }),
    ),
    bitmapBytes: Math.ceil(rawBytes / elementBytes / 8) + stored * elementBytes,
    indexBytes: (stored + fillers) * (GAP_BYTES + elementBytes),
  };
}

/** The bytes of two tensors, or groups of them. */
export function addSizes(a: StoredSize, b: StoredSize): StoredSize {
  return {
    rawBytes: a.rawBytes + b.rawBytes,
    deflateBytes: a.deflateBytes + b.deflateBytes,
    brotliBytes: a.brotliBytes + b.brotliBytes,
    bitmapBytes: a.bitmapBytes + b.bitmapBytes,
    indexBytes: a.indexBytes + b.indexBytes,
  };
}

function zerosOf(initializer: Initializer, elementBytes: number): ZeroCount {
  const count: ZeroCount = { stored: 0, fillers: 0, gap: 0 };
  for (const chunk of contentChunks(initializer)) countZeros(elementsOf(chunk, elementBytes), MAX_GAP, count);
  return count;
}

/** The bits of the elements; a copy only where they do not lie aligned. Pieces never cut an element. */
function elementsOf(bytes: Uint8Array, elementBytes: number): Parameters<typeof countZeros>[0] {
  if (elementBytes === 1) return bytes;
  const at = bytes.byteOffset % elementBytes === 0 ? bytes : Uint8Array.from(bytes);
  const length = at.byteLength / elementBytes;
  if (elementBytes === 2) return new Uint16Array(at.buffer, at.byteOffset, length);
  if (elementBytes === 4) return new Uint32Array(at.buffer, at.byteOffset, length);
  return new BigUint64Array(at.buffer, at.byteOffset, length);
}

async function compressedBytes(
  initializer: Initializer,
  encoder: ReturnType<typeof createDeflate> | ReturnType<typeof createBrotliCompress>,
): Promise<number> {
  let bytes = 0;
  await pipeline(Readable.from(contentChunks(initializer)), encoder, async (encoded) => {
    for await (const chunk of encoded as AsyncIterable<Buffer>) bytes += chunk.byteLength;
  });
  return bytes;
}

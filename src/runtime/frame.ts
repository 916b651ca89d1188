import type { Writable } from 'node:stream';
import { must, WhittleError } from '../core/index.js';
import type { DataType, Tensor, TensorMap } from '../core/index.js';
import { bytesOf } from './tensor-bytes.js';

/** Plain JSON that travels beside the tensors. */
export type Meta = Readonly<Record<string, unknown>>;

/** What a frame is: a request (see `RequestKind`) or its answer. The place in the list is the number on the wire. */
export const FRAME_KINDS = ['start', 'run', 'ping', 'shutdown', 'result', 'failed'] as const;
export type FrameKind = (typeof FRAME_KINDS)[number];

/** One message between gateway and runner. `id` (uint32) pairs an answer with its request. */
export interface Frame {
  readonly id: number;
  readonly kind: FrameKind;
  readonly meta: Meta;
  readonly tensors: TensorMap;
}

/** Largest frame either side sends or takes: a batch is some megabytes, so more is a mistake. */
export const MAX_FRAME_BYTES = 256 * 2 ** 20;
/** Up to this size a frame is one buffer: copying its tensors costs less than handing several to the kernel. */
const ONE_BUFFER_BYTES = 64 * 2 ** 10;

/** Tensors start at multiples of this, from the start of the frame. */
export const ALIGNMENT = 8;
/** Where the numbers of the prefix stand, and its size: a multiple of the alignment. */
export const PREFIX = {
  bodyBytes: 0,
  headerBytes: 4,
  id: 8,
  kind: 12,
  tensors: 14,
  metaBytes: 16,
  mark: 20,
  size: 24,
};
/** Stands in every prefix, so that what is no frame is noticed at once: `WFR1` in ASCII. */
export const FRAME_MARK = 0x31524657;
/** Where the numbers of a tensor's head stand, and their size. */
export const HEAD = { bytes: 0, dtype: 4, rank: 6, nameBytes: 8, size: 12 };
export const DIM_BYTES = 4;

/** Element types by their number on the wire. */
export const FRAME_TYPES: readonly DataType[] = [
  ...['float32', 'float64', 'float16', 'bfloat16', 'int8', 'uint8', 'int16', 'uint16', 'int32'],
  ...['uint32', 'int64', 'uint64', 'int4', 'uint4', 'bool', 'string'],
] as const;
const TYPE_NUMBERS: ReadonlyMap<string, number> = new Map(FRAME_TYPES.map((type, number) => [type, number]));

/** A tensor on its way: the parts of its head, and its elements. */
interface Part {
  readonly name: Buffer;
  readonly tensor: Tensor;
  readonly bytes: Uint8Array;
}

/**
 * Encodes a frame as chunks to be written one after the other. A small frame is one chunk; a large one's tensors are
 * views of their own buffers, which must not change until they are written.
 *
 *     0        4        8        12       14       16       20     24                       ×8         ×8
 *     ┌────────┬────────┬────────┬────────┬────────┬────────┬──────┬─────────┬──────┬───────┬──────────┬──────────
 *     │ body   │ header │ id     │ kind   │ number │ meta   │ mark │ head of │ meta │ zeros │ tensor 0 │ tensor 1
 *     │ bytes  │ bytes  │        │        │ of     │ bytes  │      │ each    │ JSON │       │ zeros    │ …
 *     │ uint32 │ uint32 │ uint32 │ uint16 │ tensors│ uint32 │      │ tensor  │      │       │ behind   │
 *     └────────┴────────┴────────┴────────┴────────┴────────┴──────┴─────────┴──────┴───────┴──────────┴──────────
 *
 *     head of a tensor: its bytes uint32, type uint16, rank uint16, name bytes uint32, each dim uint32, name
 *
 * The header is all between the prefix and tensor 0, the body all after the prefix. Numbers and elements are
 * little-endian, as on every machine that ONNX Runtime supports; string tensors are a JSON array in UTF-8.
 * @throws INPUT_TOO_LARGE when the body is larger than `maxBytes`.
 */
export function encodeFrame(frame: Frame, maxBytes: number = MAX_FRAME_BYTES): Uint8Array[] {
  const parts = Object.entries(frame.tensors).map(partOf);
  const meta = encodeMeta(frame.meta);
  let headerBytes = meta.byteLength;
  let tensorBytes = 0;
  for (const { name, tensor, bytes } of parts) {
    headerBytes += HEAD.size + tensor.dims.length * DIM_BYTES + name.byteLength;
    tensorBytes += aligned(bytes.byteLength);
  }
  headerBytes = aligned(headerBytes);
  checkFrameSize(headerBytes + tensorBytes, maxBytes);
  const headBytes = PREFIX.size + headerBytes;
  const isOne = headBytes + tensorBytes <= ONE_BUFFER_BYTES;
  const out = Buffer.allocUnsafe(isOne ? headBytes + tensorBytes : headBytes);
  out.writeUInt32LE(headerBytes + tensorBytes, PREFIX.bodyBytes);
  out.writeUInt32LE(headerBytes, PREFIX.headerBytes);
  out.writeUInt32LE(frame.id, PREFIX.id);
  out.writeUInt16LE(FRAME_KINDS.indexOf(frame.kind), PREFIX.kind);
  out.writeUInt16LE(parts.length, PREFIX.tensors);
  out.writeUInt32LE(meta.byteLength, PREFIX.metaBytes);
  out.writeUInt32LE(FRAME_MARK, PREFIX.mark);
  let offset = PREFIX.size;
  for (const part of parts) offset = writeHead(out, offset, part);
  writePadded(out, offset, meta, headBytes);
  return isOne ? [withTensors(out, headBytes, parts)] : [out, ...parts.flatMap(({ bytes }) => padded(bytes))];
}

/**
 * Writes a frame. The tensors' buffers must not change until the frame is answered.
 * @throws INPUT_TOO_LARGE before anything is written.
 */
export function writeFrame(stream: Writable, frame: Frame): void {
  const chunks = encodeFrame(frame);
  const [only] = chunks;
  if (chunks.length === 1 && only !== undefined) {
    stream.write(only);
    return;
  }
  stream.cork();
  for (const chunk of chunks) stream.write(chunk);
  stream.uncork();
}

/** The next multiple of the alignment. */
export function aligned(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

/** @throws INPUT_TOO_LARGE */
export function checkFrameSize(bodyBytes: number, maxBytes: number): void {
  if (bodyBytes <= maxBytes) return;
  throw new WhittleError('INPUT_TOO_LARGE', `A frame of ${bodyBytes} bytes is over the limit`, {
    bytes: bodyBytes,
    maxBytes,
    advice: 'send fewer rows in one batch',
  });
}

function partOf([name, tensor]: readonly [string, Tensor]): Part {
  const { data } = tensor;
  const bytes = ArrayBuffer.isView(data) ? bytesOf(data) : Buffer.from(JSON.stringify(data));
  return { name: Buffer.from(name), tensor, bytes };
}

/** No bytes for `{}`, which is what most requests carry. */
function encodeMeta(meta: Meta): Buffer {
  const json = JSON.stringify(meta);
  return Buffer.from(json === '{}' ? '' : json);
}

function writeHead(out: Buffer, start: number, { name, tensor, bytes }: Part): number {
  const { dtype, dims } = tensor;
  out.writeUInt32LE(bytes.byteLength, start + HEAD.bytes);
  out.writeUInt16LE(must(TYPE_NUMBERS.get(dtype), dtype), start + HEAD.dtype);
  out.writeUInt16LE(dims.length, start + HEAD.rank);
  out.writeUInt32LE(name.byteLength, start + HEAD.nameBytes);
  let offset = start + HEAD.size;
  for (const dim of dims) offset = out.writeUInt32LE(dim, offset);
  out.set(name, offset);
  return offset + name.byteLength;
}

function withTensors(out: Buffer, start: number, parts: readonly Part[]): Buffer {
  let offset = start;
  for (const { bytes } of parts) {
    const end = offset + aligned(bytes.byteLength);
    writePadded(out, offset, bytes, end);
    offset = end;
  }
  return out;
}

/** Writes `bytes` at `offset`, and zeros behind them up to `end`. */
function writePadded(out: Buffer, offset: number, bytes: Uint8Array, end: number): void {
  out.set(bytes, offset);
  const written = offset + bytes.byteLength;
  if (written < end) out.fill(0, written, end);
}

function padded(bytes: Uint8Array): Uint8Array[] {
  const missing = aligned(bytes.byteLength) - bytes.byteLength;
  return missing === 0 ? [bytes] : [bytes, new Uint8Array(missing)];
}

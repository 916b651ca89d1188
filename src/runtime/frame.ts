import type { Writable } from 'node:stream';
import { elementCount, WhittleError } from '../core/index.js';
import type { Tensor, TensorMap } from '../core/index.js';
import { bytesOf, isNumericType, viewAs } from './tensor-bytes.js';

/** Plain JSON that travels beside the tensors. */
export type Meta = Readonly<Record<string, unknown>>;

/** One message between gateway and runner. `id` pairs an answer with its request. */
export interface Frame {
  readonly id: number;
  readonly kind: string;
  readonly meta: Meta;
  readonly tensors: TensorMap;
}

/** Largest frame either side sends or takes: a batch is some megabytes, so more is a mistake. */
const MAX_FRAME_BYTES = 256 * 2 ** 20;

const ALIGNMENT = 8;
const PREFIX_BYTES = 8;
const PADDING = new Uint8Array(ALIGNMENT);

interface TensorHeader {
  readonly name: string;
  readonly dtype: string;
  readonly dims: readonly number[];
  readonly bytes: number;
}

interface FrameHeader {
  readonly id: number;
  readonly kind: string;
  readonly meta: Meta;
  readonly tensors: readonly TensorHeader[];
}

/**
 * Encodes a frame as chunks to be written one after the other. Chunks are views of the tensors' own buffers: these
 * must not change until the chunks are written.
 *
 *     0            4              8               multiple of 8   multiple of 8
 *     ┌────────────┬──────────────┬───────────────┬───────────────┬──────────────
 *     │ body bytes │ header bytes │ header, JSON  │ tensor 0      │ tensor 1 …
 *     │ uint32 LE  │ uint32 LE    │ spaces behind │ zeros behind  │
 *     └────────────┴──────────────┴───────────────┴───────────────┴──────────────
 *
 * The body is all after the prefix. Elements are in the machine's own order (both ends are on one machine); string
 * tensors are a JSON array in UTF-8.
 * @throws INPUT_TOO_LARGE when the body is larger than `maxBytes`.
 */
export function encodeFrame(frame: Frame, maxBytes: number = MAX_FRAME_BYTES): Uint8Array[] {
  const tensors: TensorHeader[] = [];
  const payloads: Uint8Array[] = [];
  let payloadBytes = 0;
  for (const [name, tensor] of Object.entries(frame.tensors)) {
    const payload = payloadOf(tensor);
    tensors.push({ name, dtype: tensor.dtype, dims: tensor.dims, bytes: payload.byteLength });
    payloads.push(payload);
    const padding = aligned(payload.byteLength) - payload.byteLength;
    if (padding > 0) payloads.push(PADDING.subarray(0, padding));
    payloadBytes += payload.byteLength + padding;
  }
  const header: FrameHeader = { id: frame.id, kind: frame.kind, meta: frame.meta, tensors };
  const json = Buffer.from(JSON.stringify(header));
  const headerBytes = aligned(json.byteLength);
  checkSize(headerBytes + payloadBytes, maxBytes);
  const head = Buffer.alloc(PREFIX_BYTES + headerBytes, ' ');
  head.writeUInt32LE(headerBytes + payloadBytes, 0);
  head.writeUInt32LE(headerBytes, 4);
  json.copy(head, PREFIX_BYTES);
  return [head, ...payloads];
}

/**
 * Writes a frame, with one system call where the kernel takes it all. The tensors' buffers must not change until the
 * frame is answered.
 * @throws INPUT_TOO_LARGE before anything is written.
 */
export function writeFrame(stream: Writable, frame: Frame): void {
  const chunks = encodeFrame(frame);
  stream.cork();
  for (const chunk of chunks) stream.write(chunk);
  stream.uncork();
}

/**
 * Turns a stream of bytes back into frames, however it was cut. Each frame's tensors are views of one buffer that
 * belongs to the receiver.
 */
export class FrameDecoder {
  readonly #maxBytes: number;
  readonly #prefix = Buffer.alloc(PREFIX_BYTES);
  #prefixFilled = 0;
  #body: Buffer | undefined;
  #bodyFilled = 0;

  constructor(maxBytes: number = MAX_FRAME_BYTES) {
    this.#maxBytes = maxBytes;
  }

  /**
   * Frames completed by `chunk`, in order. After a throw the stream is lost: close it.
   * @throws INPUT_TOO_LARGE when a frame announces more than the limit.
   * @throws RUNNER_FAILED when the bytes are not a frame.
   */
  push(chunk: Uint8Array): Frame[] {
    const frames: Frame[] = [];
    let offset = 0;
    while (offset < chunk.byteLength) {
      offset += this.#body === undefined ? this.#fillPrefix(chunk, offset) : 0;
      if (this.#body === undefined) break;
      offset += this.#fillBody(this.#body, chunk, offset);
      if (this.#bodyFilled < this.#body.byteLength) break;
      frames.push(parseBody(this.#body, this.#prefix.readUInt32LE(4)));
      this.#body = undefined;
      this.#prefixFilled = 0;
    }
    return frames;
  }

  /** Takes bytes into the prefix and makes room for the body once it is whole. */
  #fillPrefix(chunk: Uint8Array, offset: number): number {
    const taken = Math.min(PREFIX_BYTES - this.#prefixFilled, chunk.byteLength - offset);
    this.#prefix.set(chunk.subarray(offset, offset + taken), this.#prefixFilled);
    this.#prefixFilled += taken;
    if (this.#prefixFilled < PREFIX_BYTES) return taken;
    const bodyBytes = this.#prefix.readUInt32LE(0);
    checkSize(bodyBytes, this.#maxBytes);
    checkPrefix(bodyBytes, this.#prefix.readUInt32LE(4));
    // Not from Node's shared pool, so that offset 0 is aligned and the views outlive nobody else's bytes.
    this.#body = Buffer.allocUnsafeSlow(bodyBytes);
    this.#bodyFilled = 0;
    return taken;
  }

  #fillBody(body: Buffer, chunk: Uint8Array, offset: number): number {
    const taken = Math.min(body.byteLength - this.#bodyFilled, chunk.byteLength - offset);
    body.set(chunk.subarray(offset, offset + taken), this.#bodyFilled);
    this.#bodyFilled += taken;
    return taken;
  }
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

function payloadOf(tensor: Tensor): Uint8Array {
  return ArrayBuffer.isView(tensor.data) ? bytesOf(tensor.data) : Buffer.from(JSON.stringify(tensor.data));
}

function parseBody(body: Buffer, headerBytes: number): Frame {
  const header = parseHeader(body.toString('utf8', 0, headerBytes));
  const tensors: [string, Tensor][] = [];
  let offset = headerBytes;
  for (const { name, dtype, dims, bytes } of header.tensors) {
    if (offset + bytes > body.byteLength) throw malformed(`tensor ${name} ends behind the frame`);
    tensors.push([name, parseTensor(name, dtype, dims, body.subarray(offset, offset + bytes))]);
    offset += aligned(bytes);
  }
  return { id: header.id, kind: header.kind, meta: header.meta, tensors: Object.fromEntries(tensors) };
}

// Both ends are this file, so the header's shape is not checked further: what can differ is the stream.
function parseHeader(json: string): FrameHeader {
  try {
    return JSON.parse(json) as FrameHeader;
  } catch {
    throw malformed('the header is not JSON');
  }
}

function parseTensor(name: string, dtype: string, dims: readonly number[], bytes: Buffer): Tensor {
  if (dtype === 'string') return { dtype, dims, data: JSON.parse(bytes.toString('utf8')) as string[] };
  if (!isNumericType(dtype)) throw malformed(`tensor ${name} has the unknown type ${dtype}`);
  const data = viewAs(dtype, bytes);
  const count =
    dtype === 'int4' || dtype === 'uint4' ? Math.ceil(elementCount(dims) / 2) : elementCount(dims);
  if (data.length !== count)
    throw malformed(`tensor ${name} has ${data.length} elements for dims [${dims.join(', ')}]`);
  return { dtype, dims, data };
}

function checkPrefix(bodyBytes: number, headerBytes: number): void {
  if (headerBytes === 0 || headerBytes % ALIGNMENT !== 0 || headerBytes > bodyBytes)
    throw malformed(`the header has ${headerBytes} bytes of ${bodyBytes}`);
}

function checkSize(bodyBytes: number, maxBytes: number): void {
  if (bodyBytes <= maxBytes) return;
  throw new WhittleError('INPUT_TOO_LARGE', `A frame of ${bodyBytes} bytes is over the limit`, {
    bytes: bodyBytes,
    maxBytes,
    advice: 'send fewer rows in one batch',
  });
}

function malformed(reason: string): WhittleError {
  return new WhittleError('RUNNER_FAILED', `A frame is malformed: ${reason}`, { reason });
}

import { elementCount, WhittleError } from '../core/index.js';
import type { DataType, Tensor, TensorMap } from '../core/index.js';
import {
  aligned,
  ALIGNMENT,
  checkFrameSize,
  DIM_BYTES,
  FRAME_KINDS,
  FRAME_MARK,
  FRAME_TYPES,
  HEAD,
  MAX_FRAME_BYTES,
  PREFIX,
} from './frame.js';
import type { Frame, Meta } from './frame.js';
import { elementBytes, viewAs } from './tensor-bytes.js';

/** What a tensor's head says of it. */
interface TensorHead {
  readonly name: string;
  readonly dtype: DataType;
  readonly dims: readonly number[];
  readonly bytes: number;
}

const NO_META: Meta = Object.freeze({});

/**
 * Turns a stream of bytes back into frames, however it was cut. A frame that came whole in one chunk is not copied: its
 * tensors are views of the chunk, which then belongs to the receiver of the frame. Any other frame is put together in a
 * buffer of its own.
 */
export class FrameDecoder {
  readonly #maxBytes: number;
  readonly #prefix = Buffer.alloc(PREFIX.size);
  #prefixFilled = 0;
  /** The frame that is being put together, prefix and all, once its size is known. */
  #frame: Buffer | undefined;
  #filled = 0;

  constructor(maxBytes: number = MAX_FRAME_BYTES) {
    this.#maxBytes = maxBytes;
  }

  /**
   * Frames completed by `chunk`, in order; the chunk's bytes must not change any more. After a throw the stream is lost:
   * close it.
   * @throws INPUT_TOO_LARGE when a frame announces more than the limit.
   * @throws RUNNER_FAILED when the bytes are not a frame.
   */
  push(chunk: Buffer): Frame[] {
    const frames: Frame[] = [];
    let offset = 0;
    while (offset < chunk.byteLength) {
      const wholeBytes = this.#wholeFrameBytes(chunk, offset);
      if (wholeBytes > 0) frames.push(parseFrame(chunk.subarray(offset, offset + wholeBytes)));
      offset += wholeBytes > 0 ? wholeBytes : this.#collect(chunk, offset);
      if (this.#frame === undefined || this.#filled < this.#frame.byteLength) continue;
      frames.push(parseFrame(this.#frame));
      this.#frame = undefined;
      this.#prefixFilled = 0;
    }
    return frames;
  }

  /** Size of the frame at `offset` where all of it is there, at an address where views can be made; else 0. */
  #wholeFrameBytes(chunk: Buffer, offset: number): number {
    const present = chunk.byteLength - offset;
    const isBetweenFrames = this.#frame === undefined && this.#prefixFilled === 0;
    if (!isBetweenFrames || present < PREFIX.size || (chunk.byteOffset + offset) % ALIGNMENT !== 0) return 0;
    const size = frameBytes(chunk, offset, this.#maxBytes);
    return size <= present ? size : 0;
  }

  /** Takes bytes into the frame that is being put together, first those of its prefix; answers how many. */
  #collect(chunk: Buffer, offset: number): number {
    if (this.#frame !== undefined) {
      const taken = copyInto(this.#frame, this.#filled, chunk, offset);
      this.#filled += taken;
      return taken;
    }
    const taken = copyInto(this.#prefix, this.#prefixFilled, chunk, offset);
    this.#prefixFilled += taken;
    if (this.#prefixFilled === PREFIX.size) {
      // Not from Node's shared pool, so that the views outlive nobody else's bytes.
      this.#frame = Buffer.allocUnsafeSlow(frameBytes(this.#prefix, 0, this.#maxBytes));
      this.#frame.set(this.#prefix);
      this.#filled = PREFIX.size;
    }
    return taken;
  }
}

/** Fills `target` from `filled` on with what `chunk` has from `offset` on; answers how many bytes that were. */
function copyInto(target: Buffer, filled: number, chunk: Buffer, offset: number): number {
  const taken = Math.min(target.byteLength - filled, chunk.byteLength - offset);
  target.set(chunk.subarray(offset, offset + taken), filled);
  return taken;
}

/** Size of the frame whose prefix stands at `offset`. */
function frameBytes(buffer: Buffer, offset: number, maxBytes: number): number {
  if (buffer.readUInt32LE(offset + PREFIX.mark) !== FRAME_MARK) throw malformed('its mark is missing');
  const bodyBytes = buffer.readUInt32LE(offset + PREFIX.bodyBytes);
  checkFrameSize(bodyBytes, maxBytes);
  return PREFIX.size + bodyBytes;
}

function parseFrame(frame: Buffer): Frame {
  const headerEnd = PREFIX.size + frame.readUInt32LE(PREFIX.headerBytes);
  if (headerEnd % ALIGNMENT !== 0 || headerEnd > frame.byteLength)
    throw malformed(`its header ends at ${headerEnd} of ${frame.byteLength} bytes`);
  const reader = new HeaderReader(frame, headerEnd);
  const heads: TensorHead[] = [];
  for (let left = frame.readUInt16LE(PREFIX.tensors); left > 0; left--) heads.push(reader.tensorHead());
  const meta = reader.meta(frame.readUInt32LE(PREFIX.metaBytes));
  const kind = FRAME_KINDS[frame.readUInt16LE(PREFIX.kind)];
  if (kind === undefined) throw malformed('its kind is unknown');
  return { id: frame.readUInt32LE(PREFIX.id), kind, meta, tensors: parseTensors(frame, headerEnd, heads) };
}

/** Reads a header front to back, and no further than its end. */
class HeaderReader {
  readonly #frame: Buffer;
  readonly #end: number;
  #offset = PREFIX.size;

  constructor(frame: Buffer, end: number) {
    this.#frame = frame;
    this.#end = end;
  }

  tensorHead(): TensorHead {
    const start = this.#take(HEAD.size);
    const dtype = FRAME_TYPES[this.#frame.readUInt16LE(start + HEAD.dtype)];
    if (dtype === undefined) throw malformed('the type of a tensor is unknown');
    const rank = this.#frame.readUInt16LE(start + HEAD.rank);
    const dimsStart = this.#take(rank * DIM_BYTES);
    const dims: number[] = [];
    for (let axis = 0; axis < rank; axis++) dims.push(this.#frame.readUInt32LE(dimsStart + axis * DIM_BYTES));
    const nameBytes = this.#frame.readUInt32LE(start + HEAD.nameBytes);
    const nameStart = this.#take(nameBytes);
    const name = this.#frame.toString('utf8', nameStart, nameStart + nameBytes);
    return { name, dtype, dims, bytes: this.#frame.readUInt32LE(start + HEAD.bytes) };
  }

  meta(bytes: number): Meta {
    const start = this.#take(bytes);
    return bytes === 0 ? NO_META : (parseJson(this.#frame.subarray(start, start + bytes)) as Meta);
  }

  #take(bytes: number): number {
    const start = this.#offset;
    this.#offset += bytes;
    if (this.#offset > this.#end) throw malformed('its header is cut short');
    return start;
  }
}

/** The tensors from `start` on, which must fill the frame. */
function parseTensors(frame: Buffer, start: number, heads: readonly TensorHead[]): TensorMap {
  const tensors: [string, Tensor][] = [];
  let offset = start;
  for (const head of heads) {
    const end = offset + head.bytes;
    if (end > frame.byteLength) throw malformed(`tensor ${head.name} ends behind the frame`);
    tensors.push([head.name, parseTensor(head, frame.subarray(offset, end))]);
    offset += aligned(head.bytes);
  }
  if (offset !== frame.byteLength)
    throw malformed(`it has ${frame.byteLength} bytes, its tensors end at ${offset}`);
  return Object.fromEntries(tensors);
}

/** Elements are counted before anything is made of them. */
function parseTensor({ name, dtype, dims }: TensorHead, bytes: Buffer): Tensor {
  const count = elementCount(dims);
  if (dtype === 'string') {
    const data = parseJson(bytes);
    if (!isStrings(data) || data.length !== count) throw wrongSize(name, dims, bytes);
    return { dtype, dims, data };
  }
  if (elementBytes(dtype, count) !== bytes.byteLength) throw wrongSize(name, dims, bytes);
  return { dtype, dims, data: viewAs(dtype, bytes) };
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    throw malformed('its text is not JSON');
  }
}

function isStrings(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string');
}

function wrongSize(name: string, dims: readonly number[], bytes: Buffer): WhittleError {
  return malformed(`tensor ${name} has ${bytes.byteLength} bytes for dims [${dims.join(', ')}]`);
}

function malformed(reason: string): WhittleError {
  return new WhittleError('RUNNER_FAILED', `A frame is malformed: ${reason}`, { reason });
}

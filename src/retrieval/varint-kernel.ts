import { WhittleError } from '../core/index.js';

/** Writes unsigned integers below 2^32 as 1 to 5 bytes, 7 bits each, lowest first (LEB128). */
export class VarintWriter {
  #bytes = new Uint8Array(1 << 16);
  #length = 0;

  integer(value: number): void {
    this.#reserve(5);
    let rest = value;
    while (rest > 127) {
      this.#bytes[this.#length++] = (rest & 127) | 128;
      rest >>>= 7;
    }
    this.#bytes[this.#length++] = rest;
  }

  /** `count` integers of `values` from `start`. */
  integers(values: Uint32Array, start: number, count: number): void {
    for (let at = start; at < start + count; at++) this.integer(values[at] as number);
  }

  /** A text as its UTF-8 length and bytes. */
  text(value: string): void {
    const bytes = Buffer.from(value, 'utf8');
    this.integer(bytes.length);
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** What was written; the writer must not be used afterwards. */
  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + count));
    larger.set(this.#bytes);
    this.#bytes = larger;
  }
}

/** Reads what {@link VarintWriter} wrote. @throws FILE_CORRUPT past the end of the bytes. */
export class VarintReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  integer(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) throw pastTheEnd(this.#bytes.length);
      value |= (byte & 127) << shift;
      if (byte < 128) return value >>> 0;
    }
  }

  /** Fills `count` entries of `values` from `start`. */
  integers(values: Uint32Array, start: number, count: number): void {
    for (let at = start; at < start + count; at++) values[at] = this.integer();
  }

  text(): string {
    const length = this.integer();
    const start = this.#at;
    this.#at += length;
    if (this.#at > this.#bytes.length) throw pastTheEnd(this.#bytes.length);
    return this.#bytes.toString('utf8', start, this.#at);
  }
}

function pastTheEnd(byteLength: number): WhittleError {
  const reason = `more than its ${byteLength} bytes are needed`;
  return new WhittleError('FILE_CORRUPT', `The file is cut short: ${reason}`, { reason });
}

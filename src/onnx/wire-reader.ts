import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';

/** Longest tag and length, or varint. */
const MAX_VALUE_BYTES = 20;
// The protobuf library stops at this many nested groups too.
const MAX_GROUPS = 100;

/** The bytes of `[offset, offset + byteLength)`. */
export type ReadBytes = (offset: number, byteLength: number) => Uint8Array;

/**
 * Reads tags, lengths and skips values of a protobuf message that need not be in memory: bytes are fetched a window at
 * a time, and what is skipped is not fetched. Errors are those of the protobuf library.
 */
export class WireReader {
  readonly byteLength: number;
  readonly #read: ReadBytes;
  readonly #windowBytes: number;
  #window = new BinaryReader(new Uint8Array(0));
  #base = 0;
  #position = 0;

  constructor(read: ReadBytes, byteLength: number, windowBytes: number) {
    this.#read = read;
    this.byteLength = byteLength;
    this.#windowBytes = windowBytes;
  }

  /** A reader of bytes that are in memory. */
  static of(bytes: Uint8Array): WireReader {
    const { byteLength } = bytes;
    return new WireReader((offset) => bytes.subarray(offset), byteLength, byteLength);
  }

  get pos(): number {
    return this.#position;
  }

  set pos(position: number) {
    this.#position = position;
  }

  tag(): [number, WireType] {
    return this.#take((window) => window.tag());
  }

  uint32(): number {
    return this.#take((window) => window.uint32());
  }

  varint(): bigint | string {
    return this.#take((window) => window.uint64());
  }

  /** Passes over the value of a field. */
  skip(wireType: WireType, field: number, depth = 0): void {
    if (wireType === WireType.LengthDelimited) {
      const byteLength = this.uint32();
      this.#position += byteLength;
    } else if (wireType === WireType.StartGroup) this.#skipGroup(field, depth);
    else this.#take((window) => window.skip(wireType, field));
  }

  #skipGroup(field: number, depth: number): void {
    if (depth >= MAX_GROUPS) throw new Error('maximum recursion depth reached');
    for (;;) {
      const [number, wireType] = this.tag();
      if (wireType === WireType.EndGroup) {
        if (number !== field) throw new Error('invalid end group tag');
        return;
      }
      this.skip(wireType, number, depth + 1);
    }
  }

  #take<Value>(take: (window: BinaryReader) => Value): Value {
    const end = Math.min(this.#position + MAX_VALUE_BYTES, this.byteLength);
    if (this.#position < this.#base || end > this.#base + this.#window.len) {
      this.#base = this.#position;
      const length = Math.max(0, Math.min(this.#windowBytes, this.byteLength - this.#base));
      this.#window = new BinaryReader(this.#read(this.#base, length));
    }
    const window = this.#window;
    window.pos = this.#position - this.#base;
    const value = take(window);
    this.#position = this.#base + window.pos;
    return value;
  }
}

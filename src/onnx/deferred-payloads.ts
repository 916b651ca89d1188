import { randomBytes } from 'node:crypto';
import type { DataType } from '../core/index.js';
import type { FileContent } from './model.js';
import type { WireField } from './wire.js';

/** Values of at least this many bytes stay in the model's file. */
const DEFER_FROM_BYTES = 2 ** 20;

// Protobuf tag of TensorProto.raw_data: field 9, length-delimited.
const RAW_DATA_TAG = 0x4a;
const KEY_BYTES = 16;
const TOKEN_BYTES = KEY_BYTES + 4;

/** Fields whose bytes are a tensor's values as they are in memory, and the only element type where that is so. */
const VALUE_FIELDS: ReadonlyMap<string, DataType | 'any'> = new Map([
  ['raw_data', 'any'],
  ['float_data', 'float32'],
  ['double_data', 'float64'],
]);

/** The way from the model down to a tensor that becomes an initializer or an attribute. */
const WAY = new Set([
  'onnx.ModelProto.graph',
  'onnx.GraphProto.initializer',
  'onnx.GraphProto.node',
  'onnx.NodeProto.attribute',
  'onnx.AttributeProto.t',
  'onnx.AttributeProto.tensors',
  'onnx.AttributeProto.g',
  'onnx.AttributeProto.graphs',
]);

/** Fills `target` with the file's bytes from `offset` on. */
export type ReadInto = (target: Uint8Array, offset: number) => void;

interface Deferred {
  readonly payload: WireField;
  readonly dtype: DataType | 'any';
}

/**
 * Large values that are left in the model's file. {@link withoutPayloads} gives the file's bytes with a token in the
 * place of each; the decoder then asks for the content behind a token.
 */
export class DeferredPayloads {
  readonly #file: Pick<FileContent, 'path' | 'version'>;
  // Random, so that no tensor in a file can be taken for a token.
  readonly #key = randomBytes(KEY_BYTES);
  readonly #deferred: Deferred[] = [];
  readonly #asked = new Set<number>();
  /** Lengths that change, by where they are written. */
  readonly #lengths = new Map<number, { readonly width: number; value: number }>();

  constructor(file: Pick<FileContent, 'path' | 'version'>) {
    this.#file = file;
  }

  /** Whether the decoder has asked for every one; a token elsewhere would be taken for values. */
  get complete(): boolean {
    return this.#asked.size === this.#deferred.length;
  }

  /** Notes a payload, met in the file's order, if it is large enough and holds a tensor's values. */
  visit(payload: WireField, around: readonly WireField[]): void {
    const { field, byteLength } = payload;
    const dtype = field.parent.typeName === 'onnx.TensorProto' ? VALUE_FIELDS.get(field.name) : undefined;
    if (dtype === undefined || byteLength < DEFER_FROM_BYTES) return;
    if (!around.every(({ field: outer }) => WAY.has(`${outer.parent.typeName}.${outer.name}`))) return;
    // A tag of one byte can be overwritten with that of raw_data.
    if (payload.lengthOffset - payload.tagOffset !== 1) return;
    this.#deferred.push({ payload, dtype });
    for (const changed of [payload, ...around]) this.#shorten(changed, byteLength - TOKEN_BYTES);
  }

  /** The content behind a token, if these bytes are one and its values are of this type. */
  contentOf(bytes: Uint8Array, dtype: DataType): FileContent | undefined {
    if (bytes.byteLength !== TOKEN_BYTES || !this.#key.equals(bytes.subarray(0, KEY_BYTES))) return undefined;
    const index = new DataView(bytes.buffer, bytes.byteOffset).getUint32(KEY_BYTES, true);
    const deferred = this.#deferred[index];
    if (deferred === undefined || (deferred.dtype !== 'any' && deferred.dtype !== dtype)) return undefined;
    this.#asked.add(index);
    const { start, byteLength } = deferred.payload;
    return { kind: 'file', ...this.#file, offset: start, byteLength };
  }

  /** The file's bytes with tokens for the payloads; these are not read. */
  withoutPayloads(readInto: ReadInto, fileBytes: number): Uint8Array {
    const removed = this.#deferred.reduce((sum, { payload }) => sum + payload.byteLength - TOKEN_BYTES, 0);
    const bytes = new Uint8Array(fileBytes - removed);
    const lengths = [...this.#lengths].sort(([one], [other]) => one - other);
    let from = 0;
    let to = 0;
    const copyUntil = (end: number): void => {
      readInto(bytes.subarray(to, to + end - from), from);
      // Lengths stand before what they measure, so they are all in a part that has been copied.
      while (lengths[0] !== undefined && lengths[0][0] < end) {
        const [offset, { width, value }] = lengths[0];
        writeVarint(bytes, to + offset - from, width, value);
        lengths.shift();
      }
      to += end - from;
      from = end;
    };
    this.#deferred.forEach(({ payload }, index) => {
      copyUntil(payload.start);
      bytes[to - (payload.start - payload.tagOffset)] = RAW_DATA_TAG;
      bytes.set(this.#key, to);
      new DataView(bytes.buffer).setUint32(to + KEY_BYTES, index, true);
      to += TOKEN_BYTES;
      from += payload.byteLength;
    });
    copyUntil(fileBytes);
    return bytes;
  }

  #shorten({ lengthOffset, start, byteLength }: WireField, by: number): void {
    const known = this.#lengths.get(lengthOffset);
    if (known === undefined)
      this.#lengths.set(lengthOffset, { width: start - lengthOffset, value: byteLength - by });
    else known.value -= by;
  }
}

/** A varint in exactly `width` bytes: protobuf allows leading zeros. */
function writeVarint(bytes: Uint8Array, at: number, width: number, value: number): void {
  let rest = value;
  for (let index = 0; index < width; index++) {
    bytes[at + index] = (rest & 0x7f) | (index < width - 1 ? 0x80 : 0);
    rest >>>= 7;
  }
}

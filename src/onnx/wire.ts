import { ScalarType } from '@bufbuild/protobuf';
import type { DescField, DescMessage } from '@bufbuild/protobuf';
import { WireType } from '@bufbuild/protobuf/wire';
import { WhittleError } from '../core/index.js';
import type { WireReader } from './wire-reader.js';

// The protobuf library stops at this many nested messages too.
const MAX_DEPTH = 100;

/** A length-delimited field of a message, by its bytes' places in the file. */
export interface WireField {
  readonly field: DescField;
  readonly tagOffset: number;
  readonly lengthOffset: number;
  /** Of the value behind the length. */
  readonly start: number;
  readonly byteLength: number;
}

/** Told of a field that holds no message, and of the fields around it from the outside in. */
export type WireVisitor = (payload: WireField, around: readonly WireField[]) => void;

/**
 * Walks a protobuf message by its schema and refuses what the library would misread or report without a place: lengths
 * beyond the enclosing message, wire types that do not fit the field, cut numbers, bottomless nesting. Payloads are
 * skipped, so the cost is that of the structure and not of the weights.
 * @throws MODEL_INVALID with `details.byteOffset` and `details.field`.
 */
export function checkWire(schema: DescMessage, reader: WireReader, visit?: WireVisitor): void {
  new WireWalker(reader, visit).message(schema, reader.byteLength, 0);
}

class WireWalker {
  readonly #reader: WireReader;
  readonly #visit: WireVisitor | undefined;
  readonly #around: WireField[] = [];
  #field = '';
  #tagOffset = 0;

  constructor(reader: WireReader, visit: WireVisitor | undefined) {
    this.#reader = reader;
    this.#visit = visit;
  }

  message(schema: DescMessage, end: number, depth: number): void {
    if (depth >= MAX_DEPTH) this.#fail(`messages are nested deeper than ${MAX_DEPTH}`);
    while (this.#reader.pos < end) {
      this.#tagOffset = this.#reader.pos;
      this.#field = schema.typeName;
      const [number, wireType] = this.#read(() => this.#reader.tag());
      const field = schema.fields.find((candidate) => candidate.number === number);
      if (field === undefined)
        this.#read(() => {
          this.#reader.skip(wireType, number);
        });
      else this.#value(field, wireType, end, depth);
      if (this.#reader.pos > end) this.#fail('its value runs past the end of the message around it');
    }
  }

  #value(field: DescField, wireType: WireType, end: number, depth: number): void {
    this.#field = `${field.parent.typeName}.${field.name}`;
    const natural = wireTypeOf(field);
    const packed =
      wireType === WireType.LengthDelimited && natural !== wireType && field.fieldKind === 'list';
    if (wireType !== natural && !packed) this.#fail(`it has wire type ${wireType}, not ${natural}`);
    if (wireType !== WireType.LengthDelimited) {
      this.#read(() => {
        this.#reader.skip(wireType, field.number);
      });
      return;
    }
    const tagOffset = this.#tagOffset;
    const lengthOffset = this.#reader.pos;
    const byteLength = this.#read(() => this.#reader.uint32());
    const start = this.#reader.pos;
    const valueEnd = start + byteLength;
    if (valueEnd > end) this.#fail(`its ${byteLength} bytes run past the end of the message around it`);
    const value: WireField = { field, tagOffset, lengthOffset, start, byteLength };
    if (field.message !== undefined) {
      this.#around.push(value);
      this.message(field.message, valueEnd, depth + 1);
      this.#around.pop();
      return;
    }
    if (packed) this.#numbers(natural, valueEnd);
    else this.#reader.pos = valueEnd;
    this.#visit?.(value, this.#around);
  }

  /** Packed numbers must end exactly where their field ends. */
  #numbers(wireType: WireType, end: number): void {
    const reader = this.#reader;
    if (wireType === WireType.Bit32 || wireType === WireType.Bit64) {
      const size = wireType === WireType.Bit32 ? 4 : 8;
      if ((end - reader.pos) % size !== 0) this.#fail(`its length is no multiple of ${size}`);
      reader.pos = end;
      return;
    }
    while (reader.pos < end) this.#read(() => reader.varint());
    if (reader.pos > end) this.#fail('its last number is cut');
  }

  #read<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      return this.#fail(error instanceof Error ? error.message : String(error));
    }
  }

  #fail(reason: string): never {
    throw new WhittleError(
      'MODEL_INVALID',
      `Not an ONNX model: byte ${this.#tagOffset}, ${this.#field}: ${reason}`,
      { byteOffset: this.#tagOffset, field: this.#field, reason },
    );
  }
}

/** Wire type of one value of a field. */
function wireTypeOf(field: DescField): WireType {
  const scalar = field.fieldKind === 'scalar' || field.fieldKind === 'list' ? field.scalar : undefined;
  if (field.message !== undefined) return WireType.LengthDelimited;
  switch (scalar) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return WireType.LengthDelimited;
    case ScalarType.FLOAT:
      return WireType.Bit32;
    case ScalarType.DOUBLE:
      return WireType.Bit64;
    default:
      return WireType.Varint;
  }
}

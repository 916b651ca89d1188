import { crc32 } from 'node:zlib';
import { WhittleError } from '../core/index.js';
import { completeOptions } from './text-index-data.js';
import type { TextIndexData, TextIndexOptions } from './text-index-data.js';
import { VarintReader, VarintWriter } from './varint-kernel.js';

/*
 * One file, little-endian:
 *   "WTXT" | version, 4 bytes | CRC-32 of all that follows, 4 bytes | length of the header, 4 bytes
 *   header: JSON of { options, rows, terms, postings }
 *   for each term: varints of its UTF-8 length, its bytes, its number of postings,
 *                  then for each posting the step from the row before (first: row + 1), and one frequency a field
 */
const MAGIC = 0x54585457;
const VERSION = 1;
const PREFIX_BYTES = 16;

interface Header {
  readonly options: TextIndexOptions;
  readonly rows: number;
  readonly terms: number;
  readonly postings: number;
}

/** The bytes of a text index's file; equal data gives equal bytes. */
export function encodeTextIndex(data: TextIndexData): Uint8Array {
  const { options, rows, terms, postingRows } = data;
  const header: Header = { options, rows, terms: terms.length, postings: postingRows.length };
  const headerBytes = new TextEncoder().encode(JSON.stringify(header));
  const body = encodePostings(data);
  const bytes = new Uint8Array(PREFIX_BYTES + headerBytes.length + body.length);
  bytes.set(headerBytes, PREFIX_BYTES);
  bytes.set(body, PREFIX_BYTES + headerBytes.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint32(4, VERSION, true);
  view.setUint32(12, headerBytes.length, true);
  view.setUint32(8, crc32(bytes.subarray(12)), true);
  return bytes;
}

/** Reads what {@link encodeTextIndex} wrote. @throws FILE_CORRUPT for anything else, naming what is wrong. */
export function decodeTextIndex(bytes: Uint8Array): TextIndexData {
  check(bytes.length >= PREFIX_BYTES, 'it is cut short');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  check(view.getUint32(0, true) === MAGIC, 'it does not start with WTXT');
  const version = view.getUint32(4, true);
  check(version === VERSION, `it has version ${version}, this program reads ${VERSION}; build it again`);
  check(view.getUint32(8, true) === crc32(bytes.subarray(12)), 'its checksum is wrong');
  const bodyStart = PREFIX_BYTES + view.getUint32(12, true);
  // With the checksum right, the rest is as it was written.
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(PREFIX_BYTES, bodyStart))) as Header;
  return decodePostings(bytes.subarray(bodyStart), header);
}

function encodePostings(data: TextIndexData): Uint8Array {
  const { terms, offsets, postingRows, frequencies } = data;
  const fields = data.options.fields.length;
  const writer = new VarintWriter();
  terms.forEach((term, index) => {
    const [start = 0, end = 0] = offsets.subarray(index, index + 2);
    writer.text(term);
    writer.integer(end - start);
    let previous = -1;
    for (let posting = start; posting < end; posting++) {
      const row = postingRows[posting] ?? 0;
      writer.integer(row - previous);
      writer.integers(frequencies, posting * fields, fields);
      previous = row;
    }
  });
  return writer.finish();
}

function decodePostings(body: Uint8Array, header: Header): TextIndexData {
  const fields = header.options.fields.length;
  const reader = new VarintReader(body);
  const terms: string[] = [];
  const offsets = new Uint32Array(header.terms + 1);
  const postingRows = new Uint32Array(header.postings);
  const frequencies = new Uint32Array(header.postings * fields);
  let posting = 0;
  for (let term = 0; term < header.terms; term++) {
    terms.push(reader.text());
    const end = posting + reader.integer();
    for (let row = -1; posting < end; posting++) {
      row += reader.integer();
      postingRows[posting] = row;
      reader.integers(frequencies, posting * fields, fields);
    }
    offsets[term + 1] = end;
  }
  return {
    options: completeOptions(header.options),
    rows: header.rows,
    terms,
    offsets,
    postingRows,
    frequencies,
  };
}

function check(condition: boolean, reason: string): asserts condition {
  if (!condition) throw new WhittleError('FILE_CORRUPT', `This is no text index: ${reason}`, { reason });
}

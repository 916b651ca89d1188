import type { FileHandle } from 'node:fs/promises';
import { WhittleError } from '../core/index.js';
import { openForReading, readFully } from './files.js';
import type { IndexShape } from './vector-index.js';

/*
 * The file that hnswlib writes (saveIndex in hnswalg.h, 64-bit little-endian):
 *   header of 96 bytes
 *   count × [ links on level 0 | vector | label (8 bytes) ]
 *   count × [ byte length (4 bytes) | links on levels 1, 2, … ]
 * A block of links is a 16-bit count in 4 bytes, then room for m (level 0: 2 m) 32-bit neighbours. hnswlib itself trusts
 * all of it and reads wherever a wrong number points; so everything that it follows is checked here before.
 */
const HEADER_BYTES = 96;
const CHUNK_BYTES = 1 << 24;

interface Header extends IndexShape {
  readonly elementBytes: number;
  readonly labelOffset: number;
  readonly maxLevel: number;
  readonly entryPoint: number;
  readonly maxLinks: number;
  readonly maxLinks0: number;
}

/**
 * Checks that a file is an index that hnswlib can search without leaving its memory, and answers its shape.
 * @throws FILE_MISSING where there is no file, FILE_CORRUPT naming what is wrong in it.
 */
export async function checkHnswFile(path: string): Promise<IndexShape> {
  const file = await openForReading(path);
  try {
    const reader = new Reader(path, file, (await file.stat()).size);
    const header = readHeader(reader, await reader.read(0, HEADER_BYTES));
    await checkLevel0(reader, header);
    const upperStart = HEADER_BYTES + header.size * header.elementBytes;
    checkUpperLevels(reader, header, await reader.read(upperStart, reader.fileBytes - upperStart));
    return { size: header.size, dimensions: header.dimensions };
  } finally {
    await file.close();
  }
}

class Reader {
  readonly path: string;
  readonly fileBytes: number;
  readonly #file: FileHandle;

  constructor(path: string, file: FileHandle, fileBytes: number) {
    this.path = path;
    this.#file = file;
    this.fileBytes = fileBytes;
  }

  async read(position: number, byteLength: number): Promise<DataView> {
    this.check(position + byteLength <= this.fileBytes, 'it is cut short');
    const bytes = new Uint8Array(byteLength);
    await readFully(this.#file, this.path, bytes, position);
    return new DataView(bytes.buffer);
  }

  check(condition: boolean, reason: string): asserts condition {
    if (condition) return;
    throw new WhittleError('FILE_CORRUPT', `${this.path} is not an HNSW index: ${reason}`, {
      path: this.path,
      reason,
    });
  }
}

function readHeader(reader: Reader, view: DataView): Header {
  const integer = (at: number): number => Number(view.getBigUint64(at, true));
  const vectorOffset = integer(40);
  const labelOffset = integer(32);
  const header: Header = {
    size: integer(16),
    elementBytes: integer(24),
    labelOffset,
    dimensions: (labelOffset - vectorOffset) / 4,
    maxLevel: view.getInt32(48, true),
    entryPoint: view.getUint32(52, true),
    maxLinks: integer(56),
    maxLinks0: integer(64),
  };
  const consistent =
    integer(0) === 0 &&
    integer(8) === header.size &&
    header.size > 0 &&
    header.dimensions >= 1 &&
    Number.isInteger(header.dimensions) &&
    vectorOffset === header.maxLinks0 * 4 + 4 &&
    header.elementBytes === labelOffset + 8 &&
    integer(72) === header.maxLinks &&
    header.maxLinks0 === header.maxLinks * 2 &&
    header.maxLevel >= 0 &&
    header.entryPoint < header.size;
  reader.check(consistent, 'its header does not fit together');
  reader.check(HEADER_BYTES + header.size * header.elementBytes <= reader.fileBytes, 'it is cut short');
  return header;
}

async function checkLevel0(reader: Reader, header: Header): Promise<void> {
  const { size, elementBytes, labelOffset, maxLinks0 } = header;
  const seen = new Uint8Array(size);
  const perChunk = Math.max(1, Math.floor(CHUNK_BYTES / elementBytes));
  for (let first = 0; first < size; first += perChunk) {
    const count = Math.min(perChunk, size - first);
    const chunk = await reader.read(HEADER_BYTES + first * elementBytes, count * elementBytes);
    for (let at = 0; at < chunk.byteLength; at += elementBytes) {
      checkLinks(reader, chunk, at, maxLinks0, (link) => link < size);
      const label = Number(chunk.getBigUint64(at + labelOffset, true));
      reader.check(label < size && seen[label] === 0, 'two vectors have the same row, or a row is too large');
      seen[label] = 1;
    }
  }
}

function checkUpperLevels(reader: Reader, header: Header, view: DataView): void {
  const blockBytes = header.maxLinks * 4 + 4;
  const starts = new Uint32Array(header.size);
  const levels = new Uint8Array(header.size);
  let at = 0;
  for (let element = 0; element < header.size; element++) {
    reader.check(at + 4 <= view.byteLength, 'it is cut short');
    const bytes = view.getUint32(at, true);
    const level = bytes / blockBytes;
    reader.check(Number.isInteger(level) && level <= header.maxLevel, 'a vector has a wrong level');
    starts[element] = at + 4;
    levels[element] = level;
    at += 4 + bytes;
  }
  reader.check(at === view.byteLength, 'it has bytes left over');
  reader.check(levels[header.entryPoint] === header.maxLevel, 'its entry point has a wrong level');
  levels.forEach((top, element) => {
    for (let level = 1; level <= top; level++) {
      const start = (starts[element] ?? 0) + (level - 1) * blockBytes;
      checkLinks(reader, view, start, header.maxLinks, (link) => (levels[link] ?? 0) >= level);
    }
  });
}

function checkLinks(
  reader: Reader,
  view: DataView,
  start: number,
  maxLinks: number,
  allowed: (link: number) => boolean,
): void {
  const count = view.getUint16(start, true);
  reader.check(count <= maxLinks, 'a vector has too many links');
  for (let index = 1; index <= count; index++)
    reader.check(allowed(view.getUint32(start + index * 4, true)), 'a link points outside of its level');
}

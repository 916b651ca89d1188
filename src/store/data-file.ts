import { closeSync, fstatSync, mkdirSync, openSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { findLostPage, NO_PAGE } from './data-pages.js';
import { storeFailed } from './store-error.js';

/**
 * LMDB maps its file and trusts it: on a damaged one the process dies of SIGSEGV or SIGBUS. So the header is checked
 * before LMDB sees the file. A meta page of LMDB's data format 2 (64-bit little-endian) holds, at these bytes:
 */
const META = {
  magic: 24,
  format: 28,
  pageBytes: 48,
  roots: [88, 136],
  lastPage: 144,
  transaction: 152,
  end: 160,
};
const MAGIC = 0xbeefc0de;
const FORMAT = 2;

interface MetaPage {
  readonly pageBytes: number;
  readonly roots: readonly bigint[];
  readonly lastPage: bigint;
  readonly transaction: bigint;
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** Makes the store's folder. @throws STORE_FAILED where that is not possible. */
export function makeFolder(path: string): void {
  try {
    const found = statSync(path, { throwIfNoEntry: false });
    if (found !== undefined && !found.isDirectory()) throw storeFailed(path, 'it is not a directory');
    mkdirSync(path, { recursive: true });
  } catch (cause) {
    throw storeFailed(path, reasonOf(cause), cause);
  }
}

function readMeta(folder: string, file: number, offset: number): MetaPage {
  const page = Buffer.alloc(META.end);
  const complete = readSync(file, page, 0, META.end, offset) === META.end;
  const valid = page.readUInt32LE(META.magic) === MAGIC && page.readUInt16LE(META.format) === FORMAT;
  if (!complete || !valid)
    throw storeFailed(folder, `data.mdb is corrupt: it has no LMDB header at byte ${String(offset)}`);
  return {
    pageBytes: page.readUInt32LE(META.pageBytes),
    roots: META.roots.map((root) => page.readBigUInt64LE(root)),
    lastPage: page.readBigUInt64LE(META.lastPage),
    transaction: page.readBigUInt64LE(META.transaction),
  };
}

/** The newer one of the two meta pages. */
function currentMeta(folder: string, file: number): MetaPage {
  const first = readMeta(folder, file, 0);
  if (![4096, 8192, 16_384, 32_768, 65_536].includes(first.pageBytes))
    throw storeFailed(folder, `data.mdb is corrupt: its page size is ${String(first.pageBytes)}`);
  const second = readMeta(folder, file, first.pageBytes);
  return second.transaction > first.transaction ? second : first;
}

function checkFile(folder: string, file: number): void {
  const bytes = fstatSync(file).size;
  if (bytes === 0) return;
  const { pageBytes, roots, lastPage } = currentMeta(folder, file);
  const pageCount = BigInt(Math.floor(bytes / pageBytes));
  if (lastPage < pageCount) return;
  const readPage = (page: bigint): Buffer => {
    const content = Buffer.alloc(pageBytes);
    readSync(file, content, 0, pageBytes, page * BigInt(pageBytes));
    return content;
  };
  const trees = roots.filter((root) => root !== NO_PAGE);
  const lost = findLostPage(trees, pageCount, readPage);
  if (lost !== undefined)
    throw storeFailed(folder, `data.mdb is corrupt: it was cut off, page ${String(lost)} is missing`);
}

/**
 * Checks the data file in a store's folder, if there is one: its header, and where it has fewer pages than the header
 * counts, all its pages. Such a file may be whole, since LMDB does not write unused pages at the end, or cut off.
 * @throws STORE_FAILED where the file cannot be read, is not LMDB's, or lacks pages.
 */
export function checkDataFile(folder: string): void {
  const path = join(folder, 'data.mdb');
  let file: number | undefined;
  try {
    if (statSync(path, { throwIfNoEntry: false }) === undefined) return;
    file = openSync(path, 'r');
    checkFile(folder, file);
  } catch (cause) {
    throw storeFailed(folder, reasonOf(cause), cause);
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

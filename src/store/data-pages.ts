/**
 * Walks the pages of an LMDB data file (data format 2, 64-bit little-endian) without LMDB. A page starts with its own
 * number and has its flags, then the offsets of its nodes; nodes of a branch name child pages, those of a leaf may name
 * overflow pages or hold the root of a named database.
 */
const HEADER_BYTES = 24;
const PAGE = { number: 0, flags: 18, nodesEnd: 20 };
const NODE = { low: 0, high: 2, flags: 4, keyBytes: 6, key: 8 };
const BRANCH = 1;
const LEAF = 2;
const BIG_DATA = 1;
const SUB_DATABASE = 2;
/** Where a named database's record has its root, and an overflow reference its number of pages. */
const DATABASE_ROOT = 40;
const OVERFLOW_PAGES = 16;
/** The root of an empty tree. */
export const NO_PAGE = 0xffff_ffff_ffff_ffffn;

/** Where one page is referred to: itself, and for a run of overflow pages their count. */
interface Reference {
  readonly page: bigint;
  readonly pages: bigint;
  /** Whether it has nodes of its own. */
  readonly isTree: boolean;
}

function branchReference(page: Buffer, node: number): Reference {
  const high = BigInt(page.readUInt16LE(node + NODE.flags)) << 32n;
  const low = BigInt(page.readUInt32LE(node + NODE.low));
  return { page: high | low, pages: 1n, isTree: true };
}

function leafReference(page: Buffer, node: number): Reference | undefined {
  const flags = page.readUInt16LE(node + NODE.flags);
  const data = node + NODE.key + page.readUInt16LE(node + NODE.keyBytes);
  if ((flags & BIG_DATA) !== 0)
    return {
      page: page.readBigUInt64LE(data),
      pages: page.readBigUInt64LE(data + OVERFLOW_PAGES),
      isTree: false,
    };
  if ((flags & SUB_DATABASE) === 0) return undefined;
  return { page: page.readBigUInt64LE(data + DATABASE_ROOT), pages: 1n, isTree: true };
}

/** The pages that a page's nodes refer to; undefined where it is neither a branch nor a leaf. */
function referencesOf(page: Buffer): Reference[] | undefined {
  const kind = page.readUInt16LE(PAGE.flags);
  if (kind !== BRANCH && kind !== LEAF) return undefined;
  const references: Reference[] = [];
  const offsetsEnd = HEADER_BYTES + page.readUInt16LE(PAGE.nodesEnd);
  for (let offset = HEADER_BYTES; offset < offsetsEnd; offset += 2) {
    const node = HEADER_BYTES + page.readUInt16LE(offset);
    const reference = kind === BRANCH ? branchReference(page, node) : leafReference(page, node);
    if (reference !== undefined && reference.page !== NO_PAGE) references.push(reference);
  }
  return references;
}

/**
 * The number of a page that the trees need and the file does not have, or has something else in; undefined where all
 * are there. `readPage` gives a page in a buffer of its own.
 * @throws RangeError where a node lies outside its page.
 */
export function findLostPage(
  roots: readonly bigint[],
  pageCount: bigint,
  readPage: (page: bigint) => Buffer,
): bigint | undefined {
  const open = roots.map((page): Reference => ({ page, pages: 1n, isTree: true }));
  let visited = 0n;
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    // A sound file has no page twice, so more visits than pages means that damage made a circle.
    if (next.page + next.pages > pageCount || ++visited > pageCount) return next.page;
    const page = readPage(next.page);
    if (page.readBigUInt64LE(PAGE.number) !== next.page) return next.page;
    if (!next.isTree) continue;
    const references = referencesOf(page);
    if (references === undefined) return next.page;
    for (const reference of references) open.push(reference);
  }
  return undefined;
}

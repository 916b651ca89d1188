import { WhittleError } from '../core/index.js';
import type { RankedRows } from '../serving/index.js';
import { MAX_ID_CHARACTERS, MAX_ITEMS } from './schemas/fields.js';

/**
 * The binary form of a rank request and its answer, little-endian; `docs/binary-rank.md` has the table of bytes.
 * Typed arrays hold numbers in the machine's order, which is little-endian wherever ONNX Runtime has a build.
 */

const MAGIC = 0x31524857; // 'WHR1'
const HEADER_BYTES = 16;
const WORD_BYTES = 4;
const MAX_USER_BYTES = 4 * MAX_ID_CHARACTERS;

/** What a binary body says. The arrays are its own copies. */
export interface RankRows {
  readonly user?: string;
  readonly rows: Uint32Array;
  readonly historyRows?: Uint32Array;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Nothing is allocated by a count before the body is known to be as long as the count says. @throws INPUT_INVALID */
export function decodeRankRows(body: Uint8Array): RankRows {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  if (body.byteLength < HEADER_BYTES || view.getUint32(0, true) !== MAGIC)
    throw refused('magic', `a header of ${HEADER_BYTES} bytes that starts with WHR1`);
  const candidates = view.getUint32(4, true);
  const history = view.getUint32(8, true);
  const userBytes = view.getUint16(12, true);
  if (view.getUint16(14, true) !== 0) throw refused('reserved', '0', view.getUint16(14, true));
  if (candidates < 1 || candidates > MAX_ITEMS)
    throw refused('candidates', `1 to ${MAX_ITEMS} rows`, candidates);
  if (history > MAX_ITEMS) throw refused('history', `0 to ${MAX_ITEMS} rows`, history);
  if (userBytes > MAX_USER_BYTES) throw refused('user', `0 to ${MAX_USER_BYTES} bytes`, userBytes);
  if (userBytes === 0 && history === 0) throw refused('user', 'user, history or both');
  const rowsAt = HEADER_BYTES + Math.ceil(userBytes / WORD_BYTES) * WORD_BYTES;
  const expected = rowsAt + (candidates + history) * WORD_BYTES;
  if (body.byteLength !== expected) throw refused('body', `${expected} bytes by its header`, body.byteLength);
  const historyAt = rowsAt + candidates * WORD_BYTES;
  return {
    ...(userBytes === 0 ? {} : { user: userOf(body.subarray(HEADER_BYTES, HEADER_BYTES + userBytes)) }),
    rows: words(body, rowsAt, candidates),
    ...(history === 0 ? {} : { historyRows: words(body, historyAt, history) }),
  };
}

/** u32 count, then as many u32 rows, best first, and as many f32 scores. */
export function encodeRankedRows({ rows, scores }: Pick<RankedRows, 'rows' | 'scores'>): Buffer {
  const bytes = new ArrayBuffer(WORD_BYTES * (1 + 2 * rows.length));
  new Uint32Array(bytes, 0, 1)[0] = rows.length;
  new Uint32Array(bytes, WORD_BYTES, rows.length).set(rows);
  new Float32Array(bytes, WORD_BYTES * (1 + rows.length)).set(scores);
  return Buffer.from(bytes);
}

function userOf(bytes: Uint8Array): string {
  const allowed = `UTF-8 text of 1 to ${MAX_ID_CHARACTERS} characters`;
  let user: string;
  try {
    user = utf8.decode(bytes);
  } catch {
    throw refused('user', allowed);
  }
  if (user.length > MAX_ID_CHARACTERS) throw refused('user', allowed, user.length);
  return user;
}

/** A body may lie anywhere in a larger buffer, where its words have no alignment. */
function words(body: Uint8Array, at: number, count: number): Uint32Array {
  const copy = new Uint32Array(count);
  new Uint8Array(copy.buffer).set(body.subarray(at, at + count * WORD_BYTES));
  return copy;
}

function refused(field: string, allowed: string, value?: number): WhittleError {
  const details = { field, ...(value === undefined ? {} : { value }), allowed };
  return new WhittleError('INPUT_INVALID', `binary body: ${field} is wrong; allowed: ${allowed}`, details);
}

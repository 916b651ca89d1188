import { constants } from 'node:os';
import { WhittleError } from '../core/index.js';

/** The longest id in UTF-8 bytes: LMDB holds keys of up to 1978. */
const MAX_ID_BYTES = 512;

/**
 * A failure of the files: where, and why. An error that already says so, or blames the caller, is returned as
 * it is.
 */
export function storeFailed(path: string, reason: string, cause?: unknown): WhittleError {
  if (cause instanceof WhittleError && cause.code !== 'INTERNAL') return cause;
  return new WhittleError('STORE_FAILED', `The store at ${path} failed: ${reason}.`, { path, reason }, cause);
}

/** What a disk or folder says that takes no writes. */
const UNWRITABLE = ['EACCES', 'EPERM', 'EROFS', 'ENOSPC', 'EDQUOT', 'EFBIG'] as const;

/** Whether a failure of the files says that they cannot be written now, and not that they are wrong. */
export function isUnwritable({ cause }: WhittleError): boolean {
  if (!(cause instanceof Error && 'code' in cause)) return false;
  // The names are Node's, the numbers LMDB's.
  return UNWRITABLE.some((name) => cause.code === name || cause.code === constants.errno[name]);
}

/** @throws INPUT_INVALID where an id cannot be a key. */
export function checkId(id: string, field: string): void {
  const bytes = Buffer.byteLength(id);
  if (bytes > 0 && bytes <= MAX_ID_BYTES) return;
  throw new WhittleError('INPUT_INVALID', `${field} must have 1 to ${String(MAX_ID_BYTES)} bytes of UTF-8.`, {
    field,
    value: id.slice(0, 64),
    bytes,
    allowed: `1 to ${String(MAX_ID_BYTES)} bytes`,
  });
}

import { WhittleError } from './errors.js';

const REASONS: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EFBIG: 'files may not become that large there',
  EACCES: 'there is no permission to write there',
  EPERM: 'there is no permission to write there',
  EROFS: 'the file system is read-only',
  EISDIR: 'it is a folder',
  ENOTDIR: 'a part of its path is no folder',
  EEXIST: 'a part of its path is no folder',
  ENAMETOOLONG: 'the name is too long',
};

/**
 * What to throw for a failure while `path` was written: FILE_UNWRITABLE where the operating system refused, with its
 * code in `details.reason`; anything else as it is.
 */
export function unwritable(path: string, thrown: unknown): unknown {
  if (!(thrown instanceof Error) || thrown instanceof WhittleError || !('syscall' in thrown)) return thrown;
  const reason = 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : 'unknown';
  const message = `Cannot write ${path}: ${REASONS[reason] ?? thrown.message}`;
  const remedy = 'make room or name a place that can be written to; nothing was left behind';
  return new WhittleError('FILE_UNWRITABLE', message, { path, reason, remedy }, thrown);
}

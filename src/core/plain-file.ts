import { constants } from 'node:fs';
import type { BigIntStats, Stats } from 'node:fs';
import { lstat, open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { WhittleError } from './errors.js';

/**
 * Tells a file from what was written to it, or put in its place, later: every write and every change of its names or
 * permissions sets the time of change, which no program can set back.
 */
export function fileIdentity({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join(':');
}

/**
 * Looks at `<directory>/<file>` without following a link below `directory`.
 * @param file a relative path with forward slashes and without `..`.
 * @throws FILE_MISSING; BUNDLE_INVALID where it is no regular file, has a second name (a hard link), or stands behind
 *   something that is no folder.
 */
export async function inspectPlainFile(directory: string, file: string): Promise<BigIntStats> {
  const parts = file.split('/');
  let path = directory;
  for (const part of parts.slice(0, -1)) {
    path = join(path, part);
    const stats = await look(path, file);
    if (!stats.isDirectory()) throw notPlain(path, file, kindOf(stats), 'a folder');
  }
  const stats = await look(join(directory, file), file);
  if (!stats.isFile()) throw notPlain(join(directory, file), file, kindOf(stats), 'a regular file');
  if (stats.nlink > 1n) throw hardLinked(join(directory, file), file, Number(stats.nlink));
  return stats;
}

/** Opens for reading what {@link inspectPlainFile} looked at. @throws FILE_CORRUPT where something else stands there now. */
export async function openInspected(path: string, stats: BigIntStats): Promise<FileHandle> {
  // What was put there meanwhile must neither be followed (a link) nor waited for (a pipe).
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  const found = await handle.stat({ bigint: true });
  if (fileIdentity(found) === fileIdentity(stats)) return handle;
  await handle.close();
  throw changedFile(path);
}

/** The error for a file that changed while it was looked at. */
export function changedFile(path: string): WhittleError {
  const remedy = 'put new files beside the old ones and rename them into place, then try again';
  return new WhittleError('FILE_CORRUPT', `${path} changed while it was checked: ${remedy}`, {
    path,
    remedy,
  });
}

async function look(path: string, file: string): Promise<BigIntStats> {
  try {
    return await lstat(path, { bigint: true });
  } catch (cause) {
    throw new WhittleError('FILE_MISSING', `${path} cannot be read`, { path, file }, cause);
  }
}

function kindOf(stats: BigIntStats | Stats): string {
  if (stats.isSymbolicLink()) return 'a symbolic link';
  if (stats.isDirectory()) return 'a folder';
  if (stats.isFile()) return 'a regular file';
  if (stats.isFIFO()) return 'a named pipe';
  return stats.isSocket() ? 'a socket' : 'a device';
}

function notPlain(path: string, file: string, found: string, allowed: string): WhittleError {
  const remedy = 'put a copy in its place';
  const message = `${path} is ${found}; allowed in a bundle: ${allowed}; ${remedy}`;
  return new WhittleError('BUNDLE_INVALID', message, { file, path, found, allowed, remedy });
}

function hardLinked(path: string, file: string, names: number): WhittleError {
  const found = `a hard link (${String(names)} names)`;
  const remedy = `give it a file of its own: cp ${path} ${path}.copy && mv ${path}.copy ${path}`;
  const message = `${path} is ${found}, so that it can be changed from outside the bundle; ${remedy}`;
  return new WhittleError('BUNDLE_INVALID', message, {
    file,
    path,
    found,
    allowed: 'a regular file with one name',
    remedy,
  });
}

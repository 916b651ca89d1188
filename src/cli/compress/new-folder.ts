import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { unwritable, WhittleError } from '../../core/index.js';

/**
 * Refuses a folder that is there already: it would be overwritten.
 * @throws USAGE_INVALID
 */
export async function checkNewFolder(directory: string): Promise<void> {
  const found = await stat(directory).catch(() => undefined);
  if (found === undefined) return;
  throw new WhittleError('USAGE_INVALID', `--out ${directory} exists already: name a new folder`, {
    field: 'out',
    value: directory,
    allowed: 'a folder that does not exist yet',
  });
}

/**
 * Makes a folder beside `directory` with `make`, then gives it its name; a failure leaves nothing.
 * @throws USAGE_INVALID where `directory` exists; FILE_UNWRITABLE; what `make` throws.
 */
export async function makeNewFolder(
  directory: string,
  make: (temporary: string) => Promise<void>,
): Promise<void> {
  const target = resolve(directory);
  const temporary = join(dirname(target), `.${basename(target)}.${process.pid}.tmp`);
  // Folders on the way may have to be made too; the first one that was is what a failure removes.
  let first: string | undefined;
  try {
    first = await mkdir(temporary, { recursive: true });
    await make(temporary);
    await checkNewFolder(directory);
    await rename(temporary, target);
  } catch (thrown) {
    if (first !== undefined) await rm(first, { recursive: true, force: true });
    throw unwritable(target, thrown);
  }
}

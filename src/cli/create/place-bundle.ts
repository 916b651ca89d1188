import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { WhittleError } from '../../core/index.js';

/**
 * Refuses a folder that holds something other than a bundle, which replacing it would destroy.
 * @throws USAGE_INVALID
 */
export async function checkPlace(directory: string): Promise<void> {
  const found = await filesIn(directory);
  if (found.length === 0 || found.includes('bundle.json')) return;
  throw new WhittleError(
    'USAGE_INVALID',
    `--out ${directory} holds files that are no bundle: name a new folder, an empty one or a bundle to replace`,
    { field: 'out', value: directory, allowed: 'a new or empty folder, or a bundle' },
  );
}

async function filesIn(directory: string): Promise<readonly string[]> {
  try {
    return await readdir(directory);
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    if (code === 'ENOENT') return [];
    throw new WhittleError('USAGE_INVALID', `--out ${directory} is no folder: ${String(code)}`, {
      field: 'out',
      value: directory,
    });
  }
}

/** Makes a folder beside `directory` with `make`, then puts it in its place; a failure leaves what was there as it was. */
export async function placeWhole<T>(directory: string, make: (temporary: string) => Promise<T>): Promise<T> {
  const temporary = `${directory}.${process.pid}.tmp`;
  const replaced = `${directory}.${process.pid}.old`;
  await mkdir(temporary, { recursive: true });
  try {
    const made = await make(temporary);
    await rename(directory, replaced).catch(ignoreMissing);
    await rename(temporary, directory);
    await rm(replaced, { recursive: true, force: true });
    return made;
  } catch (thrown) {
    await rm(temporary, { recursive: true, force: true });
    throw thrown;
  }
}

function ignoreMissing(thrown: unknown): void {
  if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw thrown;
}

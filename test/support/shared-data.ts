import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';

const sharedDataFolder = fileURLToPath(new URL('../../../shared/data', import.meta.url));

/**
 * Path of a data set (or of a file in it) that is not part of the repository, beside which it stands as
 * `../shared/data`. Where it is missing it says so and returns undefined, for use with `test.skipIf`; in CI a missing
 * one is an error, so that a test cannot vanish there.
 */
export function sharedData(...path: readonly string[]): string | undefined {
  const file = join(sharedDataFolder, ...path);
  if (existsSync(file)) return file;
  if (process.env['CI']) throw new Error(`Test data is missing: ${file}. CI must have it.`);
  console.warn(`Tests that need ../shared/data/${path.join('/')} are skipped: it is not on this machine.`);
  return undefined;
}

import { checkUnchanged, must } from '../core/index.js';
import type { OpenBundle } from './bundle.js';

/** Identities that a runner's files had when they were verified. */
export interface VerifiedPart {
  /** Absolute path of the bundle. */
  readonly directory: string;
  readonly identities: readonly (readonly [file: string, identity: string])[];
}

/** What a runner of these files of the bundle must find. */
export function verifiedPart({ directory, verified }: OpenBundle, files: readonly string[]): VerifiedPart {
  return {
    directory,
    identities: files.map((file) => [file, must(verified.get(file), `identity of ${file}`)]),
  };
}

/**
 * Checks in a runner that has opened its files that they are the verified ones: it may be a replacement, started after
 * files were exchanged and before the bundle is loaded again. A trial has no part to check.
 * @throws FILE_CORRUPT, BUNDLE_INVALID, FILE_MISSING naming the file.
 */
export async function checkVerifiedPart(part: VerifiedPart | undefined): Promise<void> {
  if (part !== undefined) await checkUnchanged(part.directory, new Map(part.identities));
}

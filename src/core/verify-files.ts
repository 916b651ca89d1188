import { createHash } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { BundleManifest } from './bundle.js';
import { WhittleError } from './errors.js';
import { changedFile, fileIdentity, inspectPlainFile, openInspected } from './plain-file.js';
import { VerificationRecord } from './verification-record.js';

/** Large enough for SHA-256 to run at its speed, small enough that hashing holds up an event loop for a millisecond. */
const CHUNK_BYTES = 2 ** 20;
const NANOS_PER_MILLI = 1_000_000n;

/** Identities of a bundle's files when they had the recorded hashes. */
export type VerifiedFiles = ReadonlyMap<string, string>;

/**
 * Checks that every file of the bundle is there, is a plain file inside its folder, and has the recorded size and
 * SHA-256. A file that `record` knows by its identity is not read again; what is hashed here is added to it.
 * @throws FILE_MISSING; BUNDLE_INVALID for links, pipes and other kinds; HASH_MISMATCH naming the file, what was
 *   expected and what was found; FILE_CORRUPT where a file changes meanwhile.
 */
export async function verifyFiles(
  directory: string,
  manifest: BundleManifest,
  record: VerificationRecord = VerificationRecord.none(),
): Promise<VerifiedFiles> {
  const verified = new Map<string, string>();
  for (const [file, expected] of Object.entries(manifest.files)) {
    const stats = await inspectPlainFile(directory, file);
    const path = join(directory, file);
    const found = { bytes: Number(stats.size), sha256: 'not read' };
    if (found.bytes === expected.bytes) found.sha256 = await hashOf(path, stats, record);
    if (found.sha256 !== expected.sha256) throw mismatch(path, file, expected, found);
    verified.set(file, fileIdentity(stats));
  }
  return verified;
}

/**
 * Checks that the files are still the ones that were verified, without reading them: what was opened in between had
 * the verified content.
 * @throws FILE_CORRUPT, and what {@link verifyFiles} throws for links.
 */
export async function checkUnchanged(directory: string, verified: VerifiedFiles): Promise<void> {
  for (const [file, identity] of verified)
    if (fileIdentity(await inspectPlainFile(directory, file)) !== identity)
      throw changedFile(join(directory, file));
}

async function hashOf(path: string, stats: BigIntStats, record: VerificationRecord): Promise<string> {
  const identity = fileIdentity(stats);
  const known = record.sha256Of(identity);
  if (known !== undefined) return known;
  const hashedFromMs = Date.now();
  const handle = await openInspected(path, stats);
  try {
    const sha256 = await hashHandle(handle);
    if (fileIdentity(await handle.stat({ bigint: true })) !== identity) throw changedFile(path);
    record.rememberFile(identity, sha256, Number(stats.ctimeNs / NANOS_PER_MILLI), hashedFromMs);
    return sha256;
  } finally {
    await handle.close();
  }
}

/** One buffer is hashed while the next is read. */
async function hashHandle(handle: FileHandle): Promise<string> {
  const hash = createHash('sha256');
  let [current, next] = [Buffer.allocUnsafeSlow(CHUNK_BYTES), Buffer.allocUnsafeSlow(CHUNK_BYTES)];
  let position = 0;
  let reading = handle.read(current, 0, CHUNK_BYTES, position);
  for (;;) {
    const { bytesRead } = await reading;
    if (bytesRead === 0) return hash.digest('hex');
    position += bytesRead;
    reading = handle.read(next, 0, CHUNK_BYTES, position);
    hash.update(current.subarray(0, bytesRead));
    [current, next] = [next, current];
  }
}

function mismatch(
  path: string,
  file: string,
  expected: { readonly bytes: number; readonly sha256: string },
  found: { readonly bytes: number; readonly sha256: string },
): WhittleError {
  return new WhittleError(
    'HASH_MISMATCH',
    `${path} is not the file bundle.json records: expected ${String(expected.bytes)} bytes with SHA-256 ${expected.sha256}, found ${String(found.bytes)} bytes with SHA-256 ${found.sha256}`,
    { file, expected, found },
  );
}

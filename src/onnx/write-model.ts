import { createHash, randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { encodeWith, initializersOf } from './codec.js';
import { fileContentChunks } from './file-content.js';
import type { Initializer, Model } from './model.js';
import { byteLength } from './tensors.js';

/** Tensors above this size get a file of their own; below it a file costs more than it shares. */
const EXTERNAL_ABOVE_BYTES = 64 * 1024;
const CHUNK_BYTES = 4 * 1024 * 1024;

export interface WriteOptions {
  /** Folder for large weights, relative to the model's; default 'weights'. */
  readonly externalDirectory?: string;
}

/**
 * Writes a model. Initializers above 64 KiB go to `<externalDirectory>/<sha256>.bin` beside it, one file each, written
 * only where it is absent: models with the same table share its file. Files appear whole or not at all, the model last.
 * @throws MODEL_TOO_LARGE where the rest exceeds 2 GiB; FILE_MISSING, FILE_CORRUPT where external weights to copy or
 *   to read in are gone or cut.
 */
export async function writeModel(model: Model, path: string, options: WriteOptions = {}): Promise<void> {
  const { externalDirectory = 'weights' } = options;
  const folder = join(dirname(path), externalDirectory);
  const locations = new Map<Initializer, string>();
  for (const initializer of initializersOf(model.graph)) {
    if (initializer.content.kind === 'strings' || byteLength(initializer) <= EXTERNAL_ABOVE_BYTES) continue;
    locations.set(initializer, `${externalDirectory}/${await storeWeights(initializer, folder)}`);
  }
  await mkdir(dirname(path), { recursive: true });
  await writeWhole(path, [encodeWith(model, (initializer) => locations.get(initializer))]);
}

/** Name of the file in `folder` that holds the initializer's bytes and nothing else, written if absent. */
async function storeWeights(initializer: Initializer, folder: string): Promise<string> {
  const hash = createHash('sha256');
  for (const chunk of contentChunks(initializer)) hash.update(chunk);
  const name = `${hash.digest('hex')}.bin`;
  const path = join(folder, name);
  const found = await stat(path).catch(() => undefined);
  if (found?.size === byteLength(initializer)) return name;
  await mkdir(folder, { recursive: true });
  await writeWhole(path, contentChunks(initializer));
  return name;
}

/** A tensor's bytes in pieces of a few MiB, so that one of any size passes through little memory; none for strings. */
export function* contentChunks(initializer: Initializer): Generator<Uint8Array> {
  const { content } = initializer;
  if (content.kind === 'bytes')
    for (let start = 0; start < content.bytes.byteLength; start += CHUNK_BYTES)
      yield content.bytes.subarray(start, start + CHUNK_BYTES);
  if (content.kind === 'file') yield* fileContentChunks(initializer.name, content);
}

async function writeWhole(path: string, chunks: Iterable<Uint8Array>): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    await pipeline(chunks, createWriteStream(temporary, { flags: 'wx', flush: true }));
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

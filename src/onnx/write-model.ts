import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { unwritable, WhittleError } from '../core/index.js';
import { encodeWith, initializersOf } from './codec.js';
import type { ExternalPlace } from './codec-tensor.js';
import type { Initializer, Model } from './model.js';
import { PendingFiles } from './pending-files.js';
import { byteLength, contentChunks } from './tensors.js';

/** Tensors above this size get a file of their own; below it a file costs more than it shares. */
const EXTERNAL_ABOVE_BYTES = 64 * 1024;

export interface WriteOptions {
  /** Folder for large weights, relative to the model's; default 'weights'. */
  readonly externalDirectory?: string;
}

/**
 * Writes a model. Initializers above 64 KiB go to `<externalDirectory>/<sha256>.bin` beside it, one file each, written
 * only where it is absent: models with the same table share its file. All files appear together once they are whole,
 * the model last; after a failure there is nothing new. Writing over the file that the model was read from is allowed:
 * tensors that were left in it can then no longer be read through the old model, which says so.
 * @throws FILE_UNWRITABLE; MODEL_TOO_LARGE where the rest exceeds 2 GiB; FILE_MISSING, FILE_CORRUPT where weights to
 *   copy or to read in are gone, cut or changed.
 */
export async function writeModel(model: Model, path: string, options: WriteOptions = {}): Promise<void> {
  const { externalDirectory = 'weights' } = options;
  const target = resolve(path);
  const files = new PendingFiles();
  try {
    await refuseFolder(target);
    const places = new Map<Initializer, ExternalPlace>();
    for (const initializer of initializersOf(model.graph)) {
      if (!isLarge(initializer)) continue;
      const name = await storeWeights(initializer, join(dirname(target), externalDirectory), files);
      places.set(initializer, { location: `${externalDirectory}/${name}`, offset: 0 });
    }
    await files.write(target, [encodeWith(model, (initializer) => places.get(initializer))]);
    await files.publish();
  } catch (error) {
    await files.discard();
    throw unwritable(path, error);
  }
}

/** Whether a tensor is kept beside the model. */
export function isLarge(initializer: Initializer): boolean {
  return initializer.content.kind !== 'strings' && byteLength(initializer) > EXTERNAL_ABOVE_BYTES;
}

/** The last step would fail on a folder, when the weights have their names already. */
async function refuseFolder(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory() !== true) return;
  throw new WhittleError('FILE_UNWRITABLE', `Cannot write ${path}: it is a folder`, {
    path,
    reason: 'EISDIR',
    remedy: 'name a file',
  });
}

/** Name of the file in `folder` that holds the initializer's bytes and nothing else, written if absent. */
async function storeWeights(initializer: Initializer, folder: string, files: PendingFiles): Promise<string> {
  const hash = createHash('sha256');
  for (const chunk of contentChunks(initializer)) hash.update(chunk);
  const name = `${hash.digest('hex')}.bin`;
  const path = join(folder, name);
  const found = await stat(path).catch(() => undefined);
  if (found?.size !== byteLength(initializer) && !files.has(path))
    await files.write(path, contentChunks(initializer));
  return name;
}

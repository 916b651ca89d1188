import { link, lstat, open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { unwritable, WhittleError } from '../core/index.js';
import { encodeWith, initializersOf } from './codec.js';
import type { ExternalPlace } from './codec-tensor.js';
import { fileVersion } from './file-content.js';
import type { FileContent, Initializer, Model } from './model.js';
import { contentChunks } from './tensors.js';
import { isLarge } from './write-model.js';

/** Tensors in the shared file start at pages, so that each can be mapped by itself. */
const PAGE_BYTES = 4096;
const SHARED_FILE = 'weights.bin';

/** What a file system says that cannot link a file, or not from there to here. */
const UNLINKABLE = new Set(['EXDEV', 'EPERM', 'EMLINK', 'ENOTSUP', 'ENOSYS']);

/**
 * Writes a model into an empty folder so that ONNX Runtime can open it, and answers its path. Weights that are in files
 * are not copied: their files are linked into the folder (ONNX Runtime refuses symbolic links), also where the weights
 * are only a part of one, such as the model's own file. Where the file system cannot link them, they are copied.
 * @throws FILE_UNWRITABLE; FILE_MISSING, FILE_CORRUPT where weights are gone, cut or changed; MODEL_TOO_LARGE where the
 *   rest exceeds 2 GiB.
 */
export async function writeSessionFiles(model: Model, folder: string): Promise<string> {
  const path = join(folder, 'model.onnx');
  const writer = new SessionFiles(folder);
  try {
    for (const initializer of initializersOf(model.graph))
      if (isLarge(initializer)) await writer.place(initializer);
    const encoded = encodeWith(model, (initializer) => writer.places.get(initializer));
    const file = await open(path, 'wx');
    try {
      await file.writeFile(encoded);
    } finally {
      await file.close();
    }
    return path;
  } catch (error) {
    throw unwritable(path, error);
  } finally {
    await writer.close();
  }
}

class SessionFiles {
  readonly places = new Map<Initializer, ExternalPlace>();
  readonly #folder: string;
  /** Names of links by the path they lead to; undefined for a file that cannot be linked. */
  readonly #links = new Map<string, string | undefined>();
  #shared: FileHandle | undefined;
  #sharedBytes = 0;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async place(initializer: Initializer): Promise<void> {
    const { content, name } = initializer;
    const linked = content.kind === 'file' ? await this.#link(name, content) : undefined;
    this.places.set(
      initializer,
      linked ?? { location: SHARED_FILE, offset: await this.#append(initializer) },
    );
  }

  async close(): Promise<void> {
    await this.#shared?.close();
  }

  async #link(tensor: string, content: FileContent): Promise<ExternalPlace | undefined> {
    const { path, offset } = content;
    if (!this.#links.has(path)) this.#links.set(path, await this.#linkFile(tensor, content));
    const location = this.#links.get(path);
    return location === undefined ? undefined : { location, offset };
  }

  async #linkFile(tensor: string, { path, version }: FileContent): Promise<string | undefined> {
    const location = `${this.#links.size}.bin`;
    const target = join(this.#folder, location);
    try {
      await link(path, target);
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : '';
      if (UNLINKABLE.has(code)) return undefined;
      const message = `Cannot open ${path}, which holds tensor ${tensor}`;
      throw new WhittleError('FILE_MISSING', message, { tensor, path }, error);
    }
    // Whatever becomes of the path from here on, the link stays with this file.
    if (version !== undefined && fileVersion(await lstat(target, { bigint: true })) !== version)
      throw new WhittleError('FILE_CORRUPT', `${path} has changed since the model was read: read it again`, {
        tensor,
        path,
        remedy: 'read the model again',
      });
    return location;
  }

  /** Copies the values into the shared file and answers where they begin. */
  async #append(initializer: Initializer): Promise<number> {
    this.#shared ??= await open(join(this.#folder, SHARED_FILE), 'wx');
    const start = Math.ceil(this.#sharedBytes / PAGE_BYTES) * PAGE_BYTES;
    let position = start;
    for (const chunk of contentChunks(initializer)) {
      await writeAll(this.#shared, chunk, position);
      position += chunk.byteLength;
    }
    this.#sharedBytes = position;
    return start;
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let written = 0; written < bytes.byteLength;) {
    const step = await file.write(bytes, written, bytes.byteLength - written, position + written);
    written += step.bytesWritten;
  }
}

import { randomUUID } from 'node:crypto';
import { mkdir, open, rename, rm, rmdir } from 'node:fs/promises';
import { dirname } from 'node:path';

interface Pending {
  readonly temporary: string;
  readonly path: string;
}

/** Files that appear together: written under temporary names, and renamed when all of them are whole. */
export class PendingFiles {
  readonly #pending: Pending[] = [];
  /** Folders made here, outermost first. */
  readonly #folders: string[] = [];

  has(path: string): boolean {
    return this.#pending.some((pending) => pending.path === path);
  }

  /** Writes the chunks to disk in full. */
  async write(path: string, chunks: Iterable<Uint8Array>): Promise<void> {
    await this.#makeFolder(dirname(path));
    const temporary = `${path}.${randomUUID()}.tmp`;
    this.#pending.push({ temporary, path });
    const file = await open(temporary, 'wx');
    try {
      for (const chunk of chunks) await file.writeFile(chunk);
      await file.sync();
    } finally {
      await file.close();
    }
  }

  /** Gives the files their names, in the order in which they were written. */
  async publish(): Promise<void> {
    for (const { temporary, path } of this.#pending) await rename(temporary, path);
  }

  /** Removes what was written and the folders made for it, unless somebody else uses them by now. */
  async discard(): Promise<void> {
    for (const { temporary } of this.#pending) await rm(temporary, { force: true });
    for (const folder of this.#folders.toReversed()) await rmdir(folder).catch(() => undefined);
  }

  async #makeFolder(folder: string): Promise<void> {
    const first = await mkdir(folder, { recursive: true });
    if (first === undefined) return;
    const made = [folder];
    while (made[0] !== undefined && made[0] !== first && made[0].length > first.length)
      made.unshift(dirname(made[0]));
    this.#folders.push(...made);
  }
}

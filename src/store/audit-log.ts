import { randomUUID } from 'node:crypto';
import { mkdir, open, stat, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { toWhittleError, unwritable, WhittleError, type Log } from '../core/index.js';
import {
  chainEntry,
  formatLine,
  RECOVERY_ACTION,
  tornLine,
  type AuditActor,
  type AuditEntry,
  type AuditHead,
  type AuditLine,
} from './audit-chain.js';
import { verifyAuditLog, type AuditReport } from './audit-verify.js';
import { lockFile } from './file-lock.js';

/** A change that is to be made: who, what, and what it was and shall be. */
export interface AuditedChange {
  readonly actor: AuditActor;
  readonly action: string;
  readonly before?: unknown;
  readonly after?: unknown;
}

/**
 * Log of changes: one JSON line an entry, each bound to the one before by its SHA-256, on disk before `append`
 * resolves. This process is its only writer while it is open.
 */
export class AuditLog {
  readonly path: string;
  readonly #file: FileHandle;
  readonly #release: () => Promise<void>;
  readonly #log: Log;
  #head: AuditHead;
  #sizeBytes: number;
  /** Settles when every entry taken so far is written: one after the other. */
  #tail: Promise<unknown> = Promise.resolve();

  private constructor(
    path: string,
    file: FileHandle,
    release: () => Promise<void>,
    log: Log,
    head: AuditHead,
    sizeBytes: number,
  ) {
    this.path = path;
    this.#file = file;
    this.#release = release;
    this.#log = log;
    this.#head = head;
    this.#sizeBytes = sizeBytes;
  }

  /**
   * Opens a log, which is made where there is none, and checks all of it. A last line that a crash cut off stays in the
   * file as it is; a recovery entry after it says so.
   * @throws FILE_CORRUPT naming the first line that does not hold; FILE_UNWRITABLE, also while another process has it.
   */
  static async open(path: string, log: Log): Promise<AuditLog> {
    try {
      await mkdir(dirname(path), { recursive: true });
      const release = await lockFile(path);
      try {
        return await AuditLog.#openLocked(path, release, log);
      } catch (thrown) {
        await release();
        throw thrown;
      }
    } catch (thrown) {
      throw unwritable(path, thrown);
    }
  }

  static async #openLocked(path: string, release: () => Promise<void>, log: Log): Promise<AuditLog> {
    const file = await open(path, 'a+', 0o600);
    try {
      await syncFolder(dirname(path));
      const report = await verifyAuditLog(path);
      checkChain(path, report);
      const { size } = await file.stat();
      const audit = new AuditLog(path, file, release, log, report.head, size);
      if (report.torn !== undefined) await audit.#recover(report.torn);
      else if (size > 0 && !(await endsLine(file, size))) await audit.#write('\n');
      return audit;
    } catch (thrown) {
      await file.close();
      throw thrown;
    }
  }

  /** Number and hash of the last entry. */
  get head(): AuditHead {
    return this.#head;
  }

  /** Writes an entry; it is on disk when the promise resolves. @throws FILE_UNWRITABLE; the log is as before then. */
  append(entry: AuditEntry): Promise<AuditLine> {
    const written = this.#tail.then(() => this.#append(entry));
    this.#tail = written.catch(() => undefined);
    return written;
  }

  /**
   * Makes a change between two entries: nothing is done that could not be logged first.
   * @throws FILE_UNWRITABLE before the change is made, or after it where only its outcome could not be logged (then
   * with `outcome` in its details); else what `make` throws.
   * @param told what the entry of a change that was made says of its result.
   */
  async change<T>(
    { actor, action, before, after }: AuditedChange,
    make: () => Promise<T>,
    told: (result: T) => unknown = () => undefined,
  ): Promise<T> {
    const change = randomUUID();
    await this.append({ actor, action, outcome: 'requested', change, before, after });
    let result: T;
    try {
      result = await make();
    } catch (thrown) {
      const { code, message } = toWhittleError(thrown);
      await this.#conclude({ actor, action, outcome: 'failed', change, error: { code, message } });
      throw thrown;
    }
    await this.#conclude({ actor, action, outcome: 'applied', change, after: told(result) });
    return result;
  }

  /** The last entries, oldest first, with what a check of the whole file finds. */
  async recent(
    limit: number,
  ): Promise<{ readonly lines: readonly AuditLine[]; readonly report: AuditReport }> {
    await this.#tail;
    const lines: AuditLine[] = [];
    const report = await verifyAuditLog(this.path, (line) => {
      lines.push(line);
      if (lines.length > limit) lines.shift();
    });
    return { lines, report };
  }

  /** Waits for entries under way and gives the file to others. */
  async close(): Promise<void> {
    await this.#tail;
    await this.#file.close();
    await this.#release();
  }

  async #conclude(entry: AuditEntry): Promise<void> {
    try {
      await this.append(entry);
    } catch (thrown) {
      const { code, message, details } = toWhittleError(thrown);
      const said = `The change was ${entry.outcome === 'applied' ? 'made' : 'tried and failed'}, but that could not be logged`;
      throw new WhittleError(code, `${said}: ${message}`, { ...details, outcome: entry.outcome }, thrown);
    }
  }

  /** @param prefix text that goes before the line, in the same write. */
  async #append(entry: AuditEntry, prefix = ''): Promise<AuditLine> {
    const line = chainEntry(this.#head, entry, new Date().toISOString());
    await this.#write(prefix + formatLine(line));
    this.#head = { sequence: line.sequence, hash: line.hash };
    // Whoever keeps the server's log keeps a head outside the file, against which a cut-off end shows.
    this.#log.info('audited', { action: line.action, outcome: line.outcome, ...this.#head });
    return line;
  }

  async #recover(torn: Uint8Array): Promise<void> {
    const actor = { name: 'server' };
    await this.#append({ actor, action: RECOVERY_ACTION, outcome: 'noted', before: tornLine(torn) }, '\n');
    this.#log.warn('audit.recovered', { path: this.path, tornBytes: torn.length });
  }

  async #write(text: string): Promise<void> {
    try {
      await this.#checkAlone();
      await this.#file.appendFile(text);
      await this.#file.sync();
    } catch (thrown) {
      // What was written of a line that counts as not written must not stay before the next one.
      if (!(thrown instanceof WhittleError))
        await this.#file.truncate(this.#sizeBytes).catch(() => undefined);
      throw unwritable(this.path, thrown);
    }
    this.#sizeBytes += Buffer.byteLength(text);
  }

  /** @throws FILE_UNWRITABLE where the file is not as this process left it. */
  async #checkAlone(): Promise<void> {
    const [mine, found] = await Promise.all([this.#file.stat(), stat(this.path)]);
    if (found.ino === mine.ino && found.size === this.#sizeBytes) return;
    const message = `${this.path} was changed or replaced by somebody else since this server wrote it`;
    throw new WhittleError('FILE_UNWRITABLE', message, { path: this.path, reason: 'changed' });
  }
}

function checkChain(path: string, { broken }: AuditReport): void {
  if (broken === undefined) return;
  const advice = 'keep the file as evidence and name another admin.auditPath';
  throw new WhittleError(
    'FILE_CORRUPT',
    `${path}: line ${broken.line} does not hold: ${broken.reason}; ${advice}`,
    { path, ...broken },
  );
}

async function endsLine(file: FileHandle, sizeBytes: number): Promise<boolean> {
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, sizeBytes - 1);
  return buffer[0] === 10;
}

/** Makes the name of a new file durable. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

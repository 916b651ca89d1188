import { randomUUID } from 'node:crypto';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Log } from './log.js';
import { schemaCheck } from './schema.js';

const FILE_NAME = 'verified.json';
/** Newest entries of each kind that are kept: many bundles' worth, and little to read at a start. */
const MAX_ENTRIES = 4096;
/** A file changed this recently when its hash began may change again without a new time of change. */
const SETTLED_MS = 2_000;

interface RecordFile {
  readonly format: 1;
  /** SHA-256 by file identity. */
  readonly files: Readonly<Record<string, string>>;
  /** Time of admission (unix milliseconds) by what was admitted. */
  readonly admissions: Readonly<Record<string, number>>;
}

const mapOf = (values: unknown): unknown => ({ type: 'object', additionalProperties: values, required: [] });
const checkRecord = schemaCheck<RecordFile>(
  {
    type: 'object',
    additionalProperties: false,
    required: ['format', 'files', 'admissions'],
    properties: {
      format: { const: 1 },
      files: mapOf({ type: 'string', pattern: '^[0-9a-f]{64}$' }),
      admissions: mapOf({ type: 'number' }),
    },
  },
  'FILE_CORRUPT',
  FILE_NAME,
);

/** What stands in the record of an earlier start. `fresh` forgets it, so that everything is checked again. */
export interface RecordOptions {
  readonly fresh?: boolean;
  readonly log: Log;
}

/**
 * What earlier starts found out at some cost and need not find out again: the SHA-256 of files by their identity, and
 * the models that were opened without harm. It is kept outside the bundle, in the store's folder, and is trusted as
 * much as that is. Losing it costs time only.
 */
export class VerificationRecord {
  readonly #path: string | undefined;
  readonly #log: Log | undefined;
  readonly #files: Map<string, string>;
  readonly #admissions: Map<string, number>;
  #changed = false;

  private constructor(path?: string, log?: Log, known?: RecordFile) {
    this.#path = path;
    this.#log = log;
    this.#files = new Map(Object.entries(known?.files ?? {}));
    this.#admissions = new Map(Object.entries(known?.admissions ?? {}));
  }

  /** A record that knows nothing and is never written. */
  static none(): VerificationRecord {
    return new VerificationRecord();
  }

  /** The record kept in `folder`; an empty one where there is none yet, or where it cannot be read as one. */
  static async open(folder: string, { fresh = false, log }: RecordOptions): Promise<VerificationRecord> {
    const path = join(folder, FILE_NAME);
    const text = fresh ? undefined : await readFile(path, 'utf8').catch(() => undefined);
    if (text === undefined) return new VerificationRecord(path, log);
    try {
      return new VerificationRecord(path, log, checkRecord(JSON.parse(text)));
    } catch (thrown) {
      log.warn('verification_record_ignored', { path, reason: String(thrown) });
      return new VerificationRecord(path, log);
    }
  }

  /** SHA-256 of the file of this identity, as it was hashed earlier. */
  sha256Of(identity: string): string | undefined {
    return this.#files.get(identity);
  }

  /**
   * Remembers a hash, unless the file was so young that a later write could leave its identity as it is.
   * @param changedMs the file's time of change; `hashedFromMs` when the hash began; both unix milliseconds.
   */
  rememberFile(identity: string, sha256: string, changedMs: number, hashedFromMs: number): void {
    if (changedMs + SETTLED_MS > hashedFromMs) return;
    this.#files.set(identity, sha256);
    this.#changed = true;
  }

  isAdmitted(key: string): boolean {
    return this.#admissions.has(key);
  }

  admit(key: string): void {
    this.#admissions.set(key, Date.now());
    this.#changed = true;
  }

  /** Writes what is new, in one step. Where that fails the next start works more; it is logged, not thrown. */
  async save(): Promise<void> {
    if (!this.#changed || this.#path === undefined) return;
    const temporary = `${this.#path}.${randomUUID()}.tmp`;
    try {
      await mkdir(dirname(this.#path), { recursive: true });
      await writeDurably(temporary, JSON.stringify(this.#content()));
      await rename(temporary, this.#path);
      this.#changed = false;
    } catch (thrown) {
      await rm(temporary, { force: true }).catch(() => undefined);
      this.#log?.warn('verification_record_unwritable', { path: this.#path, reason: String(thrown) });
    }
  }

  #content(): RecordFile {
    return {
      format: 1,
      files: newest(this.#files),
      admissions: newest(this.#admissions),
    };
  }
}

function newest<Value>(entries: ReadonlyMap<string, Value>): Record<string, Value> {
  return Object.fromEntries([...entries].slice(-MAX_ENTRIES));
}

async function writeDurably(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

import { silentLog, toWhittleError, type Log } from '../core/index.js';
import {
  openLmdbFiles,
  openReadOnly,
  type Limits,
  type LmdbFiles,
  type ReadOnlyFiles,
} from './lmdb-files.js';
import { checkId, isUnwritable, storeFailed } from './store-error.js';
import type {
  AppendReceipt,
  EventInput,
  Exposure,
  LogEntry,
  LogRange,
  Store,
  StoreCounts,
  StoredEvent,
  StoreHealth,
  StoreOptions,
  UserHistory,
} from './types.js';
import { WriteBuffer } from './write-buffer.js';
import { WriteHealth } from './write-health.js';

/** Users that one transaction seeds: keeps the event loop free between them. */
const SEED_BATCH_USERS = 2000;

function* batches<T>(values: Iterable<T>, size: number): Generator<T[]> {
  let batch: T[] = [];
  for (const value of values) {
    batch.push(value);
    if (batch.length === size) {
      yield batch;
      batch = [];
    }
  }
  if (batch.length > 0) yield batch;
}

/** Why a transaction failed. lmdb gives what its commit met as a promise that rejects in the same turn. */
async function commitReason(failure: unknown): Promise<string> {
  if (!(failure instanceof Error && 'commitError' in failure)) return String(failure);
  try {
    await Promise.race([failure.commitError, new Promise((resolve) => setImmediate(resolve))]);
    return failure.message;
  } catch (reason) {
    return String(reason);
  }
}

class LmdbStore implements Store {
  private readonly path: string;
  private readonly limits: Limits;
  /** Undefined until the folder takes writes. */
  private files: LmdbFiles | undefined;
  /** What can be read until then. */
  private readable: ReadOnlyFiles | undefined;
  private readonly now: () => number;
  private readonly log: Log;
  private readonly listeners: ((health: StoreHealth) => void)[] = [];
  private readonly writes: WriteHealth;
  private readonly buffer: WriteBuffer<Exposure>;
  private closed = false;

  constructor(path: string, options: StoreOptions) {
    const { historyLimit = 200, maxEvents = 10_000_000, maxExposures = 1_000_000 } = options;
    const { exposureBufferLimit = 10_000, now = Date.now, retryMs = 1000 } = options;
    this.path = path;
    this.limits = { historyLimit, maxEvents, maxExposures };
    this.now = now;
    this.log = options.log ?? silentLog;
    this.writes = new WriteHealth({
      retryMs,
      now,
      retry: () => this.tryAgain(),
      onChange: (change) => {
        this.tell(change);
      },
    });
    this.buffer = new WriteBuffer<Exposure>({
      limit: exposureBufferLimit,
      idOf: (exposure) => exposure.requestId,
      write: (exposures) => this.write(({ exposures: log }) => void log.append(exposures)),
      isHeld: () => this.writes.failing !== undefined,
    });
    this.open(options.allowUnwritable ?? false);
  }

  history(user: string): readonly string[] | undefined {
    return this.read(() => (this.files ?? this.readable)?.histories.get(user));
  }

  async seedHistories(bundleHash: string, users: Iterable<UserHistory>): Promise<number> {
    this.checkWritable();
    if (this.read(() => this.opened().meta.get('seeded')) === bundleHash) return 0;
    let written = 0;
    for (const batch of batches(users, SEED_BATCH_USERS)) {
      for (const { user } of batch) checkId(user, 'user');
      written += await this.write(({ histories }) => histories.seed(batch));
    }
    // Last, so that a seeding cut short is done again.
    await this.write(({ meta }) => {
      meta.putSync('seeded', bundleHash);
    });
    return written;
  }

  async appendEvents(events: readonly EventInput[]): Promise<AppendReceipt> {
    for (const event of events) {
      checkId(event.id, 'id');
      checkId(event.user, 'user');
    }
    this.checkWritable();
    const rows = events.map((event): StoredEvent => ({ ...event, timeMs: event.timeMs ?? this.now() }));
    const accepted = await this.write((files) => {
      const added = files.events.append(rows);
      files.histories.extend(added.filter((event) => event.type !== 'view'));
      return added.length;
    });
    return { accepted, duplicates: events.length - accepted };
  }

  appendExposure(exposure: Exposure): boolean {
    this.checkOpen();
    checkId(exposure.requestId, 'requestId');
    return this.buffer.push(exposure);
  }

  async flush(): Promise<void> {
    this.checkOpen();
    await this.buffer.flush();
  }

  exposure(requestId: string): Exposure | undefined {
    return this.read(() => this.files?.exposures.get(requestId) ?? this.buffer.get(requestId));
  }

  events(range?: LogRange): Iterable<LogEntry<StoredEvent>> {
    return this.iterate(() => this.opened().events.range(range));
  }

  exposures(range?: LogRange): Iterable<LogEntry<Exposure>> {
    return this.iterate(() => this.opened().exposures.range(range));
  }

  counts(): StoreCounts {
    return this.read(() => {
      const { histories, events, exposures } = this.opened();
      return {
        users: histories.count(),
        events: events.count(),
        exposures: exposures.count(),
        exposuresBuffered: this.buffer.size,
        exposuresDropped: this.buffer.dropped,
      };
    });
  }

  health(): StoreHealth {
    const { failing } = this.writes;
    return {
      ...(failing === undefined ? {} : { failing }),
      exposuresWaiting: this.buffer.size,
      exposuresDropped: this.buffer.dropped,
    };
  }

  onHealth(listener: (health: StoreHealth) => void): void {
    this.listeners.push(listener);
  }

  async close(): Promise<void> {
    if (this.closed) return;
    await this.writes.stop();
    try {
      await this.flush();
    } finally {
      this.closed = true;
      this.buffer.stop();
      await this.readable?.root.close();
      await this.files?.root.close();
    }
  }

  /** @throws STORE_FAILED, unless `allowUnwritable` and that is all there is to it. */
  private open(allowUnwritable: boolean): void {
    try {
      this.files = openLmdbFiles(this.path, this.limits);
    } catch (thrown) {
      const error = toWhittleError(thrown);
      if (!allowUnwritable || !isUnwritable(error)) throw error;
      this.readable = this.openReadable();
      this.writes.failed(String(error.details['reason']));
    }
  }

  /** The histories where they can be read, as on a read-only disk; a full one or missing permissions refuse that too. */
  private openReadable(): ReadOnlyFiles | undefined {
    try {
      return openReadOnly(this.path, this.limits.historyLimit);
    } catch (thrown) {
      const { message } = toWhittleError(thrown);
      this.log.error('store.histories_not_read', { path: this.path, reason: message });
      return undefined;
    }
  }

  /** Opens the files where that failed, and writes: what waits, and a mark in any case. */
  private async tryAgain(): Promise<void> {
    if (this.files === undefined) await this.reopen();
    await this.buffer.flush();
    await this.write(({ meta }) => {
      meta.putSync('checked', this.now());
    });
  }

  private async reopen(): Promise<void> {
    // One process must not have LMDB's files open twice.
    const { readable } = this;
    this.readable = undefined;
    await readable?.root.close();
    try {
      this.files = openLmdbFiles(this.path, this.limits);
    } catch (thrown) {
      if (readable !== undefined) this.readable = this.openReadable();
      throw thrown;
    }
  }

  private tell(change: { readonly reason: string } | { readonly failedMs: number }): void {
    const fields = { path: this.path, ...change, waiting: this.buffer.size, dropped: this.buffer.dropped };
    if ('reason' in change) this.log.error('store.writes_fail', fields);
    else this.log.info('store.writes_again', fields);
    this.buffer.flushSoon();
    for (const listener of this.listeners) listener(this.health());
  }

  private opened(): LmdbFiles {
    if (this.files !== undefined) return this.files;
    throw storeFailed(this.path, `it could not be opened: ${this.writes.failing?.reason ?? 'not yet'}`);
  }

  /** @throws STORE_FAILED where writes are known to fail: nobody waits for one more that will. */
  private checkWritable(): void {
    this.checkOpen();
    const { failing } = this.writes;
    if (failing !== undefined) throw storeFailed(this.path, `it takes no writes: ${failing.reason}`);
  }

  private checkOpen(): void {
    if (this.closed) throw storeFailed(this.path, 'it is closed');
  }

  private read<T>(run: () => T): T {
    this.checkOpen();
    try {
      return run();
    } catch (cause) {
      throw storeFailed(this.path, `it could not be read: ${String(cause)}`, cause);
    }
  }

  /** Runs `run` in a transaction of its own: all of it is durable when the promise resolves, or none was done. */
  private async write<T>(run: (files: LmdbFiles) => T): Promise<T> {
    this.checkOpen();
    const files = this.opened();
    try {
      return await files.root.childTransaction(() => run(files));
    } catch (cause) {
      const reason = await commitReason(cause);
      this.writes.failed(reason);
      throw storeFailed(this.path, `it could not be written: ${reason}`, cause);
    }
  }

  private *iterate<T>(open: () => Iterator<T>): Generator<T> {
    const rows = this.read(open);
    for (;;) {
      const row = this.read(() => rows.next());
      if (row.done === true) return;
      yield row.value;
    }
  }
}

/**
 * Opens the store in a folder, which is made where it does not exist.
 * With `allowUnwritable` a folder that takes no writes now is no error.
 * @throws STORE_FAILED with the path and the reason: not a directory, no permission, a corrupt file, another layout.
 */
export function openStore(path: string, options: StoreOptions = {}): Store {
  return new LmdbStore(path, options);
}

import { silentLog } from '../core/index.js';
import { openLmdbFiles, type LmdbFiles } from './lmdb-files.js';
import { checkId, storeFailed } from './store-error.js';
import type {
  AppendReceipt,
  EventInput,
  Exposure,
  LogEntry,
  LogRange,
  Store,
  StoreCounts,
  StoredEvent,
  StoreOptions,
  UserHistory,
} from './types.js';
import { WriteBuffer } from './write-buffer.js';

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
  private readonly files: LmdbFiles;
  private readonly now: () => number;
  private readonly buffer: WriteBuffer<Exposure>;
  private closed = false;

  constructor(path: string, options: StoreOptions) {
    const { historyLimit = 200, maxEvents = 10_000_000, maxExposures = 1_000_000 } = options;
    const { exposureBufferLimit = 10_000, now = Date.now, log = silentLog } = options;
    this.path = path;
    this.now = now;
    this.files = openLmdbFiles(path, { historyLimit, maxEvents, maxExposures });
    this.buffer = new WriteBuffer<Exposure>({
      limit: exposureBufferLimit,
      idOf: (exposure) => exposure.requestId,
      write: (exposures) => this.write(() => void this.files.exposures.append(exposures)),
      onFailure: (reason) => {
        log.error('store.exposures_not_written', { path, reason: String(reason), waiting: this.buffer.size });
      },
    });
  }

  history(user: string): readonly string[] | undefined {
    return this.read(() => this.files.histories.get(user));
  }

  async seedHistories(bundleHash: string, users: Iterable<UserHistory>): Promise<number> {
    if (this.read(() => this.files.meta.get('seeded')) === bundleHash) return 0;
    let written = 0;
    for (const batch of batches(users, SEED_BATCH_USERS)) {
      for (const { user } of batch) checkId(user, 'user');
      written += await this.write(() => this.files.histories.seed(batch));
    }
    // Last, so that a seeding cut short is done again.
    await this.write(() => {
      this.files.meta.putSync('seeded', bundleHash);
    });
    return written;
  }

  async appendEvents(events: readonly EventInput[]): Promise<AppendReceipt> {
    for (const event of events) {
      checkId(event.id, 'id');
      checkId(event.user, 'user');
    }
    const rows = events.map((event): StoredEvent => ({ ...event, timeMs: event.timeMs ?? this.now() }));
    const accepted = await this.write(() => {
      const added = this.files.events.append(rows);
      this.files.histories.extend(added.filter((event) => event.type !== 'view'));
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
    return this.read(() => this.files.exposures.get(requestId) ?? this.buffer.get(requestId));
  }

  events(range?: LogRange): Iterable<LogEntry<StoredEvent>> {
    return this.iterate(() => this.files.events.range(range));
  }

  exposures(range?: LogRange): Iterable<LogEntry<Exposure>> {
    return this.iterate(() => this.files.exposures.range(range));
  }

  counts(): StoreCounts {
    return this.read(() => ({
      users: this.files.histories.count(),
      events: this.files.events.count(),
      exposures: this.files.exposures.count(),
      exposuresBuffered: this.buffer.size,
      exposuresDropped: this.buffer.dropped,
    }));
  }

  async close(): Promise<void> {
    if (this.closed) return;
    try {
      await this.flush();
    } finally {
      this.closed = true;
      this.buffer.stop();
      await this.files.root.close();
    }
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
  private async write<T>(run: () => T): Promise<T> {
    this.checkOpen();
    try {
      return await this.files.root.childTransaction(run);
    } catch (cause) {
      throw storeFailed(this.path, `it could not be written: ${await commitReason(cause)}`, cause);
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
 * @throws STORE_FAILED with the path and the reason: not a directory, no permission, a corrupt file, another layout.
 */
export function openStore(path: string, options: StoreOptions = {}): Store {
  return new LmdbStore(path, options);
}

/** Size and pace of a {@link WriteBuffer}. */
export interface WriteBufferOptions<T> {
  /** Rows that may wait; more are refused. */
  readonly limit: number;
  readonly idOf: (row: T) => string;
  /** Makes rows durable, all or none. */
  readonly write: (rows: readonly T[]) => Promise<void>;
  /**
   * Whether rows wait without being written: while `write` is known to fail. Whoever says so calls `flush` when it may
   * work again. A write that nobody awaits and that fails leaves its rows waiting for that.
   */
  readonly isHeld: () => boolean;
}

/** Rows written in one transaction. */
const BATCH_ROWS = 500;
/** How long a row waits for others before it is written. */
const DELAY_MS = 100;

/** Collects rows and writes them in batches, so that whoever brings one does not wait for the disk. */
export class WriteBuffer<T> {
  private readonly options: WriteBufferOptions<T>;
  /** In order of arrival; a row leaves when it is durable. */
  private readonly waiting = new Map<string, T>();
  private timer: NodeJS.Timeout | undefined;
  private lastWrite: Promise<unknown> = Promise.resolve();
  private droppedRows = 0;

  constructor(options: WriteBufferOptions<T>) {
    this.options = options;
  }

  get size(): number {
    return this.waiting.size;
  }

  /** Rows refused so far. */
  get dropped(): number {
    return this.droppedRows;
  }

  get(id: string): T | undefined {
    return this.waiting.get(id);
  }

  /** Takes a row; false where the buffer is full. A row with an id that waits already is the same row. */
  push(row: T): boolean {
    const id = this.options.idOf(row);
    if (this.waiting.has(id)) return true;
    if (this.waiting.size >= this.options.limit) {
      this.droppedRows++;
      return false;
    }
    this.waiting.set(id, row);
    this.flushSoon();
    return true;
  }

  /** Resolves when every row taken so far is durable; rejects with the reason where the write fails. */
  flush(): Promise<void> {
    const written = this.lastWrite.then(() => this.writeWaiting());
    this.lastWrite = written.catch(() => undefined);
    return written;
  }

  /** Has rows that wait written in the background, unless they are held. */
  flushSoon(): void {
    if (this.waiting.size === 0 || this.options.isHeld()) return;
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      // `write` knows that it failed, and has it tried again.
      if (!this.options.isHeld()) this.flush().catch(() => undefined);
    }, DELAY_MS).unref();
  }

  private async writeWaiting(): Promise<void> {
    const rows = [...this.waiting.values()];
    for (let start = 0; start < rows.length; start += BATCH_ROWS) {
      const batch = rows.slice(start, start + BATCH_ROWS);
      await this.options.write(batch);
      for (const row of batch) this.waiting.delete(this.options.idOf(row));
    }
  }

  /** Ends the attempts to write in the background; what waits is lost unless `flush` was awaited before. */
  stop(): void {
    clearTimeout(this.timer);
  }
}

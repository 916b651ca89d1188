import type { Log } from '../core/index.js';

/** What a user did. Idempotent by `id`: the first one with an id counts. */
export interface EventInput {
  readonly id: string;
  readonly user: string;
  readonly item: string;
  /** For example click, purchase, rating. All but `view` extend the user's history. */
  readonly type: string;
  readonly value?: number;
  /** Answer that showed the item. */
  readonly requestId?: string;
  /** Unix milliseconds; the store's clock where absent. */
  readonly timeMs?: number;
}

/** An event as the log holds it. */
export type StoredEvent = EventInput & { readonly timeMs: number };

/** What an answer showed, and who decided so. */
export interface Exposure {
  readonly requestId: string;
  /** Unix milliseconds. */
  readonly timeMs: number;
  readonly user?: string;
  readonly experiment?: string;
  readonly arm?: string;
  readonly pipeline: string;
  readonly variant: string;
  /** The pipeline was forced by the caller: not part of any experiment. */
  readonly forced: boolean;
  /** Item ids by position, the first on top. */
  readonly items: readonly string[];
}

export interface UserHistory {
  readonly user: string;
  /** Item ids, most recent last. */
  readonly history: readonly string[];
}

export interface AppendReceipt {
  readonly accepted: number;
  /** Events whose id was in the log already, or came earlier in the same batch. */
  readonly duplicates: number;
}

/** Sequence numbers, `from` included, `to` not; the whole log where absent. */
export interface LogRange {
  readonly from?: number;
  readonly to?: number;
}

/** A row of a log. Sequence numbers start at 0 and grow by 1 in order of arrival. */
export interface LogEntry<T> {
  readonly sequence: number;
  readonly value: T;
}

export interface StoreCounts {
  /** Users with a history. */
  readonly users: number;
  /** Events and exposures in the logs, without those that the limits removed. */
  readonly events: number;
  readonly exposures: number;
  /** Exposures that wait to be written. */
  readonly exposuresBuffered: number;
  /** Exposures lost since the store was opened, because the buffer was full. */
  readonly exposuresDropped: number;
}

export interface StoreOptions {
  /** Items that a history keeps, the most recent ones; default 200. */
  readonly historyLimit?: number;
  /** Events kept, with the ids that make them idempotent; the oldest go first; default 10,000,000. */
  readonly maxEvents?: number;
  /** Exposures kept; the oldest go first; default 1,000,000. */
  readonly maxExposures?: number;
  /** Exposures that may wait to be written; more are dropped and counted; default 10,000. */
  readonly exposureBufferLimit?: number;
  /** Unix milliseconds; default the system's clock. */
  readonly now?: () => number;
  /** Told when writes start to fail and when they work again; default silent. */
  readonly log?: Log;
  /** Time until a write that failed is first tried again, and a tenth of the longest such time; default 1000. */
  readonly retryMs?: number;
  /**
   * Opens also where nothing can be written now (a full disk, a read-only folder): as a store whose writes fail, with
   * the histories where they can at least be read, and which goes on trying. Default false.
   */
  readonly allowUnwritable?: boolean;
}

/** Whether writes work. */
export interface StoreHealth {
  /** Why they do not, and since when (unix milliseconds); absent while they do. */
  readonly failing?: { readonly reason: string; readonly sinceMs: number };
  /** Exposures that wait to be written, and those lost since the store was opened because too many waited. */
  readonly exposuresWaiting: number;
  readonly exposuresDropped: number;
}

/**
 * User histories, events and exposures of one gateway, durable in one folder. Several processes may have it open.
 * Every method throws (or rejects with) STORE_FAILED where the files cannot be read or written, or after `close`. After
 * the first write that fails, later ones are refused at once, and exposures wait, until an attempt in the background
 * succeeds.
 */
export interface Store {
  /**
   * Item ids of a user, most recent last, undefined for an unknown one. The array is the caller's. One read
   * of mapped memory.
   */
  history(user: string): readonly string[] | undefined;
  /**
   * Gives users the histories that come with a bundle, unless `bundleHash` was the last one seeded. A user
   * with events of their own keeps the history that these extended. Resolves to the number of histories
   * written.
   * @throws INPUT_INVALID where a user id is empty or too long.
   */
  seedHistories(bundleHash: string, users: Iterable<UserHistory>): Promise<number>;
  /**
   * Appends events and extends histories, all in one transaction: durable on disk when the promise resolves, nothing
   * of it there when it rejects. Histories grow in order of arrival, whatever the events' times.
   * @throws INPUT_INVALID where an id is empty or too long.
   */
  appendEvents(events: readonly EventInput[]): Promise<AppendReceipt>;
  /**
   * Takes an exposure to be written with the next batch. Idempotent by request id. False where the buffer is full and
   * the exposure was dropped.
   * @throws INPUT_INVALID where the request id is empty or too long.
   */
  appendExposure(exposure: Exposure): boolean;
  /** Resolves when all exposures taken so far are durable. */
  flush(): Promise<void>;
  /** The exposure of a request, buffered or written. */
  exposure(requestId: string): Exposure | undefined;
  /** Events in order of arrival. Safe to iterate slowly: reads in pages and holds no transaction between them. */
  events(range?: LogRange): Iterable<LogEntry<StoredEvent>>;
  /** Written exposures in order of arrival, paged the same way. */
  exposures(range?: LogRange): Iterable<LogEntry<Exposure>>;
  counts(): StoreCounts;
  /** Never throws. */
  health(): StoreHealth;
  /** Calls `listener` whenever writes start to fail, or work again. */
  onHealth(listener: (health: StoreHealth) => void): void;
  /** Writes what is buffered and closes the files. */
  close(): Promise<void>;
}

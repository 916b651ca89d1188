import { must } from '../core/index.js';
import type { Database, RootDatabase } from 'lmdb';
import type { StoredEvent, UserHistory } from './types.js';

interface HistoryRecord {
  /** Item ids, most recent last. */
  readonly items: string[];
  /** Events of the user's own have extended it, so that a bundle's history does not replace it. */
  readonly live: boolean;
}

/** The users' histories, at most `limit` items each. Writing methods are called inside a write transaction. */
export class Histories {
  private readonly records: Database<HistoryRecord, string>;
  private readonly limit: number;

  constructor(root: RootDatabase, limit: number) {
    this.records = root.openDB<HistoryRecord, string>('histories', {});
    this.limit = limit;
  }

  get(user: string): readonly string[] | undefined {
    return this.records.get(user)?.items;
  }

  /** Users with a history. */
  count(): number {
    const stats: { readonly entryCount?: number } = this.records.getStats();
    return must(stats.entryCount, 'entryCount of a database');
  }

  /** Adds each event's item at the end of its user's history. */
  extend(events: readonly StoredEvent[]): void {
    const extended = new Map<string, string[]>();
    for (const { user, item } of events) {
      const items = extended.get(user) ?? [...(this.get(user) ?? [])];
      items.push(item);
      extended.set(user, items);
    }
    for (const [user, items] of extended)
      this.records.putSync(user, { items: items.slice(-this.limit), live: true });
  }

  /** Sets the histories of users without events of their own; the number written. */
  seed(users: readonly UserHistory[]): number {
    let written = 0;
    for (const { user, history } of users) {
      if (this.records.get(user)?.live === true) continue;
      this.records.putSync(user, { items: history.slice(-this.limit), live: false });
      written++;
    }
    return written;
  }
}

import { must } from '../core/index.js';
import type { Database, RootDatabase } from 'lmdb';
import type { LogEntry, LogRange } from './types.js';

/** Rows read at once by `range`. */
const PAGE_ROWS = 1000;
/** Rows that one append may remove beyond those it adds, so that a lowered limit takes effect in small steps. */
const TRIM_ROWS = 1000;

interface Bounds {
  /** Sequence number of the oldest row kept. */
  readonly first: number;
  /** Sequence number that the next row gets. */
  readonly next: number;
}

/**
 * Rows under consecutive sequence numbers in order of arrival, found again by id. Holds at most `limit` rows:
 * the oldest make room, together with their ids.
 */
export class AppendLog<T> {
  private readonly rows: Database<T, number>;
  private readonly sequences: Database<number, string>;
  private readonly state: Database<Bounds, string>;
  private readonly idOf: (row: T) => string;
  private readonly limit: number;

  constructor(root: RootDatabase, name: string, idOf: (row: T) => string, limit: number) {
    this.rows = root.openDB<T, number>(`${name}.rows`, {});
    this.sequences = root.openDB<number, string>(`${name}.ids`, {});
    this.state = root.openDB<Bounds, string>(`${name}.state`, {});
    this.idOf = idOf;
    this.limit = limit;
  }

  /** Appends the rows whose ids are new and returns these. Call it inside a write transaction. */
  append(rows: readonly T[]): readonly T[] {
    const { first, next } = this.bounds();
    const accepted: T[] = [];
    for (const row of rows) {
      if (this.sequences.doesExist(this.idOf(row))) continue;
      const sequence = next + accepted.length;
      this.rows.putSync(sequence, row, { append: true });
      this.sequences.putSync(this.idOf(row), sequence);
      accepted.push(row);
    }
    if (accepted.length > 0)
      this.state.putSync('bounds', this.trim(first, next + accepted.length, accepted.length));
    return accepted;
  }

  /** The row with an id. */
  get(id: string): T | undefined {
    const sequence = this.sequences.get(id);
    return sequence === undefined ? undefined : this.rows.get(sequence);
  }

  count(): number {
    const { first, next } = this.bounds();
    return next - first;
  }

  /** Rows in order of arrival, a page at a time, up to the end that the log has when iteration starts. */
  *range(range: LogRange = {}): Generator<LogEntry<T>> {
    const { first, next } = this.bounds();
    const end = Math.min(range.to ?? next, next);
    let start = Math.max(range.from ?? first, first);
    while (start < end) {
      const page = Array.from(this.rows.getRange({ start, end, limit: PAGE_ROWS }));
      for (const { key, value } of page) yield { sequence: key, value };
      start = page.length === 0 ? end : must(page.at(-1), 'the last row of a page').key + 1;
    }
  }

  private bounds(): Bounds {
    return this.state.get('bounds') ?? { first: 0, next: 0 };
  }

  /** Removes the oldest of the rows [oldest, next) beyond the limit; the bounds that result. */
  private trim(oldest: number, next: number, added: number): Bounds {
    const first = Math.min(Math.max(oldest, next - this.limit), oldest + added + TRIM_ROWS);
    for (let sequence = oldest; sequence < first; sequence++) {
      this.sequences.removeSync(
        this.idOf(must(this.rows.get(sequence), `row ${String(sequence)} of the log`)),
      );
      this.rows.removeSync(sequence);
    }
    return { first, next };
  }
}

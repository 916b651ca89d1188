import { ndcgAtK } from '../evaluation/index.js';
import type { RelevancePair, RetentionEvidence } from './evidence.js';

/** Depth of the NDCG. */
const DEPTH = 10;
/** What a user does later than this after an answer is no label of it. */
const HORIZON_MS = 30 * 60_000;
/** Answers that wait for labels, of all users and of one; the oldest go first. */
const MAX_OPEN = 20_000;
const MAX_OPEN_OF_USER = 32;
/** Candidates of all of them together: 16 MB. */
const MAX_ROWS = 4_000_000;

/** An answer whose candidates two models order. */
export interface ComparedAnswer {
  readonly user: string;
  readonly requestId: string;
  /** Moment the request stands for, unix milliseconds. */
  readonly timeMs: number;
  /** Catalogue rows of the candidates; copied. */
  readonly rows: Int32Array;
}

/** What a user did with an item. */
export interface Engagement {
  readonly user: string;
  /** Catalogue row. */
  readonly row: number;
  /** Unix milliseconds. */
  readonly timeMs: number;
  /** The answer it came from, where that is known; else it counts for every answer before it that had the item. */
  readonly requestId?: string;
}

/** First catalogue rows of both orders, best first, and where their pair counts. */
interface Orders {
  readonly variant: Int32Array;
  readonly full: Int32Array;
  readonly evidence: RetentionEvidence;
}

/** A compared answer that can still get labels. */
export interface Comparison extends ComparedAnswer {
  readonly openedAtMs: number;
  /** Rows that the user engaged with, each once. */
  readonly labels: number[];
  /** Known once both models have ranked, which may be after the first label. */
  orders?: Orders;
  /** The pair that the evidence holds of it. */
  counted?: RelevancePair;
}

/**
 * Joins what users do to answers whose candidates two models ordered. Each label gives both orders their NDCG@10 anew,
 * so that figures are there with the first label and not only when the horizon has passed. Memory is bounded; the
 * oldest answers make room.
 */
export class LiveRetentionJoin {
  readonly #now: () => number;
  /** Oldest first. */
  readonly #open = new Set<Comparison>();
  readonly #byUser = new Map<string, Set<Comparison>>();
  #rows = 0;

  /** @param now unix milliseconds. */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** Answers that can still get labels. */
  get openCount(): number {
    return this.#open.size;
  }

  /** Collects the labels of an answer from now on; to be followed by `settle` or `close`. */
  open(answer: ComparedAnswer): Comparison {
    const comparison = { ...answer, rows: answer.rows.slice(), openedAtMs: this.#now(), labels: [] };
    this.#open.add(comparison);
    this.#rows += comparison.rows.length;
    const ofUser = this.#byUser.get(answer.user);
    if (ofUser === undefined) this.#byUser.set(answer.user, new Set([comparison]));
    else ofUser.add(comparison);
    this.#makeRoom(answer.user);
    return comparison;
  }

  /** Both orders are known: labels count, those that came meanwhile too. */
  settle(comparison: Comparison, orders: Orders): void {
    comparison.orders = orders;
    count(comparison);
  }

  /** Takes no more labels for an answer. What it counted with stays. */
  close(comparison: Comparison): void {
    if (!this.#open.delete(comparison)) return;
    this.#rows -= comparison.rows.length;
    const ofUser = this.#byUser.get(comparison.user);
    ofUser?.delete(comparison);
    if (ofUser?.size === 0) this.#byUser.delete(comparison.user);
  }

  /** Labels the answers that had the item among their candidates, were given before, and are not too old. */
  engage(engagement: Engagement): void {
    this.#closeOld();
    for (const comparison of this.#byUser.get(engagement.user) ?? []) {
      const { labels } = comparison;
      if (!follows(engagement, comparison) || labels.includes(engagement.row)) continue;
      labels.push(engagement.row);
      count(comparison);
    }
  }

  #makeRoom(user: string): void {
    this.#closeOld();
    const ofUser = this.#byUser.get(user);
    if (ofUser !== undefined && ofUser.size > MAX_OPEN_OF_USER) this.#closeFirst(ofUser);
    while (this.#open.size > MAX_OPEN || this.#rows > MAX_ROWS) this.#closeFirst(this.#open);
  }

  #closeOld(): void {
    const oldestMs = this.#now() - HORIZON_MS;
    for (const comparison of this.#open) {
      if (comparison.openedAtMs >= oldestMs) return;
      this.close(comparison);
    }
  }

  #closeFirst(comparisons: ReadonlySet<Comparison>): void {
    for (const comparison of comparisons) {
      this.close(comparison);
      return;
    }
  }
}

/** Whether something that was done can have come from an answer. */
function follows({ row, requestId, timeMs }: Engagement, comparison: Comparison): boolean {
  if (!comparison.rows.includes(row)) return false;
  if (requestId !== undefined) return requestId === comparison.requestId;
  return timeMs >= comparison.timeMs && timeMs <= comparison.timeMs + HORIZON_MS;
}

/** Brings the evidence up to date with the labels of an answer. */
function count(comparison: Comparison): void {
  const { orders, labels, user, counted } = comparison;
  if (orders === undefined || labels.length === 0) return;
  const pair = {
    variant: ndcgAtK(orders.variant, labels, DEPTH),
    full: ndcgAtK(orders.full, labels, DEPTH),
  };
  orders.evidence.update(user, pair, counted);
  comparison.counted = pair;
}

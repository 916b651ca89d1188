const WINDOW_MS = 1_000;
const MAX_TIMES = 256;
const QUANTILE = 0.9;

/** Times in the queue of the runs of the last second, of the last 256 at most. */
export class RecentQueueTimes {
  readonly #now: () => number;
  readonly #takenAtMs = new Float64Array(MAX_TIMES).fill(-Infinity);
  readonly #timesMs = new Float64Array(MAX_TIMES);
  #next = 0;

  /** @param now milliseconds that only grow. */
  constructor(now: () => number) {
    this.#now = now;
  }

  add(timeMs: number): void {
    this.#takenAtMs[this.#next] = this.#now();
    this.#timesMs[this.#next] = timeMs;
    this.#next = (this.#next + 1) % MAX_TIMES;
  }

  /** The time of rank ⌈0.9·count⌉; 0 without any. */
  p90(): number {
    const sinceMs = this.#now() - WINDOW_MS;
    const recent = this.#timesMs.filter((_, index) => (this.#takenAtMs[index] ?? 0) > sinceMs).sort();
    return recent[Math.ceil(QUANTILE * recent.length) - 1] ?? 0;
  }
}

const WINDOW_MS = 60_000;

/** Counts crashes within the last minute. Times are of one clock that never goes back, in milliseconds. */
export class CrashWindow {
  #crashedAt: number[] = [];

  /** Remembers a crash at `nowMs`; answers how many there were in the minute that ends with it. */
  add(nowMs: number): number {
    this.#crashedAt = this.#crashedAt.filter((at) => nowMs - at < WINDOW_MS);
    this.#crashedAt.push(nowMs);
    return this.#crashedAt.length;
  }
}

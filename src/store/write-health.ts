export interface WriteHealthOptions {
  /** Time until the first attempt to write again; it doubles with each, up to ten times as long. */
  readonly retryMs: number;
  /** Writes what waits, and something in any case; settles when all of it is durable. */
  readonly retry: () => Promise<void>;
  /** Told when writing starts to fail, with the reason, and when it works again, with how long it did not. */
  readonly onChange: (change: { readonly reason: string } | { readonly failedMs: number }) => void;
  /** Unix milliseconds. */
  readonly now: () => number;
}

/** Why writes fail. */
export interface Failing {
  readonly reason: string;
  /** Unix milliseconds. */
  readonly sinceMs: number;
}

const MAX_DELAYS = 10;
/** Writes that work for this long are taken to go on working. */
const CALM_MS = 60_000;

/**
 * Knows whether writes work: the first that fails says no, and from then on attempts are made until one succeeds.
 *
 *     works ──failed()──▶ failing ──retry(), again and again──▶ works
 */
export class WriteHealth {
  readonly #options: WriteHealthOptions;
  #failing: Failing | undefined;
  #timer: NodeJS.Timeout | undefined;
  #retrying: Promise<void> | undefined;
  /** Attempts since writes worked for a while. */
  #attempts = 0;
  #recoveredAtMs = -Infinity;
  #stopped = false;

  constructor(options: WriteHealthOptions) {
    this.#options = options;
  }

  /** Undefined while writes work. */
  get failing(): Failing | undefined {
    return this.#failing;
  }

  /** Says that a write failed. */
  failed(reason: string): void {
    if (this.#failing === undefined) {
      const sinceMs = this.#options.now();
      // A disk at its limit takes a small write now and then: attempts stay rare while it fails again and again.
      if (sinceMs - this.#recoveredAtMs > CALM_MS) this.#attempts = 0;
      this.#failing = { reason, sinceMs };
      this.#options.onChange({ reason });
    }
    this.#retryLater();
  }

  /** Ends the attempts; settles when none runs. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#retrying;
  }

  #retryLater(): void {
    if (this.#stopped || this.#retrying !== undefined) return;
    // LMDB prints a line of its own at each attempt that fails: not one a second for hours.
    const delayMs = this.#options.retryMs * Math.min(MAX_DELAYS, 2 ** this.#attempts);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#attempts += 1;
      this.#retrying = this.#retry();
    }, delayMs).unref();
  }

  async #retry(): Promise<void> {
    try {
      await this.#options.retry();
      this.#recoveredAtMs = this.#options.now();
      const failedMs = this.#recoveredAtMs - (this.#failing?.sinceMs ?? 0);
      this.#failing = undefined;
      this.#retrying = undefined;
      this.#options.onChange({ failedMs });
    } catch {
      // The reason that counts is the first; an attempt may fail for what that one led to.
      this.#retrying = undefined;
      this.#retryLater();
    }
  }
}

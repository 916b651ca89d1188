export interface WriteHealthOptions {
  /** Time between attempts to write again. */
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

/**
 * Knows whether writes work: the first that fails says no, and from then on attempts are made until one succeeds.
 *
 *     works ──failed()──▶ failing ──every retryMs: retry()──▶ works
 */
export class WriteHealth {
  readonly #options: WriteHealthOptions;
  #failing: Failing | undefined;
  #timer: NodeJS.Timeout | undefined;
  #retrying: Promise<void> | undefined;
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
      this.#failing = { reason, sinceMs: this.#options.now() };
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
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#retrying = this.#retry();
    }, this.#options.retryMs).unref();
  }

  async #retry(): Promise<void> {
    try {
      await this.#options.retry();
      const failedMs = this.#options.now() - (this.#failing?.sinceMs ?? 0);
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

import { toWhittleError, type Log } from '../core/index.js';
import type { LastReload, ReloadReport } from './types.js';

/**
 * One reload at a time. A request that comes during one gets a reload of its own after it, because the files may have
 * changed since that one read them; requests that wait share it.
 */
export class Reloads {
  readonly #reload: () => Promise<ReloadReport>;
  readonly #log: Log;
  #running: Promise<unknown> = Promise.resolve();
  #waiting: Promise<ReloadReport> | undefined;
  #open = 0;
  #last: LastReload | undefined;

  constructor(reload: () => Promise<ReloadReport>, log: Log) {
    this.#reload = reload;
    this.#log = log;
  }

  /** Whether one runs or waits. */
  get busy(): boolean {
    return this.#open > 0;
  }

  /** Outcome of the latest one; undefined before the first. */
  get last(): LastReload | undefined {
    return this.#last;
  }

  /** @throws why the reload was refused. */
  request(): Promise<ReloadReport> {
    if (this.#waiting !== undefined) return this.#waiting;
    const next = this.#running.then(() => this.#run());
    this.#open += 1;
    this.#waiting = next;
    this.#running = next.catch(() => undefined);
    return next;
  }

  /** Settles when none runs or waits; never rejects. */
  async settled(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<ReloadReport> {
    this.#waiting = undefined;
    try {
      const report = await this.#reload();
      this.#last = { timeMs: Date.now(), report };
      this.#log.info('reload_done', { ...report });
      return report;
    } catch (thrown) {
      const { code, message, details } = toWhittleError(thrown);
      this.#last = { timeMs: Date.now(), error: { code, message, details } };
      this.#log.error('reload_refused', { code, message, details });
      throw thrown;
    } finally {
      this.#open -= 1;
    }
  }
}

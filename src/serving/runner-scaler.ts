import { cpus } from 'node:os';
import { toWhittleError, type Log } from '../core/index.js';

/** Runners of one model, whose number may change. */
export interface Scalable {
  readonly size: number;
  /** @throws RUNNER_START_FAILED, and is as before then. */
  grow(): Promise<void>;
  shrink(): Promise<void>;
}

export interface RunnerScalerOptions {
  readonly name: string;
  readonly runners: Scalable;
  readonly maxSize: number;
  /** Mean wait of batches' oldest jobs above which one more runner is wanted. */
  readonly waitLimitMs: number;
  /** Cores of the machine that nobody used since the last call. */
  readonly freeCores: () => number;
  readonly log: Log;
}

/** Time between two looks at the load. */
const TICK_MS = 1_000;
/** Looks in a row with too long a wait before a runner is added: a burst is over sooner than a runner is up. */
const TICKS_BEFORE_GROWTH = 3;
/** A runner that finds less than this of a core free would only take from the others. */
const CORES_WANTED = 0.5;
/** Looks in a row that show the load to fit easily in one runner less before one is removed: five minutes. */
const TICKS_BEFORE_SHRINKING = 300;
/** Share of their time that the runners left may then be busy. */
const EASY_LOAD = 0.5;

/** Follows the load of one model: one runner more while jobs wait and cores are free, one less after idle minutes. */
export class RunnerScaler {
  readonly #options: RunnerScalerOptions;
  #batches = 0;
  #waitMs = 0;
  #runMs = 0;
  #slowTicks = 0;
  #easyTicks = 0;
  #isChanging = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: RunnerScalerOptions) {
    this.#options = options;
  }

  /** Looks at the load every second until `stop`. */
  start(): void {
    let lookedAt = performance.now();
    this.#timer = setInterval(() => {
      const now = performance.now();
      void this.tick(now - lookedAt);
      lookedAt = now;
    }, TICK_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Takes in a batch: the wait of its oldest job, and its run. */
  observe({ queueMs, runMs }: { readonly queueMs: number; readonly runMs: number }): void {
    this.#batches += 1;
    this.#waitMs += queueMs;
    this.#runMs += runMs;
  }

  /** Looks at the load since the last look, `elapsedMs` ago; settles when a change it makes is done. */
  async tick(elapsedMs: number): Promise<void> {
    const { runners, maxSize, waitLimitMs, freeCores } = this.#options;
    const cores = freeCores();
    const isSlow = this.#batches > 0 && this.#waitMs / this.#batches > waitLimitMs;
    const isEasy = this.#runMs / elapsedMs <= EASY_LOAD * (runners.size - 1);
    this.#batches = this.#waitMs = this.#runMs = 0;
    this.#slowTicks = isSlow ? this.#slowTicks + 1 : 0;
    this.#easyTicks = isEasy ? this.#easyTicks + 1 : 0;
    if (this.#isChanging) return;
    if (this.#slowTicks >= TICKS_BEFORE_GROWTH && runners.size < maxSize && cores >= CORES_WANTED)
      await this.#change('runner_added', () => runners.grow());
    else if (this.#easyTicks >= TICKS_BEFORE_SHRINKING && runners.size > 1)
      await this.#change('runner_removed', () => runners.shrink());
  }

  async #change(event: 'runner_added' | 'runner_removed', change: () => Promise<void>): Promise<void> {
    const { name, runners, log } = this.#options;
    this.#isChanging = true;
    this.#slowTicks = this.#easyTicks = 0;
    try {
      await change();
      log.info(event, { runner: name, runners: runners.size });
    } catch (thrown) {
      log.warn('runner_not_added', { runner: name, reason: toWhittleError(thrown).message });
    } finally {
      this.#isChanging = false;
    }
  }
}

/** A meter of the whole machine's idle cores: each call answers for the time since the last. */
export function idleCores(read: typeof cpus = cpus): () => number {
  const sums = (): { idle: number; all: number; cores: number } => {
    const times = read().map((core) => core.times);
    const idle = times.reduce((sum, one) => sum + one.idle, 0);
    const all = times.reduce(
      (sum, { user, nice, sys, idle: none, irq }) => sum + user + nice + sys + none + irq,
      0,
    );
    return { idle, all, cores: times.length };
  };
  let last = sums();
  return () => {
    const now = sums();
    const share = now.all === last.all ? 0 : (now.idle - last.idle) / (now.all - last.all);
    last = now;
    return share * now.cores;
  };
}

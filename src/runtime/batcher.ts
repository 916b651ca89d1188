import { assert, toWhittleError, WhittleError } from '../core/index.js';

export interface BatcherOptions<Job, Result> {
  /** Names the queue in errors. */
  readonly name: string;
  /**
   * Runs a batch: one outcome a job, in order. An error as an outcome fails that job only; a throw fails the batch,
   * unless it is one that a retry cannot help: then the jobs run once more, each alone, so that one bad job does not
   * fail its neighbours.
   */
  run(jobs: readonly Job[]): Promise<readonly (Result | WhittleError)[]>;
  /** Undefined when `run` may be called, else settles when it may. A rejection is given to every waiting job. */
  whenReady?(): Promise<void> | undefined;
  /** Largest summed cost of a batch of more than one job. */
  readonly maxCost: number;
  /** Jobs that may wait. */
  readonly queueLimit: number;
  /** Idle jobs that may wait. */
  readonly idleLimit: number;
  /** Called after each run that gave outcomes. */
  onBatch?(batch: { readonly jobs: number; readonly cost: number; readonly runMs: number }): void;
}

export interface JobLimits {
  /** Share of a batch that the job takes: its rows. */
  readonly cost: number;
  /** Time on the `performance.now()` clock after which nobody wants the answer. */
  readonly deadlineAt: number;
}

/** A result with the time its job waited and the time of the run it was part of. */
export interface Served<Result> {
  readonly result: Result;
  readonly queueMs: number;
  readonly runMs: number;
}

interface Entry<Job, Result> extends JobLimits {
  readonly job: Job;
  readonly submittedAt: number;
  readonly resolve: (served: Served<Result>) => void;
  readonly reject: (error: WhittleError) => void;
}

/** A cost bound that no second job fits in, not even a free one. */
const ALONE = -Infinity;
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * Queues jobs for one runner and sends them in batches that grow while it is busy: no timer holds a job back.
 *
 *                    oldest                   the longest prefix within maxCost,
 *     submit         ┌─────┬─────┬─────┐      at least one, when the runner is free     ┌─────┐
 *     ─────────────▶ │  a  │  b  │  c  │ ─────────────────────────────────────────────▶ │ run │ ─▶ promises
 *                    └─────┴─────┴─────┘                                                └─────┘
 *     submitWhenIdle ┌─────┬─────┐            one, when the runner is free and no job waits │
 *     ─────────────▶ │  x  │  y  │ ─────────────────────────────────────────────────────────┘
 *                    └─────┴─────┘
 *
 * 1. One batch is in `run` at a time.
 * 2. Each job is in at most one queue or batch, and its promise settles once.
 * 3. Jobs leave their queue in the order they came; none overtakes a costlier one.
 * 4. A job past its deadline is never run, and its promise rejects at the deadline even while the runner is stuck.
 * 5. At most `queueLimit` jobs and `idleLimit` idle jobs wait; more are refused, never displaced.
 */
export class Batcher<Job, Result> {
  readonly #options: BatcherOptions<Job, Result>;
  #waiting: Entry<Job, Result>[] = [];
  #waitingForIdle: Entry<Job, Result>[] = [];
  #pumping = false;
  /** The latest batch; settles when it is answered. */
  #running: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Infinity;
  #closedBy: WhittleError | undefined;

  constructor(options: BatcherOptions<Job, Result>) {
    this.#options = options;
  }

  /** Jobs that wait, idle ones not counted. */
  get queued(): number {
    return this.#waiting.length;
  }

  /**
   * Queues a job.
   * @throws QUEUE_FULL; DEADLINE_EXCEEDED when it was not run in time; NOT_READY after `close`; what `run` gave.
   */
  submit(job: Job, limits: JobLimits): Promise<Served<Result>> {
    return this.#enqueue(this.#waiting, this.#options.queueLimit, job, limits);
  }

  /**
   * Queues a job that only runs, alone, while no other job waits.
   * @throws as `submit`; QUEUE_FULL when `idleLimit` idle jobs wait.
   */
  submitWhenIdle(job: Job, limits: JobLimits): Promise<Served<Result>> {
    return this.#enqueue(this.#waitingForIdle, this.#options.idleLimit, job, limits);
  }

  /** Rejects waiting and later jobs with NOT_READY; settles when the batch in `run` is done. */
  async close(): Promise<void> {
    this.#closedBy = new WhittleError('NOT_READY', `Queue ${this.#options.name} is closed`, {
      queue: this.#options.name,
    });
    this.#rejectWaiting(this.#closedBy);
    clearTimeout(this.#timer);
    await this.#running;
  }

  #enqueue(
    queue: Entry<Job, Result>[],
    limit: number,
    job: Job,
    { cost, deadlineAt }: JobLimits,
  ): Promise<Served<Result>> {
    return new Promise((resolve, reject) => {
      const submittedAt = performance.now();
      if (this.#closedBy !== undefined) throw this.#closedBy;
      if (deadlineAt <= submittedAt) throw this.#deadlineExceeded();
      if (queue.length >= limit) throw this.#queueFull(limit);
      queue.push({ job, cost, deadlineAt, submittedAt, resolve, reject });
      this.#wakeAt(deadlineAt);
      if (!this.#pumping) void this.#pump();
    });
  }

  /** Sends batches until nothing waits. */
  async #pump(): Promise<void> {
    this.#pumping = true;
    while (this.#waiting.length + this.#waitingForIdle.length > 0) {
      if (!(await this.#becomesReady())) break;
      const batch = this.#take(this.#waiting, this.#options.maxCost);
      // An idle job goes alone, so that a job that comes meanwhile waits for one of them at most.
      if (batch.length === 0) batch.push(...this.#take(this.#waitingForIdle, ALONE));
      if (batch.length === 0) continue;
      this.#running = this.#dispatch(batch);
      await this.#running;
    }
    this.#pumping = false;
  }

  async #becomesReady(): Promise<boolean> {
    try {
      await this.#options.whenReady?.();
      return true;
    } catch (thrown) {
      this.#rejectWaiting(toWhittleError(thrown));
      return false;
    }
  }

  /** Takes jobs from the front while they fit, always the first; expired ones are rejected on the way. */
  #take(queue: Entry<Job, Result>[], maxCost: number): Entry<Job, Result>[] {
    const now = performance.now();
    const batch: Entry<Job, Result>[] = [];
    let taken = 0;
    let batchCost = 0;
    for (const entry of queue) {
      const expired = entry.deadlineAt <= now;
      if (!expired && batch.length > 0 && batchCost + entry.cost > maxCost) break;
      taken += 1;
      if (expired) {
        entry.reject(this.#deadlineExceeded());
        continue;
      }
      batch.push(entry);
      batchCost += entry.cost;
    }
    queue.splice(0, taken);
    return batch;
  }

  async #dispatch(batch: readonly Entry<Job, Result>[]): Promise<void> {
    const startedAt = performance.now();
    try {
      const outcomes = await this.#options.run(batch.map((entry) => entry.job));
      assert(outcomes.length === batch.length, 'a batch has one outcome a job');
      this.#settle(batch, outcomes, startedAt);
    } catch (thrown) {
      const error = toWhittleError(thrown);
      if (batch.length > 1 && !error.retryable) await this.#dispatchEach(batch);
      else for (const entry of batch) entry.reject(error);
    }
  }

  async #dispatchEach(batch: readonly Entry<Job, Result>[]): Promise<void> {
    for (const entry of batch) await this.#dispatch(this.#take([entry], ALONE));
  }

  #settle(
    batch: readonly Entry<Job, Result>[],
    outcomes: readonly (Result | WhittleError)[],
    startedAt: number,
  ): void {
    const runMs = performance.now() - startedAt;
    let cost = 0;
    for (const [index, entry] of batch.entries()) {
      const outcome = outcomes[index] as Result | WhittleError;
      if (outcome instanceof WhittleError) entry.reject(outcome);
      else entry.resolve({ result: outcome, queueMs: startedAt - entry.submittedAt, runMs });
      cost += entry.cost;
    }
    this.#options.onBatch?.({ jobs: batch.length, cost, runMs });
  }

  /** One timer for both queues, at the earliest deadline or before: a job that left in time does not move it. */
  #wakeAt(deadlineAt: number): void {
    if (deadlineAt >= this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = deadlineAt;
    const waitMs = Math.min(LONGEST_TIMER_MS, Math.ceil(deadlineAt - performance.now()));
    this.#timer = setTimeout(() => {
      this.#rejectExpired();
    }, waitMs);
  }

  #rejectExpired(): void {
    const now = performance.now();
    this.#timerAt = Infinity;
    let earliest = Infinity;
    for (const queue of [this.#waiting, this.#waitingForIdle]) {
      const kept = queue.filter((entry) => entry.deadlineAt > now);
      for (const entry of queue) if (entry.deadlineAt <= now) entry.reject(this.#deadlineExceeded());
      queue.splice(0, queue.length, ...kept);
      for (const entry of kept) earliest = Math.min(earliest, entry.deadlineAt);
    }
    this.#wakeAt(earliest);
  }

  #rejectWaiting(error: WhittleError): void {
    for (const queue of [this.#waiting, this.#waitingForIdle])
      for (const entry of queue.splice(0)) entry.reject(error);
  }

  #queueFull(limit: number): WhittleError {
    const { name } = this.#options;
    return new WhittleError('QUEUE_FULL', `Queue ${name} is full (${limit} jobs wait)`, {
      queue: name,
      limit,
    });
  }

  #deadlineExceeded(): WhittleError {
    const { name } = this.#options;
    return new WhittleError('DEADLINE_EXCEEDED', `The deadline passed in queue ${name}`, { queue: name });
  }
}

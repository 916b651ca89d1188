import { assert, must, toWhittleError, WhittleError } from '../core/index.js';
import type { ConcurrencyLimit } from './concurrency-limit.js';
import { Fifo } from './fifo.js';

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
  /** Batches that may be in `run` at once; asked before each. Default 1. */
  lanes?(): number;
  /** Largest summed cost of a batch of more than one job; asked before each batch where it is a function. */
  readonly maxCost: number | (() => number);
  /** Jobs that one batch may hold. */
  readonly maxJobs: number;
  /** Jobs that may wait. */
  readonly queueLimit: number;
  /** Idle jobs that may wait. */
  readonly idleLimit: number;
  /** Bounds the jobs that wait or run, idle ones not counted; it is told of each run that gave outcomes. */
  readonly admission?: ConcurrencyLimit;
  /** Called after each run that gave outcomes. */
  onBatch?(batch: BatchOutcome): void;
}

/** A run that gave outcomes. */
export interface BatchOutcome {
  readonly jobs: number;
  readonly cost: number;
  readonly runMs: number;
  /** Time its oldest job waited; 0 for an idle job, which waits for nothing that anybody wants. */
  readonly queueMs: number;
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
  /** Jobs that waited or ran once this one was admitted. */
  readonly present: number;
  readonly resolve: (served: Served<Result>) => void;
  readonly reject: (error: WhittleError) => void;
}

type Batch<Job, Result> = readonly Entry<Job, Result>[];

const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * Queues jobs for a pool of runners and sends them in batches that grow while it is busy: no timer holds a job back.
 *
 *                    oldest                   the longest prefix within maxCost and        lanes
 *     submit         ┌─────┬─────┬─────┐      maxJobs, at least one, when a lane is free  ┌─────┐
 *     ─────────────▶ │  a  │  b  │  c  │ ───────────────────────────────────────────────▶ │ run │
 *                    └─────┴─────┴─────┘                                                  ├─────┤ ─▶ promises
 *     submitWhenIdle ┌─────┬─────┐            one, when a lane is free, no job waits      │ run │
 *     ─────────────▶ │  x  │  y  │ ─────────  and no idle job runs ─────────────────────▶ └─────┘
 *                    └─────┴─────┘
 *
 * 1. At most `lanes()` batches are in `run` at a time, and one of them at most is an idle job.
 * 2. Each job is in at most one queue or batch, and its promise settles once.
 * 3. Jobs leave their queue in the order they came; none overtakes a costlier one.
 * 4. A job past its deadline is never run, and its promise rejects at the deadline even while the runner is stuck.
 * 5. At most `queueLimit` jobs and `idleLimit` idle jobs wait, and at most `admission.limit` jobs wait or run; more
 *    are refused, never displaced.
 * 6. A lane that gets free has its next batch before the jobs of the one before are answered: what the answers set off
 *    (serialising, writing) happens while the runner works.
 */
export class Batcher<Job, Result> {
  readonly #options: BatcherOptions<Job, Result>;
  readonly #waiting = new Fifo<Entry<Job, Result>>();
  readonly #waitingForIdle = new Fifo<Entry<Job, Result>>();
  #pumpScheduled = false;
  #awaitsReadiness = false;
  #running = 0;
  #idleRunning = false;
  /** Jobs in `run`, idle ones not counted. */
  #runningJobs = 0;
  #onDrained: () => void = () => undefined;
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

  /** Time that the oldest waiting job has waited, idle ones not counted; 0 where none waits. */
  get oldestWaitMs(): number {
    const oldest = this.#waiting.peek();
    return oldest === undefined ? 0 : performance.now() - oldest.submittedAt;
  }

  /** Whether `submit` would refuse a job now. */
  get saturated(): boolean {
    const { queueLimit, admission } = this.#options;
    if (this.#closedBy !== undefined || this.#waiting.length >= queueLimit) return true;
    return admission !== undefined && this.#admitted() >= admission.limit;
  }

  /**
   * Queues a job.
   * @throws OVERLOADED and QUEUE_FULL at once; DEADLINE_EXCEEDED when it was not run in time; NOT_READY after `close`;
   * what `run` gave.
   */
  submit(job: Job, limits: JobLimits): Promise<Served<Result>> {
    return this.#enqueue(this.#waiting, job, limits);
  }

  /**
   * Queues a job that only runs, alone, while no other job waits.
   * @throws as `submit`, but OVERLOADED; QUEUE_FULL when `idleLimit` idle jobs wait.
   */
  submitWhenIdle(job: Job, limits: JobLimits): Promise<Served<Result>> {
    return this.#enqueue(this.#waitingForIdle, job, limits);
  }

  /** Rejects waiting and later jobs with NOT_READY; settles when the batches in `run` are answered. */
  async close(): Promise<void> {
    this.#closedBy ??= new WhittleError('NOT_READY', `Queue ${this.#options.name} is closed`, {
      queue: this.#options.name,
    });
    this.#rejectWaiting(this.#closedBy);
    clearTimeout(this.#timer);
    if (this.#running === 0) return;
    await new Promise<void>((resolve) => {
      const before = this.#onDrained;
      this.#onDrained = () => {
        before();
        resolve();
      };
    });
  }

  #admitted(): number {
    return this.#waiting.length + this.#runningJobs;
  }

  #enqueue(
    queue: Fifo<Entry<Job, Result>>,
    job: Job,
    { cost, deadlineAt }: JobLimits,
  ): Promise<Served<Result>> {
    return new Promise((resolve, reject) => {
      const submittedAt = performance.now();
      if (this.#closedBy !== undefined) throw this.#closedBy;
      if (deadlineAt <= submittedAt) throw this.#deadlineExceeded();
      this.#checkRoom(queue);
      const present = this.#admitted() + 1;
      queue.push({ job, cost, deadlineAt, submittedAt, present, resolve, reject });
      this.#wakeAt(deadlineAt);
      this.#schedulePump();
    });
  }

  #checkRoom(queue: Fifo<Entry<Job, Result>>): void {
    const { queueLimit, idleLimit, admission } = this.#options;
    const idle = queue === this.#waitingForIdle;
    const limit = idle ? idleLimit : queueLimit;
    if (queue.length >= limit) throw this.#queueFull(limit);
    if (idle || admission === undefined) return;
    if (this.#admitted() >= admission.limit) throw this.#overloaded(admission);
  }

  /** Pumps once the caller is through, so that jobs submitted in one go share a batch. */
  #schedulePump(): void {
    if (this.#pumpScheduled) return;
    this.#pumpScheduled = true;
    queueMicrotask(() => {
      this.#pumpScheduled = false;
      this.#pump();
    });
  }

  /** Sends batches until nothing waits or no lane is free. */
  #pump(): void {
    // Also where no runner is ready one batch is on its way: it is what waits for readiness.
    const lanes = Math.max(1, this.#options.lanes?.() ?? 1);
    while (this.#running < lanes && this.#waiting.length + this.#waitingForIdle.length > 0) {
      if (!this.#isReady()) return;
      const batch = this.#takeBatch();
      if (batch.length > 0) void this.#send(batch, false);
      else if (!this.#sendIdle()) return;
    }
  }

  /** Whether `run` may be called; where not, jobs are pumped or rejected once that is decided. */
  #isReady(): boolean {
    if (this.#awaitsReadiness) return false;
    const readiness = this.#options.whenReady?.();
    if (readiness === undefined) return true;
    this.#awaitsReadiness = true;
    readiness.then(
      () => {
        this.#awaitsReadiness = false;
        this.#pump();
      },
      (thrown: unknown) => {
        this.#awaitsReadiness = false;
        this.#rejectWaiting(toWhittleError(thrown));
      },
    );
    return false;
  }

  /** Takes jobs from the front while they fit, always the first; expired ones are rejected on the way. */
  #takeBatch(): Entry<Job, Result>[] {
    const { maxCost, maxJobs } = this.#options;
    const most = typeof maxCost === 'function' ? maxCost() : maxCost;
    const now = performance.now();
    const batch: Entry<Job, Result>[] = [];
    let cost = 0;
    while (batch.length < maxJobs) {
      const next = this.#nextAlive(this.#waiting, now);
      if (next === undefined || (batch.length > 0 && cost + next.cost > most)) break;
      this.#waiting.shift();
      batch.push(next);
      cost += next.cost;
    }
    return batch;
  }

  /** An idle job goes alone and one at a time, so that a job that comes meanwhile waits for one of them at most. */
  #sendIdle(): boolean {
    if (this.#idleRunning) return false;
    const next = this.#nextAlive(this.#waitingForIdle, performance.now());
    if (next === undefined) return false;
    this.#waitingForIdle.shift();
    void this.#send([next], true);
    return true;
  }

  /** The front of a queue once its expired jobs are rejected; it stays. */
  #nextAlive(queue: Fifo<Entry<Job, Result>>, now: number): Entry<Job, Result> | undefined {
    let next = queue.peek();
    while (next !== undefined && next.deadlineAt <= now) {
      next.reject(this.#deadlineExceeded());
      queue.shift();
      next = queue.peek();
    }
    return next;
  }

  async #send(batch: Batch<Job, Result>, idle: boolean): Promise<void> {
    const admitted = idle ? 0 : batch.length;
    this.#running += 1;
    this.#runningJobs += admitted;
    if (idle) this.#idleRunning = true;
    const answer = await this.#outcomesOf(batch, idle);
    this.#running -= 1;
    this.#runningJobs -= admitted;
    if (idle) this.#idleRunning = false;
    this.#pump();
    answer();
    if (this.#running === 0) this.#onDrained();
  }

  /** Runs a batch; answers what settles its jobs. */
  async #outcomesOf(batch: Batch<Job, Result>, idle: boolean): Promise<() => void> {
    const startedAt = performance.now();
    try {
      const outcomes = await this.#options.run(batch.map((entry) => entry.job));
      assert(outcomes.length === batch.length, 'a batch has one outcome a job');
      const finishedAt = performance.now();
      return () => {
        this.#settle(batch, outcomes, startedAt, finishedAt, idle);
      };
    } catch (thrown) {
      const error = toWhittleError(thrown);
      if (batch.length > 1 && !error.retryable) return this.#runEach(batch);
      return () => {
        for (const entry of batch) entry.reject(error);
      };
    }
  }

  /** Runs the jobs of a batch one by one in its lane, and settles each as it is done. */
  async #runEach(batch: Batch<Job, Result>): Promise<() => void> {
    for (const entry of batch) {
      if (entry.deadlineAt <= performance.now()) entry.reject(this.#deadlineExceeded());
      else (await this.#outcomesOf([entry], false))();
    }
    return () => undefined;
  }

  #settle(
    batch: Batch<Job, Result>,
    outcomes: readonly (Result | WhittleError)[],
    startedAt: number,
    finishedAt: number,
    idle: boolean,
  ): void {
    const runMs = finishedAt - startedAt;
    if (!idle) this.#observe(batch, finishedAt);
    let cost = 0;
    for (const [index, entry] of batch.entries()) {
      const outcome = outcomes[index] as Result | WhittleError;
      if (outcome instanceof WhittleError) entry.reject(outcome);
      else entry.resolve({ result: outcome, queueMs: startedAt - entry.submittedAt, runMs });
      cost += entry.cost;
    }
    const queueMs = idle ? 0 : startedAt - must(batch.at(0), 'the oldest job').submittedAt;
    this.#options.onBatch?.({ jobs: batch.length, cost, runMs, queueMs });
  }

  #observe(batch: Batch<Job, Result>, finishedAt: number): void {
    const { submittedAt } = must(batch.at(0), 'the oldest job');
    const { present } = must(batch.at(-1), 'the newest job');
    this.#options.admission?.observe({ present, sojournMs: finishedAt - submittedAt });
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

  /** One pass over what waits, a millisecond or more after the last: timers fire no closer. */
  #rejectExpired(): void {
    const now = performance.now();
    this.#timerAt = Infinity;
    let earliest = Infinity;
    const isAlive = (entry: Entry<Job, Result>): boolean => {
      if (entry.deadlineAt <= now) entry.reject(this.#deadlineExceeded());
      else earliest = Math.min(earliest, entry.deadlineAt);
      return entry.deadlineAt > now;
    };
    this.#waiting.retain(isAlive);
    this.#waitingForIdle.retain(isAlive);
    this.#wakeAt(earliest);
  }

  #rejectWaiting(error: WhittleError): void {
    for (const entry of [...this.#waiting.drain(), ...this.#waitingForIdle.drain()]) entry.reject(error);
  }

  #queueFull(limit: number): WhittleError {
    const { name } = this.#options;
    return new WhittleError('QUEUE_FULL', `Queue ${name} is full (${limit} jobs wait)`, {
      queue: name,
      limit,
    });
  }

  #overloaded({ limit, retryAfterSeconds }: ConcurrencyLimit): WhittleError {
    const { name } = this.#options;
    return new WhittleError(
      'OVERLOADED',
      `Queue ${name} has as many jobs as it can answer in time (${limit}); try again later`,
      { queue: name, limit, retryAfterSeconds },
    );
  }

  #deadlineExceeded(): WhittleError {
    const { name } = this.#options;
    return new WhittleError('DEADLINE_EXCEEDED', `The deadline passed in queue ${name}`, { queue: name });
  }
}

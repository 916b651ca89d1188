import { availableParallelism } from 'node:os';
import type { WhittleError } from '../core/index.js';
import {
  Batcher,
  ConcurrencyLimit,
  RunCost,
  RunnerPool,
  targetMs,
  type JobLimits,
  type RunnerPoolStatus,
  type RunnerRequest,
  type RunnerResponse,
  type Served,
} from '../runtime/index.js';
import { idleCores, RunnerScaler } from './runner-scaler.js';
import { poolOptions, type RunnerMemory, type RunnerOptions } from './runner-options.js';

export interface RunnerQueueOptions<Job, Result> {
  readonly name: string;
  /** Entry script of the runners, and what it is told at the start. */
  readonly entry: string;
  readonly spec: unknown;
  readonly memory: RunnerMemory;
  /** Largest summed cost of a batch, whatever it takes. */
  readonly maxCost: number;
  /** Idle jobs that may wait. */
  readonly idleLimit: number;
  /** The request of a batch, and the outcomes of its jobs from the answer. */
  readonly request: (jobs: readonly Job[]) => RunnerRequest;
  readonly outcomes: (response: RunnerResponse, jobs: readonly Job[]) => readonly (Result | WhittleError)[];
}

/** Share of the time wanted that one run may take: a job waits for the run before its own. */
const RUN_SHARE = 0.5;
/** Share of the mean cost of a job that the latest run makes up. */
const COST_STEP = 0.1;
/** Share of the objective that jobs may wait before one more runner is wanted. */
const WAIT_SHARE = 0.25;

/**
 * The runners of one model and the queue before them. Batches are as large as measured cost lets them be within half of
 * the objective, and admission follows measured time.
 */
export class RunnerQueue<Job, Result> {
  readonly #pool: RunnerPool;
  readonly #batcher: Batcher<Job, Result>;
  readonly #cost = new RunCost();
  /** Present where the number of runners follows the load. */
  readonly #scaler: RunnerScaler | undefined;
  #meanJobCost = 0;

  constructor(queue: RunnerQueueOptions<Job, Result>, options: RunnerOptions) {
    const { name, maxCost } = queue;
    const { runners, overload, onBatch } = options;
    const pool = new RunnerPool(poolOptions(name, queue.entry, queue.spec, queue.memory, options));
    this.#pool = pool;
    this.#scaler = runners.perVariant === 'auto' ? scalerOf(name, pool, options) : undefined;
    const lanes = (): number => pool.readyCount;
    const wantedMs = (): number => targetMs(overload.p99Ms, this.#cost.predictMs(this.#meanJobCost));
    const maximum = runners.queueLimit + runners.maxBatchRequests;
    this.#batcher = new Batcher<Job, Result>({
      name,
      run: async (jobs) => queue.outcomes(await pool.run(queue.request(jobs)), jobs),
      whenReady: () => pool.whenReady(),
      lanes,
      maxCost: () => Math.min(maxCost, this.#cost.rowsWithin(RUN_SHARE * wantedMs())),
      maxJobs: runners.maxBatchRequests,
      queueLimit: runners.queueLimit,
      idleLimit: queue.idleLimit,
      ...(overload.adaptive
        ? { admission: new ConcurrencyLimit({ targetMs: wantedMs, lanes, maximum }) }
        : {}),
      onBatch: ({ jobs, cost, runMs, queueMs }) => {
        this.#learn(jobs, cost, runMs);
        this.#scaler?.observe({ queueMs, runMs });
        onBatch({ runner: name, jobs, rows: cost, runMs, queueMs });
      },
    });
  }

  /** @throws RUNNER_START_FAILED */
  async start(): Promise<void> {
    await this.#pool.start();
    this.#scaler?.start();
  }

  /** @throws OVERLOADED, QUEUE_FULL, DEADLINE_EXCEEDED, RUNNER_FAILED, NOT_READY, or the runner's own error. */
  submit(job: Job, limits: JobLimits): Promise<Served<Result>> {
    return this.#batcher.submit(job, limits);
  }

  /** As `submit`, but only while no other job waits. */
  submitWhenIdle(job: Job, limits: JobLimits): Promise<Served<Result>> {
    return this.#batcher.submitWhenIdle(job, limits);
  }

  /** Whether a job would be refused now. */
  get saturated(): boolean {
    return this.#batcher.saturated;
  }

  /** Time that the oldest waiting job has waited; 0 where none waits. */
  get oldestWaitMs(): number {
    return this.#batcher.oldestWaitMs;
  }

  /** What a runner said of itself at its start; empty while none is ready. */
  get info(): Readonly<Record<string, unknown>> {
    return this.#pool.info ?? {};
  }

  status(): RunnerPoolStatus & { readonly queued: number } {
    return { ...this.#pool.status(), queued: this.#batcher.queued };
  }

  async close(): Promise<void> {
    this.#scaler?.stop();
    await this.#batcher.close();
    await this.#pool.stop();
  }

  #learn(jobs: number, cost: number, runMs: number): void {
    this.#cost.observe(cost, runMs);
    const jobCost = cost / jobs;
    this.#meanJobCost += (this.#meanJobCost === 0 ? 1 : COST_STEP) * (jobCost - this.#meanJobCost);
  }
}

/** Lets a pool follow its load, up to a runner a core. */
function scalerOf(name: string, runners: RunnerPool, { overload, log }: RunnerOptions): RunnerScaler {
  return new RunnerScaler({
    name,
    runners,
    maxSize: availableParallelism(),
    waitLimitMs: WAIT_SHARE * overload.p99Ms,
    freeCores: idleCores(),
    log,
  });
}

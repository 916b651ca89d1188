import { must, type Contract } from '../core/index.js';
import { mergeRankJobs, RunCost, splitScores, type RankJob, type Served } from '../runtime/index.js';
import type { RankerSpec } from './ranker-runner.js';
import type { RunnerMemory, RunnerOptions } from './runner-options.js';
import { RunnerQueue } from './runner-queue.js';

/** Idle jobs (shadows) that may wait for one ranker; more are dropped. */
const SHADOW_QUEUE_LIMIT = 64;

/** One variant's runners with their queue: scores the candidates of requests, several requests a run. */
export class Ranker {
  readonly #queue: RunnerQueue<RankJob, Float32Array>;
  readonly #cpu = new RunCost();

  constructor(
    name: string,
    spec: RankerSpec,
    contract: Contract,
    memory: RunnerMemory,
    options: RunnerOptions,
  ) {
    const { maxBatchRows } = options.runners;
    this.#queue = new RunnerQueue(
      {
        name,
        entry: 'ranker-runner',
        spec,
        memory,
        maxCost: maxBatchRows,
        idleLimit: SHADOW_QUEUE_LIMIT,
        request: (jobs) => ({ meta: {}, tensors: mergeRankJobs(contract, jobs) }),
        outcomes: ({ meta, tensors }, jobs) => {
          const rows = jobs.reduce((sum, job) => sum + job.rows, 0);
          this.#cpu.observe(rows, Number(meta['cpuMs']));
          return splitScores(must(tensors['scores'], 'scores'), jobs);
        },
      },
      options,
    );
  }

  /** @throws RUNNER_START_FAILED */
  start(): Promise<void> {
    return this.#queue.start();
  }

  /** One score a row, in the job's order. @throws OVERLOADED, QUEUE_FULL, DEADLINE_EXCEEDED, RUNNER_FAILED, NOT_READY. */
  rank(job: RankJob, deadlineAt: number): Promise<Served<Float32Array>> {
    return this.#queue.submit(job, { cost: job.rows, deadlineAt });
  }

  /** As `rank`, but only while no request waits. */
  rankWhenIdle(job: RankJob, deadlineAt: number): Promise<Served<Float32Array>> {
    return this.#queue.submitWhenIdle(job, { cost: job.rows, deadlineAt });
  }

  /** Whether `rank` would refuse a job now. */
  saturated(): boolean {
    return this.#queue.saturated;
  }

  /** Time that the oldest waiting request has waited; 0 where none waits. */
  oldestWaitMs(): number {
    return this.#queue.oldestWaitMs;
  }

  /** Expected CPU time of a run of so many candidates, by the runs so far; 0 before the first. */
  cpuMs(rows: number): number {
    return this.#cpu.predictMs(rows);
  }

  status(): ReturnType<RunnerQueue<RankJob, Float32Array>['status']> {
    return this.#queue.status();
  }

  close(): Promise<void> {
    return this.#queue.close();
  }
}

import { must, type Contract } from '../core/index.js';
import {
  Batcher,
  mergeRankJobs,
  splitScores,
  Supervisor,
  type RankJob,
  type Served,
} from '../runtime/index.js';
import type { RankerSpec } from './ranker-runner.js';
import { supervisorOptions, type RunnerOptions } from './runner-options.js';

/** Idle jobs (shadows) that may wait for one ranker; more are dropped. */
const SHADOW_QUEUE_LIMIT = 64;

/** One variant's runner with its queue: scores the candidates of requests, several requests a run. */
export class Ranker {
  readonly #supervisor: Supervisor;
  readonly #batcher: Batcher<RankJob, Float32Array>;

  constructor(name: string, modelPath: string, contract: Contract, options: RunnerOptions) {
    const { runners, onBatch } = options;
    const { inputs, output } = contract;
    const spec: RankerSpec = { modelPath, inputs, output, threads: runners.threads };
    const supervisor = new Supervisor(supervisorOptions(name, 'ranker-runner', spec, options));
    this.#supervisor = supervisor;
    this.#batcher = new Batcher({
      name,
      run: async (jobs) => {
        const { tensors } = await supervisor.run({ meta: {}, tensors: mergeRankJobs(contract, jobs) });
        return splitScores(must(tensors['scores'], 'scores'), jobs);
      },
      whenReady: () => supervisor.whenReady(),
      maxCost: runners.maxBatchRows,
      queueLimit: runners.queueLimit,
      idleLimit: SHADOW_QUEUE_LIMIT,
      onBatch: ({ jobs, cost, runMs }) => {
        onBatch({ runner: name, jobs, rows: cost, runMs });
      },
    });
  }

  /** @throws RUNNER_START_FAILED */
  start(): Promise<void> {
    return this.#supervisor.start();
  }

  /** One score a row, in the job's order. @throws QUEUE_FULL, DEADLINE_EXCEEDED, RUNNER_FAILED, NOT_READY. */
  rank(job: RankJob, deadlineAt: number): Promise<Served<Float32Array>> {
    return this.#batcher.submit(job, { cost: job.rows, deadlineAt });
  }

  /** As `rank`, but only while no request waits. */
  rankWhenIdle(job: RankJob, deadlineAt: number): Promise<Served<Float32Array>> {
    return this.#batcher.submitWhenIdle(job, { cost: job.rows, deadlineAt });
  }

  status(): ReturnType<Supervisor['status']> & { readonly queued: number } {
    return { ...this.#supervisor.status(), queued: this.#batcher.queued };
  }

  async close(): Promise<void> {
    await this.#batcher.close();
    await this.#supervisor.stop();
  }
}

import { must, type Log, type RetrieverSpec, type TensorMap } from '../core/index.js';
import { stackRows, type Served } from '../runtime/index.js';
import type { RetrieverRunnerSpec } from './retriever-runner.js';
import type { RunnerMemory, RunnerOptions } from './runner-options.js';
import { RunnerQueue } from './runner-queue.js';

/** What one request asks of a retriever: the `k` best rows for a query text, a vector or a tower's inputs. */
export interface RetrieveJob {
  readonly k: number;
  readonly query?: string;
  /** Tower: one row of each input. Vector: float32 `[1, dimensions]` named `vector`. */
  readonly tensors: TensorMap;
}

/** Rows, best first, with their scores; shorter than k where fewer matched. */
export interface Candidates {
  readonly rows: Int32Array;
  readonly scores: Float32Array;
}

/** Requests that share one search. */
const MAX_BATCH_JOBS = 32;

/** One retriever's runners with their queue. */
export class Retriever {
  readonly spec: RetrieverSpec;
  readonly #log: Log;
  readonly #queue: RunnerQueue<RetrieveJob, Candidates>;

  constructor(name: string, runnerSpec: RetrieverRunnerSpec, memory: RunnerMemory, options: RunnerOptions) {
    this.spec = runnerSpec.retriever;
    this.#log = options.log;
    this.#queue = new RunnerQueue(
      {
        name,
        entry: 'retriever-runner',
        spec: runnerSpec,
        memory,
        maxCost: MAX_BATCH_JOBS,
        idleLimit: 0,
        request: (jobs) => {
          const queries = jobs.map((job) => job.query ?? '');
          return { meta: { k: largestK(jobs), queries }, tensors: stackJobs(jobs) };
        },
        outcomes: ({ tensors }, jobs) => splitCandidates(tensors, jobs, largestK(jobs)),
      },
      options,
    );
  }

  /** @throws RUNNER_START_FAILED */
  async start(): Promise<void> {
    await this.#queue.start();
    const note = this.info['note'];
    if (note !== undefined) this.#log.warn('retriever_note', { runner: this.status().name, note });
  }

  /** @throws OVERLOADED, QUEUE_FULL, DEADLINE_EXCEEDED, RUNNER_FAILED, NOT_READY. */
  retrieve(job: RetrieveJob, deadlineAt: number): Promise<Served<Candidates>> {
    return this.#queue.submit(job, { cost: 1, deadlineAt });
  }

  /** Whether `retrieve` would refuse a job now. */
  saturated(): boolean {
    return this.#queue.saturated;
  }

  /** What the runner says of its index, for example the measured recall of a graph against exact search. */
  get info(): Readonly<Record<string, unknown>> {
    return this.#queue.info;
  }

  status(): ReturnType<RunnerQueue<RetrieveJob, Candidates>['status']> {
    return this.#queue.status();
  }

  close(): Promise<void> {
    return this.#queue.close();
  }
}

function largestK(jobs: readonly RetrieveJob[]): number {
  return Math.max(...jobs.map(({ k }) => k));
}

/** Puts the jobs' one-row tensors of each input behind each other: `[jobs, ...]`. */
function stackJobs(jobs: readonly RetrieveJob[]): TensorMap {
  const [first] = jobs;
  if (first === undefined || jobs.length === 1) return first?.tensors ?? {};
  return Object.fromEntries(
    Object.keys(first.tensors).map((name) => {
      const rows = jobs.map(({ tensors }) => must(tensors[name], name));
      return [name, stackRows(name, rows)];
    }),
  );
}

/** Each job's first `k` rows of `rows` and `scores` `[jobs, batchK]`; -1 pads a short result. */
function splitCandidates(tensors: TensorMap, jobs: readonly RetrieveJob[], batchK: number): Candidates[] {
  const rows = must(tensors['rows'], 'rows').data as Int32Array;
  const scores = must(tensors['scores'], 'scores').data as Float32Array;
  return jobs.map(({ k }, place) => {
    const start = place * batchK;
    const share = rows.subarray(start, start + k);
    const found = share.indexOf(-1);
    const end = start + (found === -1 ? share.length : found);
    return { rows: rows.subarray(start, end), scores: scores.subarray(start, end) };
  });
}

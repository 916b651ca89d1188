import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { must, WhittleError } from '../../src/core/index.js';
import { Batcher, ConcurrencyLimit } from '../../src/runtime/index.js';
import type { BatcherOptions } from '../../src/runtime/index.js';
import { rejectionCode } from '../support/error-code.js';

interface Run {
  readonly jobs: readonly string[];
  finish(outcomes?: readonly (string | WhittleError)[]): void;
  fail(error: Error): void;
}

/** A batcher whose runs wait until the test finishes them. The default answer of a job is its name in capitals. */
function gatedBatcher(options: Partial<BatcherOptions<string, string>> = {}): {
  batcher: Batcher<string, string>;
  runs: Run[];
} {
  const runs: Run[] = [];
  const batcher = new Batcher<string, string>({
    name: 'test',
    maxCost: 10,
    maxJobs: 64,
    queueLimit: 100,
    idleLimit: 10,
    run: (jobs) =>
      new Promise((resolve, reject) => {
        const finish: Run['finish'] = (outcomes = jobs.map((job) => job.toUpperCase())) => {
          resolve(outcomes);
        };
        runs.push({ jobs, finish, fail: reject });
      }),
    ...options,
  });
  return { batcher, runs };
}

const limits = { cost: 1, deadlineAt: Infinity };

/** Lets everything that is ready to run do so. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function resultOf(served: Promise<{ readonly result: string }>): Promise<string> {
  return served.then(({ result }) => result);
}

describe('Batcher', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('sends a job at once, and what waited meanwhile as one batch up to the cost bound', async () => {
    const { batcher, runs } = gatedBatcher();
    const first = batcher.submit('a', limits);
    await turn();
    const later = ['b', 'c', 'd'].map((job) => batcher.submit(job, { ...limits, cost: 4 }));
    await turn();
    expect(runs.map(({ jobs }) => jobs)).toEqual([['a']]);
    runs[0]?.finish();
    expect(await resultOf(first)).toBe('A');
    await turn();
    expect(runs.map(({ jobs }) => jobs)).toEqual([['a'], ['b', 'c']]);
    runs[1]?.finish();
    await turn();
    runs[2]?.finish();
    expect(await Promise.all(later.map(resultOf))).toEqual(['B', 'C', 'D']);
  });

  it('sends a job alone that is over the bound by itself, in its turn', async () => {
    const { batcher, runs } = gatedBatcher();
    void batcher.submit('big', { ...limits, cost: 99 });
    void batcher.submit('small', limits);
    await turn();
    expect(runs.map(({ jobs }) => jobs)).toEqual([['big']]);
  });

  it('says how long a job waited and how long its run took', async () => {
    const onBatch = vi.fn();
    const { batcher, runs } = gatedBatcher({ onBatch });
    void batcher.submit('a', limits);
    await turn();
    const second = batcher.submit('b', { ...limits, cost: 3 });
    vi.advanceTimersByTime(30);
    runs[0]?.finish();
    await turn();
    vi.advanceTimersByTime(12);
    runs[1]?.finish();
    expect(await second).toEqual({ result: 'B', queueMs: 30, runMs: 12 });
    expect(onBatch.mock.calls).toEqual([
      [{ jobs: 1, cost: 1, runMs: 30, queueMs: 0 }],
      [{ jobs: 1, cost: 3, runMs: 12, queueMs: 30 }],
    ]);
  });

  it('knows how long the oldest job has waited; idle ones wait for nothing', async () => {
    const onBatch = vi.fn();
    const { batcher, runs } = gatedBatcher({ onBatch });
    void batcher.submit('a', limits);
    void batcher.submitWhenIdle('idle', limits);
    await turn();
    vi.advanceTimersByTime(5);
    expect(batcher.oldestWaitMs).toBe(0);
    void batcher.submit('b', limits);
    vi.advanceTimersByTime(4);
    void batcher.submit('c', limits);
    vi.advanceTimersByTime(3);
    expect(batcher.oldestWaitMs).toBe(7);
    for (const place of [0, 1, 2]) {
      runs[place]?.finish();
      await turn();
    }
    expect(batcher.oldestWaitMs).toBe(0);
    const waited = (queueMs: number): unknown[] => [expect.objectContaining({ queueMs })];
    expect(onBatch.mock.calls).toEqual([waited(0), waited(7), waited(0)]);
  });

  it('refuses jobs over the limit and serves the others', async () => {
    const { batcher, runs } = gatedBatcher({ queueLimit: 2 });
    const running = batcher.submit('a', limits);
    await turn();
    const waiting = [batcher.submit('b', limits), batcher.submit('c', limits)];
    expect(batcher.queued).toBe(2);
    expect(await rejectionCode(batcher.submit('d', limits))).toBe('QUEUE_FULL');
    runs[0]?.finish();
    await turn();
    runs[1]?.finish();
    expect(await Promise.all([running, ...waiting].map(resultOf))).toEqual(['A', 'B', 'C']);
  });

  it('rejects a waiting job at its deadline while the runner is stuck, whichever came first', async () => {
    const { batcher, runs } = gatedBatcher();
    const stuck = batcher.submit('stuck', { cost: 1, deadlineAt: performance.now() + 10 });
    await turn();
    const patient = batcher.submit('patient', { cost: 1, deadlineAt: performance.now() + 500 });
    const hasty = rejectionCode(batcher.submit('hasty', { cost: 1, deadlineAt: performance.now() + 100 }));
    const idle = rejectionCode(
      batcher.submitWhenIdle('idle', { cost: 1, deadlineAt: performance.now() + 200 }),
    );
    vi.advanceTimersByTime(100);
    expect(await hasty).toBe('DEADLINE_EXCEEDED');
    expect(batcher.queued).toBe(1);
    vi.advanceTimersByTime(100);
    expect(await idle).toBe('DEADLINE_EXCEEDED');
    runs[0]?.finish();
    expect(await resultOf(stuck)).toBe('STUCK');
    await turn();
    runs[1]?.finish();
    expect(await resultOf(patient)).toBe('PATIENT');
    expect(runs.map(({ jobs }) => jobs)).toEqual([['stuck'], ['patient']]);
  });

  it('never runs a job past its deadline, even before its timer has fired', async () => {
    const { batcher, runs } = gatedBatcher();
    void batcher.submit('a', limits);
    await turn();
    const late = rejectionCode(batcher.submit('late', { cost: 1, deadlineAt: performance.now() + 50 }));
    void batcher.submit('b', limits);
    // Time passes, but no timer gets its turn: the run's end comes first.
    const clock = vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 60);
    runs[0]?.finish();
    await turn();
    clock.mockRestore();
    expect(await late).toBe('DEADLINE_EXCEEDED');
    expect(runs.map(({ jobs }) => jobs)).toEqual([['a'], ['b']]);
  });

  it('refuses a job whose deadline has passed', async () => {
    const { batcher, runs } = gatedBatcher();
    const late = batcher.submit('late', { cost: 1, deadlineAt: performance.now() });
    expect(await rejectionCode(late)).toBe('DEADLINE_EXCEEDED');
    expect(runs).toEqual([]);
  });

  it('keeps jobs waiting until the runner is ready, and rejects them when it will not be', async () => {
    let isOpen = false;
    let settle: { open: () => void; refuse: (error: Error) => void } | undefined;
    const gate = (): Promise<void> | undefined => {
      if (isOpen) return undefined;
      return new Promise((resolve, reject) => {
        const open = (): void => {
          isOpen = true;
          resolve();
        };
        settle = { open, refuse: reject };
      });
    };
    const { batcher, runs } = gatedBatcher({ whenReady: gate });
    const early = ['a', 'b'].map((job) => batcher.submit(job, limits));
    await turn();
    expect(runs).toEqual([]);
    settle?.open();
    await turn();
    expect(runs.map(({ jobs }) => jobs)).toEqual([['a', 'b']]);
    runs[0]?.finish();
    expect(await Promise.all(early.map(resultOf))).toEqual(['A', 'B']);
    isOpen = false;
    const never = rejectionCode(batcher.submit('c', limits));
    await turn();
    settle?.refuse(new WhittleError('NOT_READY', 'stopped'));
    expect(await never).toBe('NOT_READY');
    void batcher.submit('d', limits);
    await turn();
    settle?.open();
    await turn();
    expect(runs[1]?.jobs).toEqual(['d']);
  });

  it('runs idle jobs one by one, only while nothing else waits', async () => {
    const { batcher, runs } = gatedBatcher({ idleLimit: 2 });
    const idle = [batcher.submitWhenIdle('x', limits), batcher.submitWhenIdle('y', limits)];
    expect(await rejectionCode(batcher.submitWhenIdle('z', limits))).toBe('QUEUE_FULL');
    await turn();
    void batcher.submit('a', limits);
    runs[0]?.finish();
    await turn();
    runs[1]?.finish();
    await turn();
    expect(runs.map(({ jobs }) => jobs)).toEqual([['x'], ['a'], ['y']]);
    runs[2]?.finish();
    expect(await Promise.all(idle.map(resultOf))).toEqual(['X', 'Y']);
  });

  it('gives each job its own error', async () => {
    const { batcher, runs } = gatedBatcher();
    const jobs = [batcher.submit('a', limits), batcher.submit('b', limits)];
    await turn();
    runs[0]?.finish(['A', new WhittleError('RUNNER_FAILED', 'not finite')]);
    expect((await jobs[0])?.result).toBe('A');
    expect(await rejectionCode(jobs[1] ?? Promise.resolve())).toBe('RUNNER_FAILED');
  });

  it('runs the jobs of a failed batch alone, so that only the bad one fails', async () => {
    const seen: (readonly string[])[] = [];
    const batcher = new Batcher<string, string>({
      name: 'test',
      maxCost: 10,
      maxJobs: 64,
      queueLimit: 10,
      idleLimit: 0,
      run: (jobs) => {
        seen.push(jobs);
        return jobs.includes('bad')
          ? Promise.reject(new WhittleError('MODEL_INVALID', 'index out of bounds'))
          : Promise.resolve(jobs.map((job) => job.toUpperCase()));
      },
    });
    const answers = ['a', 'bad', 'c'].map((job) => batcher.submit(job, limits));
    expect((await answers[0])?.result).toBe('A');
    expect(await rejectionCode(answers[1] ?? Promise.resolve())).toBe('MODEL_INVALID');
    expect((await answers[2])?.result).toBe('C');
    expect(seen).toEqual([['a', 'bad', 'c'], ['a'], ['bad'], ['c']]);
  });

  it('fails a batch as a whole, once, when the runner is lost', async () => {
    const { batcher, runs } = gatedBatcher();
    const codes = ['a', 'b'].map((job) => rejectionCode(batcher.submit(job, limits)));
    await turn();
    runs[0]?.fail(new WhittleError('RUNNER_FAILED', 'crashed'));
    expect(await Promise.all(codes)).toEqual(['RUNNER_FAILED', 'RUNNER_FAILED']);
    expect(runs).toHaveLength(1);
  });

  it('closes: what waits is rejected, what runs is answered, what comes is refused', async () => {
    const { batcher, runs } = gatedBatcher();
    const running = batcher.submit('a', limits);
    await turn();
    const waiting = [batcher.submit('b', limits), batcher.submitWhenIdle('x', limits)].map(rejectionCode);
    let closed = false;
    const closing = batcher.close().then(() => {
      closed = true;
    });
    expect(await Promise.all(waiting)).toEqual(['NOT_READY', 'NOT_READY']);
    expect(await rejectionCode(batcher.submit('c', limits))).toBe('NOT_READY');
    expect(closed).toBe(false);
    runs[0]?.finish();
    expect(await resultOf(running)).toBe('A');
    await closing;
    expect(vi.getTimerCount()).toBe(0);
  });

  it('closes while the runner is not ready', async () => {
    const { batcher, runs } = gatedBatcher({ whenReady: () => new Promise(() => undefined) });
    const waiting = rejectionCode(batcher.submit('a', limits));
    await turn();
    await batcher.close();
    expect(await waiting).toBe('NOT_READY');
    expect(runs).toEqual([]);
  });

  it('runs as many batches at once as there are lanes, at least one', async () => {
    let lanes = 0;
    const { batcher, runs } = gatedBatcher({ lanes: () => lanes, maxJobs: 1 });
    const answers = ['a', 'b', 'c', 'd'].map((job) => batcher.submit(job, limits));
    await turn();
    expect(runs.map(({ jobs }) => jobs)).toEqual([['a']]);
    lanes = 3;
    runs[0]?.finish();
    await turn();
    expect(runs.map(({ jobs }) => jobs)).toEqual([['a'], ['b'], ['c'], ['d']]);
    let closed = false;
    const closing = batcher.close().then(() => {
      closed = true;
    });
    for (const place of [3, 1]) runs[place]?.finish();
    await turn();
    expect(closed).toBe(false);
    runs[2]?.finish();
    await closing;
    expect(await Promise.all(answers.map(resultOf))).toEqual(['A', 'B', 'C', 'D']);
  });

  it('has the next batch on its way before the one before is answered', async () => {
    const { batcher, runs } = gatedBatcher();
    const sentWhenAnswered: number[] = [];
    const answers = ['a', 'b'].map(async (job) => {
      await batcher.submit(job, { ...limits, cost: 10 });
      sentWhenAnswered.push(runs.length);
    });
    await turn();
    runs[0]?.finish();
    await turn();
    expect(runs.map(({ jobs }) => jobs)).toEqual([['a'], ['b']]);
    expect(sentWhenAnswered).toEqual([2]);
    runs[1]?.finish();
    await Promise.all(answers);
  });

  it('asks for the bound of each batch', async () => {
    let maxCost = 2;
    const { batcher, runs } = gatedBatcher({ maxCost: () => maxCost });
    for (const job of ['a', 'b', 'c', 'd', 'e', 'f', 'g']) void batcher.submit(job, limits);
    await turn();
    maxCost = 4;
    runs[0]?.finish();
    await turn();
    maxCost = 0;
    runs[1]?.finish();
    await turn();
    expect(runs.map(({ jobs }) => jobs.join(''))).toEqual(['ab', 'cdef', 'g']);
  });

  it('runs one idle job at a time, however many lanes are free', async () => {
    const { batcher, runs } = gatedBatcher({ lanes: () => 3 });
    for (const job of ['x', 'y']) void batcher.submitWhenIdle(job, limits);
    await turn();
    void batcher.submit('a', limits);
    await turn();
    expect(runs.map(({ jobs }) => jobs)).toEqual([['x'], ['a']]);
    runs[0]?.finish();
    await turn();
    expect(runs[2]?.jobs).toEqual(['y']);
  });

  it('refuses at once what is over the admission limit, idle jobs not counted', async () => {
    const admission = new ConcurrencyLimit({ targetMs: () => 20, lanes: () => 1, maximum: 3 });
    const { batcher, runs } = gatedBatcher({ admission, maxJobs: 1 });
    void batcher.submitWhenIdle('x', limits);
    await turn();
    const admitted = ['a', 'b', 'c'].map((job) => batcher.submit(job, limits));
    void batcher.submitWhenIdle('y', limits);
    expect(batcher.saturated).toBe(true);
    await expect(batcher.submit('d', limits)).rejects.toMatchObject({
      code: 'OVERLOADED',
      details: { queue: 'test', limit: 3, retryAfterSeconds: 1 },
    });
    runs[0]?.finish();
    await turn();
    expect(batcher.saturated, 'jobs in run count').toBe(true);
    runs[1]?.finish();
    expect(await resultOf(must(admitted[0], 'job'))).toBe('A');
    expect(batcher.saturated).toBe(false);
  });

  it('tells admission how long the oldest job took and how many the newest found', async () => {
    const admission = new ConcurrencyLimit({ targetMs: () => 20, lanes: () => 1, maximum: 100 });
    const observe = vi.spyOn(admission, 'observe');
    const { batcher, runs } = gatedBatcher({ admission });
    void batcher.submit('a', limits);
    await turn();
    vi.advanceTimersByTime(5);
    for (const job of ['b', 'c']) void batcher.submit(job, limits);
    vi.advanceTimersByTime(10);
    runs[0]?.finish();
    await turn();
    vi.advanceTimersByTime(20);
    void batcher.submit('d', limits);
    runs[1]?.finish();
    await turn();
    expect(observe.mock.calls).toEqual([[{ present: 1, sojournMs: 15 }], [{ present: 3, sojournMs: 30 }]]);
  });

  it('says that it would refuse a job: while its queue is full, and once it is closed', async () => {
    const { batcher, runs } = gatedBatcher({ queueLimit: 1 });
    void batcher.submit('a', limits);
    await turn();
    expect(batcher.saturated).toBe(false);
    const waiting = rejectionCode(batcher.submit('b', limits));
    expect(batcher.saturated).toBe(true);
    runs[0]?.finish();
    await turn();
    expect(batcher.saturated).toBe(false);
    const closing = batcher.close();
    expect(batcher.saturated).toBe(true);
    runs[1]?.finish();
    await Promise.all([waiting, closing]);
  });

  it('agrees with a simple model: no job lost, none twice, order kept, bounds kept', async () => {
    const cost = fc.integer({ min: 0, max: 12 });
    const command = fc.oneof(
      fc.record({ kind: fc.constant('submit' as const), value: cost }),
      fc.record({ kind: fc.constant('idle' as const), value: cost }),
      fc.record({ kind: fc.constant('finish' as const), value: fc.nat({ max: 9 }) }),
    );
    const bounds = fc.record({
      lanes: fc.integer({ min: 1, max: 3 }),
      maxJobs: fc.integer({ min: 1, max: 4 }),
      queueLimit: fc.integer({ min: 1, max: 6 }),
    });
    await fc.assert(
      fc.asyncProperty(bounds, fc.array(command, { maxLength: 60 }), async (bound, commands) => {
        const { batcher, runs } = gatedBatcher({ ...bound, lanes: () => bound.lanes, idleLimit: 2 });
        const model = new Model({ ...bound, maxCost: 10, idleLimit: 2 });
        const answers: Promise<string>[] = [];
        const finish = async (value: number): Promise<void> => {
          const run = model.finish(value);
          if (run !== undefined) runs[run]?.finish();
          await turn();
          expect(runs.map(({ jobs }) => jobs)).toEqual(model.runs);
        };
        for (const [index, { kind, value }] of commands.entries()) {
          const name = String(index);
          if (kind === 'finish') await finish(value);
          else {
            const limited = { cost: value, deadlineAt: Infinity };
            const answer =
              kind === 'submit' ? batcher.submit(name, limited) : batcher.submitWhenIdle(name, limited);
            answers.push(resultOf(answer).catch((thrown: unknown) => (thrown as WhittleError).code));
            model.add(kind, name, value);
            await turn();
            expect(runs.map(({ jobs }) => jobs)).toEqual(model.runs);
          }
        }
        while (model.busy) await finish(0);
        expect(await Promise.all(answers)).toEqual(model.answers);
      }),
      { numRuns: 200 },
    );
  });
});

interface ModelBounds {
  readonly lanes: number;
  readonly maxJobs: number;
  readonly maxCost: number;
  readonly queueLimit: number;
  readonly idleLimit: number;
}

/** What the batcher should do, said plainly. */
class Model {
  /** Jobs of each run so far. */
  readonly runs: string[][] = [];
  /** What each submitted job is answered in the end. */
  readonly answers: string[] = [];
  readonly #bounds: ModelBounds;
  /** Runs that are not finished. */
  #open: { readonly run: number; readonly idle: boolean }[] = [];
  readonly #waiting: { readonly name: string; readonly cost: number }[] = [];
  readonly #idle: string[] = [];

  constructor(bounds: ModelBounds) {
    this.#bounds = bounds;
  }

  get busy(): boolean {
    return this.#open.length > 0;
  }

  add(kind: 'submit' | 'idle', name: string, cost: number): void {
    const { queueLimit, idleLimit } = this.#bounds;
    const full = kind === 'submit' ? this.#waiting.length >= queueLimit : this.#idle.length >= idleLimit;
    this.answers.push(full ? 'QUEUE_FULL' : name);
    if (full) return;
    if (kind === 'submit') this.#waiting.push({ name, cost });
    else this.#idle.push(name);
    this.#fill();
  }

  /** Ends one of the open runs, whichever `choice` falls on; answers its number. */
  finish(choice: number): number | undefined {
    const [ended] = this.#open.splice(choice % Math.max(1, this.#open.length), 1);
    this.#fill();
    return ended?.run;
  }

  #fill(): void {
    while (this.#open.length < this.#bounds.lanes) {
      const batch = this.#batch();
      const idle = batch.length === 0;
      if (idle) {
        if (this.#idle.length === 0 || this.#open.some((one) => one.idle)) return;
        batch.push(...this.#idle.splice(0, 1));
      }
      this.#open.push({ run: this.runs.length, idle });
      this.runs.push(batch);
    }
  }

  #batch(): string[] {
    const { maxJobs, maxCost } = this.#bounds;
    let size = 0;
    let total = 0;
    for (const { cost } of this.#waiting) {
      total += cost;
      if (size > 0 && (size === maxJobs || total > maxCost)) break;
      size += 1;
    }
    return this.#waiting.splice(0, size).map(({ name }) => name);
  }
}

import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { WhittleError } from '../../src/core/index.js';
import { Batcher } from '../../src/runtime/index.js';
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
      [{ jobs: 1, cost: 1, runMs: 30 }],
      [{ jobs: 1, cost: 3, runMs: 12 }],
    ]);
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

  it('agrees with a simple model: no job lost, none twice, order kept, cost bound', async () => {
    const command = fc.oneof(
      fc.record({ kind: fc.constant('submit' as const), cost: fc.integer({ min: 0, max: 12 }) }),
      fc.record({ kind: fc.constant('idle' as const), cost: fc.integer({ min: 0, max: 12 }) }),
      fc.record({ kind: fc.constant('finish' as const), cost: fc.constant(0) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(command, { maxLength: 60 }), async (commands) => {
        const { batcher, runs } = gatedBatcher({ queueLimit: 5, idleLimit: 2 });
        const model = new Model(10, 5, 2);
        const answers: Promise<string>[] = [];
        let finished = 0;
        for (const [index, { kind, cost }] of commands.entries()) {
          if (kind === 'finish') {
            if (model.running) runs[finished++]?.finish();
          } else {
            const limited = { cost, deadlineAt: Infinity };
            const answer =
              kind === 'submit'
                ? batcher.submit(String(index), limited)
                : batcher.submitWhenIdle(String(index), limited);
            answers.push(resultOf(answer).catch((thrown: unknown) => (thrown as WhittleError).code));
          }
          model.apply(kind, String(index), cost);
          await turn();
          expect(runs.map(({ jobs }) => jobs)).toEqual(model.runs);
        }
        while (model.running) {
          runs[finished++]?.finish();
          model.apply('finish', '', 0);
          await turn();
        }
        expect(runs.map(({ jobs }) => jobs)).toEqual(model.runs);
        expect(await Promise.all(answers)).toEqual(model.answers);
      }),
      { numRuns: 200 },
    );
  });
});

/** What the batcher should do, said plainly. */
class Model {
  readonly runs: string[][] = [];
  /** What each submitted job is answered in the end. */
  readonly answers: string[] = [];
  running = false;
  readonly #queues = { submit: [] as [string, number][], idle: [] as [string, number][] };
  readonly #maxCost: number;
  readonly #limits: { submit: number; idle: number };

  constructor(maxCost: number, submitLimit: number, idleLimit: number) {
    this.#maxCost = maxCost;
    this.#limits = { submit: submitLimit, idle: idleLimit };
  }

  apply(kind: 'submit' | 'idle' | 'finish', name: string, cost: number): void {
    if (kind === 'finish') this.running = false;
    else {
      const full = this.#queues[kind].length >= this.#limits[kind];
      this.answers.push(full ? 'QUEUE_FULL' : name);
      if (!full) this.#queues[kind].push([name, cost]);
    }
    if (!this.running) this.#next();
  }

  #next(): void {
    const { submit, idle } = this.#queues;
    const first = submit.shift();
    const batch = [];
    if (first !== undefined) {
      let total = first[1];
      batch.push(first[0]);
      while (submit[0] !== undefined && total + submit[0][1] <= this.#maxCost) {
        total += submit[0][1];
        batch.push(...submit.splice(0, 1).map(([name]) => name));
      }
    } else batch.push(...idle.splice(0, 1).map(([name]) => name));
    this.running = batch.length > 0;
    if (this.running) this.runs.push(batch);
  }
}

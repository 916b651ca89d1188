import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createRandom, float32, must, silentLog, WhittleError } from '../../src/core/index.js';
import type { Contract } from '../../src/core/index.js';
import { encodeModel, GraphBuilder } from '../../src/onnx/index.js';
import { Batcher, mergeRankJobs, splitScores, Supervisor } from '../../src/runtime/index.js';
import type { RankJob, RunnerEvent, SupervisorOptions } from '../../src/runtime/index.js';
import { rejectionCode } from '../support/error-code.js';
import type { TestCommand, TestRunnerSpec } from '../support/test-runner.js';

const support = (file: string): string => fileURLToPath(new URL(`../support/${file}`, import.meta.url));
const DIMENSIONS = 4;
const HANG_TIMEOUT_MS = 2_000;

const contract: Contract = {
  inputs: [
    {
      name: 'user',
      dtype: 'float32',
      dims: ['requests', DIMENSIONS],
      per: 'request',
      source: { from: 'request', field: 'user' },
    },
    {
      name: 'item',
      dtype: 'float32',
      dims: ['candidates', DIMENSIONS],
      per: 'candidate',
      source: { from: 'vectors', file: 'items', dimensions: DIMENSIONS },
    },
    {
      name: 'request_index',
      dtype: 'int64',
      dims: ['candidates'],
      per: 'candidate',
      source: { from: 'request_index' },
    },
  ],
  output: 'score',
};

/** Scores a candidate by the dot product with its request's user. */
function dotModel(): Uint8Array {
  const builder = new GraphBuilder();
  const user = builder.input('user', 'float32', ['requests', DIMENSIONS]);
  const item = builder.input('item', 'float32', ['candidates', DIMENSIONS]);
  const requestIndex = builder.input('request_index', 'int64', ['candidates']);
  const product = builder.op.Mul(builder.op.Gather(user, requestIndex, { axis: 0 }), item);
  builder.node('ReduceSum', [product, [1]], { keepdims: 0 }, ['score']);
  builder.output('score', 'float32', ['candidates']);
  return encodeModel(builder.build());
}

/** Whole numbers, so that sums are exact in any order. */
function randomJob(seed: number): RankJob & { readonly expected: number[] } {
  const random = createRandom(seed);
  const rows = 1 + random.integer(20);
  const vector = (length: number): Float32Array =>
    Float32Array.from({ length }, () => random.integer(100) - 50);
  const user = vector(DIMENSIONS);
  const item = vector(rows * DIMENSIONS);
  const expected = Array.from({ length: rows }, (_, row) =>
    user.reduce((sum, value, column) => sum + value * (item[row * DIMENSIONS + column] as number), 0),
  );
  const inputs = { user: float32(user, [1, DIMENSIONS]), item: float32(item, [rows, DIMENSIONS]) };
  return { inputs, rows, expected };
}

describe('Supervisor', () => {
  let folder: string;
  let model: string;
  const supervisors: Supervisor[] = [];
  const pids = new Set<number>();

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'whittle-runtime-'));
    model = join(folder, 'dot.onnx');
    await writeFile(model, dotModel());
  });
  afterEach(async () => {
    await Promise.all(supervisors.splice(0).map((supervisor) => supervisor.stop()));
  });
  afterAll(async () => {
    await rm(folder, { recursive: true });
    for (const pid of pids)
      expect(() => process.kill(pid, 0), `runner ${String(pid)} is gone`).toThrow('ESRCH');
  });

  /** A supervisor, the events it sent so far, and a promise of the next event of a kind. */
  function supervise(spec: TestRunnerSpec, options: Partial<SupervisorOptions> = {}) {
    const events: RunnerEvent[] = [];
    const listeners = new Set<(event: RunnerEvent) => void>();
    const supervisor = new Supervisor({
      name: 'test',
      entry: support('test-runner.ts'),
      execArgv: ['--import', 'tsx'],
      spec,
      hangTimeoutMs: HANG_TIMEOUT_MS,
      backoffMs: 1,
      log: silentLog,
      onEvent: (event) => {
        events.push(event);
        if (event.kind === 'ready') pids.add(event.pid);
        for (const listener of listeners) listener(event);
      },
      ...options,
    });
    supervisors.push(supervisor);
    const next = <Kind extends RunnerEvent['kind']>(kind: Kind): Promise<RunnerEvent & { kind: Kind }> =>
      new Promise((resolve) => {
        const listener = (event: RunnerEvent): void => {
          if (event.kind !== kind) return;
          listeners.delete(listener);
          resolve(event as RunnerEvent & { kind: Kind });
        };
        listeners.add(listener);
      });
    const tell = (command: TestCommand) => supervisor.run({ meta: { command }, tensors: {} });
    return { supervisor, events, next, tell };
  }

  /** A queue before a supervised ranker; `onSend` sees each batch leave. */
  function ranker(supervisor: Supervisor, onSend: (jobs: readonly RankJob[]) => void = () => undefined) {
    return new Batcher<RankJob, Float32Array>({
      name: 'rank',
      maxCost: 100,
      maxJobs: 64,
      queueLimit: 1_000,
      idleLimit: 0,
      whenReady: () => supervisor.whenReady(),
      run: async (jobs) => {
        onSend(jobs);
        const { tensors } = await supervisor.run({ meta: {}, tensors: mergeRankJobs(contract, jobs) });
        return splitScores(must(tensors['score'], 'score'), jobs);
      },
    });
  }

  function submit(batcher: Batcher<RankJob, Float32Array>, job: RankJob): Promise<number[]> {
    return batcher
      .submit(job, { cost: job.rows, deadlineAt: Infinity })
      .then(({ result }) => Array.from(result));
  }

  it('serves 200 requests at once from one runner, each with its own scores', async () => {
    const { supervisor } = supervise({ model });
    await supervisor.start();
    const batchSizes: number[] = [];
    const batcher = ranker(supervisor, (jobs) => batchSizes.push(jobs.length));
    const jobs = Array.from({ length: 200 }, (_, seed) => randomJob(seed));
    const answers = await Promise.all(jobs.map((job) => submit(batcher, job)));
    expect(answers).toEqual(jobs.map(({ expected }) => expected));
    expect(batchSizes.reduce((sum, size) => sum + size, 0)).toBe(200);
    expect(batchSizes.length).toBeLessThan(100);
    expect(supervisor.info?.['inputs']).toEqual(
      contract.inputs.map(({ name, dtype, dims }) => ({ name, dtype, dims })),
    );
  });

  it('hands back what the handler threw, and the runner lives on', async () => {
    const { supervisor, tell } = supervise({});
    await supervisor.start();
    const { pid } = supervisor.status();
    await expect(tell('throw')).rejects.toMatchObject({
      code: 'INPUT_INVALID',
      message: 'not that',
      details: { field: 'x', value: 3 },
    });
    expect((await tell('echo')).meta).toEqual({ command: 'echo' });
    expect(supervisor.status()).toEqual({ name: 'test', state: 'ready', restarts: 0, pid });
  });

  it('loses only the batch in flight when the runner is killed', async () => {
    const { supervisor, next } = supervise({ model });
    await supervisor.start();
    const batches: (readonly RankJob[])[] = [];
    const batcher = ranker(supervisor, (jobs) => {
      batches.push(jobs);
      // Killed before it can read the second batch, which is in flight for the gateway.
      if (batches.length === 2) process.kill(must(supervisor.status().pid, 'pid'), 'SIGKILL');
    });
    const jobs = Array.from({ length: 200 }, (_, seed) => randomJob(seed));
    const exited = next('exited');
    const outcomes = await Promise.allSettled(jobs.map((job) => submit(batcher, job)));
    const failed = outcomes.flatMap((outcome) =>
      outcome.status === 'rejected' ? [outcome.reason as WhittleError] : [],
    );
    expect(failed).toHaveLength(batches[1]?.length ?? 0);
    for (const error of failed) expect(error).toMatchObject({ code: 'RUNNER_FAILED', retryable: true });
    for (const [index, outcome] of outcomes.entries())
      if (outcome.status === 'fulfilled') expect(outcome.value).toEqual(jobs[index]?.expected);
    expect(batches.flat()).toHaveLength(200);
    expect((await exited).exit).toMatchObject({ reason: 'crashed', signal: 'SIGKILL' });
    expect(supervisor.status()).toMatchObject({ state: 'ready', restarts: 1 });
  });

  it('kills and replaces a hung runner while others go on serving', async () => {
    const hung = supervise({ model });
    const other = supervise({ model });
    await Promise.all([hung.supervisor.start(), other.supervisor.start()]);
    const order: string[] = [];
    const exited = hung.next('exited');
    const spinning = rejectionCode(hung.tell('spin')).then((code) => order.push(`spin ${String(code)}`));
    const batcher = ranker(other.supervisor);
    const jobs = Array.from({ length: 100 }, (_, seed) => randomJob(seed));
    const answers = await Promise.all(jobs.map((job) => submit(batcher, job)));
    order.push('others');
    expect(answers).toEqual(jobs.map(({ expected }) => expected));
    await spinning;
    expect(order).toEqual(['others', 'spin RUNNER_FAILED']);
    expect((await exited).exit).toMatchObject({ reason: 'hung', signal: 'SIGKILL' });
    await hung.supervisor.whenReady();
    expect(await submit(ranker(hung.supervisor), randomJob(1))).toEqual(randomJob(1).expected);
  });

  it('replaces a runner that hangs while idle', async () => {
    const { supervisor, next, events } = supervise({}, { pingIntervalMs: 50 });
    await supervisor.start();
    const exited = next('exited');
    process.kill(must(supervisor.status().pid, 'pid'), 'SIGSTOP');
    expect((await exited).exit.reason).toBe('hung');
    await supervisor.whenReady();
    expect(events.map(({ kind }) => kind)).toEqual(['ready', 'exited', 'ready']);
  });

  it('replaces a runner that exits by itself or writes what is not a frame', async () => {
    const { supervisor, tell, events } = supervise({});
    await supervisor.start();
    await expect(tell('exit')).rejects.toMatchObject({
      code: 'RUNNER_FAILED',
      details: { runner: 'test', reason: 'crashed', exitCode: 9 },
    });
    expect(await rejectionCode(tell('echo'))).toBe('NOT_READY');
    await supervisor.whenReady();
    await expect(tell('garbage')).rejects.toMatchObject({
      code: 'RUNNER_FAILED',
      details: { reason: 'crashed', signal: 'SIGKILL' },
    });
    await supervisor.whenReady();
    expect(supervisor.status().restarts).toBe(2);
    expect(events.map(({ kind }) => kind)).toEqual(['ready', 'exited', 'ready', 'exited', 'ready']);
  });

  it('goes on trying when a replacement cannot start', async () => {
    const moved = join(folder, 'moved.onnx');
    const here = join(folder, 'here.onnx');
    await writeFile(here, dotModel());
    const { supervisor, next, tell } = supervise({ model: here }, { maxBackoffMs: 5 });
    await supervisor.start();
    await rename(here, moved);
    const failed = next('start_failed');
    const crashed = rejectionCode(tell('exit'));
    expect(await crashed).toBe('RUNNER_FAILED');
    expect((await failed).error).toMatchObject({
      code: 'RUNNER_START_FAILED',
      details: { cause: { code: 'MODEL_INVALID' } },
    });
    expect(supervisor.status().state).toBe('restarting');
    await rename(moved, here);
    await supervisor.whenReady();
    expect(await submit(ranker(supervisor), randomJob(2))).toEqual(randomJob(2).expected);
  });

  it('says why a first runner could not be started', async () => {
    const starting = (spec: TestRunnerSpec, options: Partial<SupervisorOptions> = {}) =>
      supervise(spec, options).supervisor.start();
    const [thrown, exited, late, missing] = await Promise.allSettled([
      starting({ start: 'throw' }),
      starting({ start: 'exit' }),
      starting({ start: 'never' }, { startTimeoutMs: 1_500 }),
      starting({}, { entry: join(folder, 'nowhere.js') }),
    ]);
    expect(thrown).toMatchObject({
      reason: {
        code: 'RUNNER_START_FAILED',
        message: 'Runner test could not be started: no model today',
        details: { cause: { code: 'MODEL_INVALID', details: { allowed: ['tomorrow'] } } },
      },
    });
    expect(exited).toMatchObject({
      reason: {
        code: 'RUNNER_START_FAILED',
        details: { cause: { details: { exitCode: 7, output: ['the reason is on the last line'] } } },
      },
    });
    expect(late).toMatchObject({
      reason: {
        code: 'RUNNER_START_FAILED',
        details: { cause: { details: { reason: 'hung', output: ['no answer for 1500 ms'] } } },
      },
    });
    expect(missing).toMatchObject({ reason: { code: 'RUNNER_START_FAILED' } });
    expect(JSON.stringify(must(missing as { reason?: WhittleError }, 'outcome').reason?.details)).toContain(
      'Cannot find module',
    );
  });

  it('stops gracefully: the run in flight is answered, and no process is left', async () => {
    const { supervisor, tell, next } = supervise({});
    await supervisor.start();
    const exited = next('exited');
    const answer = tell('echo');
    await supervisor.stop();
    expect((await answer).meta).toEqual({ command: 'echo' });
    expect((await exited).exit).toMatchObject({ reason: 'stopped', exitCode: 0, output: ['closed'] });
    expect(supervisor.status()).toEqual({ name: 'test', state: 'stopped', restarts: 0 });
    expect(await rejectionCode(Promise.resolve(supervisor.whenReady()))).toBe('NOT_READY');
    expect(await rejectionCode(tell('echo'))).toBe('NOT_READY');
  });

  it('stops by force what does not finish, and what has not started', async () => {
    const stuck = supervise({}, { stopTimeoutMs: 200 });
    await stuck.supervisor.start();
    const failing = rejectionCode(stuck.tell('spin'));
    await stuck.supervisor.stop();
    expect(await failing).toBe('RUNNER_FAILED');
    const starting = supervise({ start: 'never' });
    const start = rejectionCode(starting.supervisor.start());
    await starting.supervisor.stop();
    expect(await start).toBe('RUNNER_START_FAILED');
  });

  it('leaves signals to the gateway: runners finish their run first', async () => {
    const { supervisor, tell } = supervise({});
    await supervisor.start();
    const { pid } = supervisor.status();
    process.kill(must(pid, 'pid'), 'SIGTERM');
    process.kill(must(pid, 'pid'), 'SIGINT');
    expect((await tell('echo')).meta).toEqual({ command: 'echo' });
    expect(supervisor.status().pid).toBe(pid);
  });

  it.each(['killed', 'exit-while-hung'])('leaves no runner behind a gateway: %s', async (mode) => {
    const lifeline = join(folder, `${mode}.sock`);
    const server = createServer().listen(lifeline);
    const connected = once(server, 'connection');
    const spec: TestRunnerSpec = { model, lifeline };
    const gateway = spawn(
      process.execPath,
      ['--import', 'tsx', support('gateway-child.ts'), support('test-runner.ts'), JSON.stringify(spec), mode],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    const [connection] = (await connected) as [Socket];
    const ended = once(connection.resume(), 'close');
    await once(gateway.stdout, 'data');
    if (mode === 'killed') gateway.kill('SIGKILL');
    await ended;
    server.close();
  });
});

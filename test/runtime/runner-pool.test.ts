import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { float32, must, silentLog } from '../../src/core/index.js';
import { encodeModel, GraphBuilder } from '../../src/onnx/index.js';
import { RunnerPool, type RunnerPoolOptions } from '../../src/runtime/index.js';
import { CrashWindow } from '../../src/runtime/crash-window.js';
import { rejectionCode } from '../support/error-code.js';
import { isAlive } from '../support/processes.js';
import type { TestCommand } from '../support/test-runner.js';
import { until } from '../support/until.js';

describe('CrashWindow', () => {
  it('counts the crashes of the last minute', () => {
    const window = new CrashWindow();
    expect([0, 10_000, 59_999, 60_000, 130_000].map((at) => window.add(at))).toEqual([1, 2, 3, 3, 1]);
  });
});

describe('RunnerPool', () => {
  let pool: RunnerPool;

  afterEach(() => pool.stop());

  async function start(size: number, changes: Partial<RunnerPoolOptions> = {}): Promise<void> {
    pool = new RunnerPool({
      name: 'test',
      entry: fileURLToPath(new URL('../support/test-runner.ts', import.meta.url)),
      execArgv: ['--import', 'tsx'],
      spec: {},
      size,
      maxCrashesPerMinute: 100,
      hangTimeoutMs: 20_000,
      backoffMs: 1,
      log: silentLog,
      ...changes,
    });
    await pool.start();
  }

  const tell = (command: TestCommand) => pool.run({ meta: { command }, tensors: {} });
  const pids = (): number[] => pool.statuses().map(({ pid }) => must(pid, 'pid'));
  const kill = (pid: number): void => void process.kill(pid, 'SIGKILL');

  it('gives a call to the runner with the fewest in flight, and loses only those of the one that dies', async () => {
    await start(2);
    expect(pool.statuses().map(({ name, state }) => [name, state])).toEqual([
      ['test', 'ready'],
      ['test#2', 'ready'],
    ]);
    const [first, second] = pids();
    // The first call goes to the first runner and stays there; each later one finds it busier than the other.
    const stuck = rejectionCode(tell('never'));
    for (let call = 0; call < 5; call++) expect((await tell('echo')).meta).toEqual({ command: 'echo' });
    const stuckToo = rejectionCode(tell('never'));
    kill(must(first, 'pid'));
    expect(await stuck).toBe('RUNNER_FAILED');
    expect(pool.readyCount).toBe(1);
    expect(pool.whenReady()).toBeUndefined();
    expect(pool.status()).toMatchObject({ name: 'test', state: 'ready', pid: second });
    await until('the first is replaced', () => pool.readyCount === 2);
    expect((await tell('echo')).meta).toEqual({ command: 'echo' });
    expect(pool.status().restarts).toBe(1);
    kill(must(second, 'pid'));
    expect(await stuckToo).toBe('RUNNER_FAILED');
  });

  it('waits for any runner, and settles when the first is back', async () => {
    await start(2);
    for (const pid of pids()) kill(pid);
    await until('both ends are seen', () => pool.readyCount === 0);
    expect(pool.status().state).toBe('restarting');
    expect(await rejectionCode(tell('echo'))).toBe('NOT_READY');
    await pool.whenReady();
    expect((await tell('echo')).meta).toEqual({ command: 'echo' });
  });

  it('is out of service after as many crashes of any of its runners as are allowed, until it is stopped', async () => {
    await start(2, { maxCrashesPerMinute: 3 });
    const [, survivor] = pids();
    expect(await rejectionCode(tell('exit'))).toBe('RUNNER_FAILED');
    await until('the first is replaced', () => pool.readyCount === 2);
    expect(await rejectionCode(tell('exit'))).toBe('RUNNER_FAILED');
    await until('it is replaced again', () => pool.readyCount === 2);
    const [victim] = pids();
    expect(victim).not.toBe(survivor);
    expect(await rejectionCode(tell('exit'))).toBe('RUNNER_FAILED');
    await until('no runner takes calls', () => pool.readyCount === 0);
    const reason =
      'Runner test is out of service after 3 crashes within a minute; the last: it crashed (exit code 9)';
    expect(pool.status()).toMatchObject({
      state: 'failed',
      reason: expect.stringContaining(reason) as string,
    });
    await expect(tell('echo')).rejects.toMatchObject({
      code: 'RUNNER_FAILED',
      retryable: true,
      details: { runner: 'test', crashes: 3, maxCrashesPerMinute: 3 },
    });
    expect(await rejectionCode(Promise.resolve(pool.whenReady()))).toBe('RUNNER_FAILED');
    await until('the others are gone too', () => !isAlive(must(survivor, 'pid')));
    await pool.stop();
    expect(pool.status().state).toBe('stopped');
  });

  it('counts a replacement that cannot start as a crash', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'whittle-pool-'));
    const model = join(folder, 'model.onnx');
    await writeFile(model, identityModel());
    await start(1, { maxCrashesPerMinute: 2, spec: { model } });
    await rm(folder, { recursive: true });
    expect(await rejectionCode(tell('exit'))).toBe('RUNNER_FAILED');
    await until('it is out of service', () => pool.status().state === 'failed');
    expect(pool.status().reason).toContain('could not be started: ONNX Runtime cannot load');
  });

  it('grows and shrinks without losing a call, and is as before where a runner cannot be added', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'whittle-pool-'));
    const model = join(folder, 'model.onnx');
    await writeFile(model, identityModel());
    await start(1, { spec: { model } });
    const [first] = pids();
    await pool.grow();
    expect([pool.size, pool.readyCount]).toEqual([2, 2]);
    const [, second] = pids();
    const x = float32(Float32Array.of(1, 2), [2]);
    const answers = Array.from({ length: 20 }, () => pool.run({ meta: {}, tensors: { x } }));
    await pool.shrink();
    expect(isAlive(must(second, 'pid'))).toBe(false);
    for (const { tensors } of await Promise.all(answers)) expect(tensors['y']).toEqual(x);
    await pool.shrink();
    expect([pool.size, pids()]).toEqual([1, [first]]);
    await rm(folder, { recursive: true });
    expect(await rejectionCode(pool.grow())).toBe('RUNNER_START_FAILED');
    expect([pool.size, pids(), pool.status().state]).toEqual([1, [first], 'ready']);
  });

  it('stops all runners where one cannot start', async () => {
    const pids: number[] = [];
    const starting = start(2, {
      spec: { start: 'throw' },
      onEvent: (event) => {
        if (event.kind === 'ready') pids.push(event.pid);
      },
    });
    expect(await rejectionCode(starting)).toBe('RUNNER_START_FAILED');
    expect(pids).toEqual([]);
    expect(pool.statuses().map(({ state }) => state)).toEqual(['stopped', 'stopped']);
  });
});

function identityModel(): Uint8Array {
  const builder = new GraphBuilder();
  builder.node('Identity', [builder.input('x', 'float32', ['rows'])], {}, ['y']);
  builder.output('y', 'float32', ['rows']);
  return encodeModel(builder.build());
}

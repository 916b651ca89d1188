import { afterAll, beforeAll, expect, test } from 'vitest';
import { must } from '../../src/core/index.js';
import type { VariantStatus } from '../../src/serving/index.js';
import { startTinyServer, type TinyServer } from '../support/tiny-server.js';
import { until } from '../support/until.js';

let server: TinyServer;

beforeAll(async () => {
  server = await startTinyServer({ cache: { maxEntries: 0 }, runners: { perVariant: 2 } }, { lean: true });
});
afterAll(() => server.stop());

async function variant(name: string): Promise<VariantStatus> {
  const { variants } = (await server.get('/v1/variants')).json() as { variants: VariantStatus[] };
  return must(
    variants.find((one) => one.name === name),
    name,
  );
}

const rank = () => server.post('/v1/rank', { user: 'u1', items: ['i1', 'i2'] });

test('a variant of two processes tells what each costs, and both together', async () => {
  const { runner } = await variant('full');
  expect(runner.processes.map(({ name, state }) => [name, state])).toEqual([
    ['full', 'ready'],
    ['full#2', 'ready'],
  ]);
  expect(new Set(runner.processes.map(({ pid }) => pid)).size).toBe(2);
  expect((await server.get('/metrics')).text).toContain('whittle_runners{runner="full"} 2');
  if (process.platform !== 'linux') return;
  const values = (field: 'privateBytes' | 'sharedBytes' | 'cpuSeconds'): number[] =>
    runner.processes.map((one) => must(one[field], field));
  const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0);
  expect(runner.privateBytes).toBe(sum(values('privateBytes')));
  expect(runner.sharedBytes).toBe(Math.max(...values('sharedBytes')));
  expect(runner.cpuSeconds).toBe(sum(values('cpuSeconds')));
  expect(Math.min(...values('privateBytes'))).toBeGreaterThan(1e6);
  // The tiny model's weights are in its graph: nothing is mapped.
  expect(runner.mappedWeightBytes).toBe(0);
});

test('one of two processes dies: the server stays ready, and every later request is answered', async () => {
  const { runner } = await variant('full');
  const [first] = runner.processes;
  const pid = must(first?.pid, 'pid');
  process.kill(pid, 'SIGKILL');
  await until('its end is seen', async () =>
    (await variant('full')).runner.processes.every((one) => one.pid !== pid),
  );
  for (let sent = 0; sent < 20; sent++) {
    expect((await server.get('/readyz')).status).toBe(200);
    expect((await rank()).status).toBe(200);
  }
  await until('it is replaced', async () => {
    const { processes } = (await variant('full')).runner;
    return processes.every(({ state }) => state === 'ready');
  });
  expect((await variant('full')).runner.restarts).toBe(1);
});

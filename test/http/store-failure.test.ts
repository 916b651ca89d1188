import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Answer, ExperimentStatus } from '../../src/serving/index.js';
import { openStore } from '../../src/store/index.js';
import type { ErrorReply } from '../support/tiny-server.js';
import { tinyConfig } from '../support/tiny-server.js';
import { until } from '../support/until.js';

const entry = fileURLToPath(new URL('../support/server-child.ts', import.meta.url));
let child: ChildProcess;
let folder: string;
let storePath: string;
let url: string;

beforeAll(async () => {
  const arms = [
    { name: 'a', weight: 1, pipeline: 'full' },
    { name: 'b', weight: 1, pipeline: 'small' },
  ];
  const { config, directory } = await tinyConfig(
    { experiments: [{ name: 'e', salt: 's', arms }] },
    { lean: true },
  );
  folder = directory;
  storePath = config.store.path;
  // What LMDB prints of each write that fails is left out.
  child = spawn(process.execPath, ['--import', 'tsx', entry, JSON.stringify(config)], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  if (child.stdout === null) throw new Error('no output');
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  ({ url } = JSON.parse(line) as { url: string });
});

afterAll(async () => {
  child.kill('SIGKILL');
  await rm(folder, { recursive: true });
});

const get = (path: string): Promise<Response> => fetch(`${url}${path}`);

const post = (path: string, body: unknown): Promise<Response> =>
  fetch(`${url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });

async function recommend(user: string): Promise<Answer> {
  const response = await post('/v1/recommend', { user, k: 3 });
  expect(response.status).toBe(200);
  return (await response.json()) as Answer;
}

async function experiment(): Promise<ExperimentStatus | undefined> {
  const { experiments } = (await (await get('/v1/experiments')).json()) as {
    experiments: ExperimentStatus[];
  };
  return experiments[0];
}

async function metric(name: string): Promise<number> {
  const text = await (await get('/metrics')).text();
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]);
}

let sent = 0;
const sendEvent = (): Promise<Response> =>
  post('/v1/events', [{ id: `e${String(sent++)}`, user: 'u9', item: 'i1', type: 'view' }]);

/** Bytes that a file of the server may have: at one page every write of the store fails, as on a full disk. */
function limitFiles(limit: string): void {
  execFileSync('prlimit', ['--pid', String(child.pid), `--fsize=${limit}`]);
}

const requestsOf = (one: ExperimentStatus | undefined): number =>
  (one?.arms ?? []).reduce((sum, { requests }) => sum + requests, 0);

test('a full disk: serving goes on, experiments pause and say so, and go on when there is room', async () => {
  const before = await recommend('u1');
  expect(before).toMatchObject({ experiment: 'e' });
  expect(await metric('whittle_experiments_paused')).toBe(0);
  expect((await sendEvent()).status).toBe(200);
  await until('the first answer is logged', async () => (await metric('whittle_exposures_waiting')) === 0);
  limitFiles('4096:');
  const refused = await sendEvent();
  expect(refused.status).toBe(503);
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  expect(((await refused.json()) as ErrorReply).error).toMatchObject({
    code: 'STORE_FAILED',
    retryable: true,
  });

  const paused = await experiment();
  expect(paused?.paused).toMatch(/takes no writes since/);
  const during = await Promise.all(['u1', 'u2', 'u3', 'u4'].map(recommend));
  for (const answer of during)
    expect(answer).toMatchObject({ experiment: 'none', arm: 'none', pipeline: 'full', source: 'retrieval' });
  expect(requestsOf(await experiment()), 'nothing is counted that is not logged').toBe(requestsOf(paused));
  expect((await get('/readyz')).status).toBe(200);
  expect(await metric('whittle_experiments_paused')).toBe(1);
  expect(await metric('whittle_exposures_waiting')).toBe(4);
  expect((await sendEvent()).status).toBe(503);

  limitFiles('unlimited');
  await until('experiments go on', async () => (await experiment())?.paused === undefined);
  expect(await recommend('u1')).toMatchObject({ experiment: 'e', arm: before.arm });
  expect((await sendEvent()).status).toBe(200);
  expect(await metric('whittle_experiments_paused')).toBe(0);
  const store = openStore(storePath);
  for (const { requestId } of during)
    expect(store.exposure(requestId)?.requestId, 'what waited is written').toBe(requestId);
  await store.close();
});

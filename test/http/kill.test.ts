import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import type { ServerConfig } from '../../src/core/index.js';
import type { Answer, EventsReceipt } from '../../src/serving/index.js';
import { isAlive } from '../support/processes.js';
import { tinyConfig } from '../support/tiny-server.js';
import { until } from '../support/until.js';

const entry = fileURLToPath(new URL('../support/server-child.ts', import.meta.url));

interface ServerProcess {
  readonly child: ChildProcess;
  readonly url: string;
  readonly runnerPids: readonly number[];
}

const children: ChildProcess[] = [];
let folder: string | undefined;

afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  if (folder !== undefined) await rm(folder, { recursive: true });
});

async function startProcess(config: ServerConfig): Promise<ServerProcess> {
  const child = spawn(process.execPath, ['--import', 'tsx', entry, JSON.stringify(config)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  return { child, ...(JSON.parse(line) as Pick<ServerProcess, 'url' | 'runnerPids'>) };
}

async function post<T>({ url }: ServerProcess, path: string, body: unknown): Promise<T> {
  const response = await fetch(`${url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  expect(response.status).toBe(200);
  return (await response.json()) as T;
}

test('kill -9 of the server: acknowledged events are there after a restart, and no runner outlives it', async () => {
  const { config, directory } = await tinyConfig({}, { lean: true });
  folder = directory;
  const events = ['i1', 'i5', 'i9', 'i13'].map((item, place) => ({
    id: `e${place}`,
    user: 'ann',
    item,
    type: 'click',
  }));
  const first = await startProcess(config);
  expect(await post<EventsReceipt>(first, '/v1/events', events)).toEqual({ accepted: 4, duplicates: 0 });
  first.child.kill('SIGKILL');
  await once(first.child, 'exit');
  await until('the runners end with their gateway', () => !first.runnerPids.some(isAlive));

  const second = await startProcess(config);
  expect(await post<EventsReceipt>(second, '/v1/events', events)).toEqual({ accepted: 0, duplicates: 4 });
  const answer = await post<Answer>(second, '/v1/recommend', { user: 'ann', k: 20 });
  expect(answer.source).toBe('retrieval');
  expect(answer.items.map(({ id }) => id).filter((id) => events.some(({ item }) => item === id))).toEqual([]);
  const known = await post<Answer>(second, '/v1/recommend', { user: 'u1' });
  expect(known.source).toBe('retrieval');
});

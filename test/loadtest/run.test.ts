import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Report } from '../../loadtest/report.js';
import { must } from '../../src/core/index.js';
import { childPids, isAlive } from '../support/processes.js';
import { makeTinyBundle } from '../support/tiny-bundle.js';
import { until } from '../support/until.js';

const entry = fileURLToPath(new URL('../../loadtest/main.ts', import.meta.url));
let directory = '';
let bundle = '';

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'whittle-test-'));
  bundle = join(directory, 'bundle');
  await makeTinyBundle(bundle);
});
afterAll(() => rm(directory, { recursive: true }));

interface Run {
  readonly child: ChildProcess;
  /** Ids of the server and its runners, from the first phase on. */
  readonly serverPids: Promise<readonly number[]>;
  readonly done: Promise<{ exitCode: number | null; stdout: string; stderr: string }>;
}

function loadtest(...args: readonly string[]): Run {
  const child = spawn(process.execPath, ['--import', 'tsx', entry, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const { stdout, stderr, pid } = child;
  const serverPids = new Promise<readonly number[]>((resolve, reject) => {
    child.once('close', () => reject(new Error('It ended before its first phase')));
    createInterface({ input: stderr }).on('line', (line) => {
      if (!line.startsWith('1/') || pid === undefined) return;
      const servers = childPids(pid);
      resolve([...servers, ...servers.flatMap((server) => childPids(server))]);
    });
  });
  serverPids.catch(() => undefined);
  const done = Promise.all([once(child, 'close'), text(stdout), text(stderr)]).then(([, said, noted]) => ({
    exitCode: child.exitCode,
    stdout: said,
    stderr: noted,
  }));
  return { child, serverPids, done };
}

const allGone = (pids: readonly number[]): boolean => !pids.some(isAlive);

test('loads each pipeline and the mixture of a server that it starts and ends', async () => {
  const out = join(directory, 'results', 'tiny');
  const run = loadtest(
    ...['--bundle', bundle, '--out', out, '--seconds', '1', '--rounds', '1'],
    ...['--connections', '4', '--pipelines', 'full,small', '--shadow-share', '1'],
  );
  const { exitCode, stdout, stderr } = await run.done;
  expect(stderr).toContain(`Saved ${out}.md and ${out}.json`);
  expect(exitCode).toBe(0);
  expect(await readFile(`${out}.md`, 'utf8')).toBe(stdout);
  const { conditions, rows, measurements } = JSON.parse(await readFile(`${out}.json`, 'utf8')) as Report;
  expect(conditions).toMatchObject({ users: 40, bodies: 40, shadowShare: 1, connections: 4 });
  expect(rows.map(({ name, variant }) => [name, variant?.name])).toEqual([
    ['full', 'full'],
    ['small', 'small'],
    ['mixture', undefined],
  ]);
  for (const row of rows) expect(row).toMatchObject({ errors: 0, cached: 0 });
  for (const { answers, p50Ms = 0, p99Ms = 0 } of rows) {
    expect(answers).toBeGreaterThan(0);
    expect(p50Ms).toBeGreaterThan(0);
    expect(p99Ms).toBeGreaterThanOrEqual(p50Ms);
  }
  expect(rows[1]?.variant?.fidelity.count).toBeGreaterThan(0);
  expect(Object.keys(must(rows[2], 'mixture').answersByPipeline).sort()).toEqual(['full', 'small']);
  // All that the server answered: what the client got, one a connection that the end cut off, one that drained.
  for (const { answers, server } of measurements.filter(({ kind }) => kind !== 'mixture')) {
    expect(server.answers).toBeGreaterThan(answers);
    expect(server.answers).toBeLessThanOrEqual(answers + 5);
  }
  const pids = await run.serverPids;
  expect(pids.length).toBeGreaterThan(3);
  expect(allGone(pids)).toBe(true);
});

test('search draws its queries from titles; refused requests are counted and make it fail', async () => {
  const out = join(directory, 'refused');
  const config = join(directory, 'small-queue.json');
  await writeFile(config, JSON.stringify({ runners: { queueLimit: 1 } }));
  const { exitCode, stdout } = await loadtest(
    ...['--bundle', bundle, '--config', config, '--out', out, '--endpoint', 'search', '--pipelines', 'small'],
    ...['--seconds', '1', '--rounds', '1', '--connections', '32'],
  ).done;
  expect(stdout).toMatch(/ERRORS in alone small round 1: 503 \d+, QUEUE_FULL \d+/);
  expect(exitCode).toBe(1);
  const { conditions, rows } = JSON.parse(await readFile(`${out}.json`, 'utf8')) as Report;
  expect(conditions.queries).toBeGreaterThan(10);
  expect(rows[0]?.errors).toBeGreaterThan(0);
});

test('a signal ends it and the server that it started', async () => {
  const run = loadtest('--bundle', bundle, '--pipelines', 'full', '--seconds', '60');
  const pids = await run.serverPids;
  expect(pids.length).toBeGreaterThan(3);
  run.child.kill('SIGTERM');
  const { exitCode, stderr } = await run.done;
  expect(stderr).toContain('ended by SIGTERM');
  expect(exitCode).toBe(130);
  await until('the server and its runners are gone', () => allGone(pids));
});

test('a server that ends meanwhile is told', async () => {
  const run = loadtest('--bundle', bundle, '--pipelines', 'full', '--seconds', '60');
  const pids = await run.serverPids;
  process.kill(must(pids[0], 'server'), 'SIGKILL');
  const { exitCode, stderr } = await run.done;
  expect(stderr).toContain('NOT_READY: The server ended with SIGKILL');
  expect(exitCode).toBe(1);
  await until('its runners are gone', () => allGone(pids));
});

test.each([
  [['--url', 'http://192.0.2.1:8080'], 2, 'may be another machine'],
  [['--pipelines', 'full,nope'], 2, 'nope does not offer recommend'],
  [['--endpoint', 'search', '--pipelines', 'vector'], 2, 'vector does not offer search'],
  [['--seconds', '60', '--rounds', '20', '--pipelines', 'full,small,retrieval'], 2, 'at most 3600 s'],
  [['--help'], 0, undefined],
])('%j', async (args, expected, said) => {
  const ofBundle = args.includes('--url') ? [] : ['--bundle', bundle];
  const { exitCode, stderr } = await loadtest(...ofBundle, ...args).done;
  if (said !== undefined) expect(stderr).toContain(said);
  expect(exitCode).toBe(expected);
});

test('a bundle that is not there', async () => {
  const { exitCode, stderr } = await loadtest('--bundle', join(directory, 'nothing')).done;
  expect(stderr).toContain('FILE_MISSING: No bundle in');
  expect(exitCode).toBe(1);
});

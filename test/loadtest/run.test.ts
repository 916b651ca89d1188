import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RateRow } from '../../loadtest/open-loop/rate-run.js';
import type { FoundRate } from '../../loadtest/open-loop/find-rate.js';
import type { HotClientResult } from '../../loadtest/open-loop/hot-client.js';
import type { OverloadResult } from '../../loadtest/open-loop/overload.js';
import { parseOptions } from '../../loadtest/options.js';
import type { Report } from '../../loadtest/report.js';
import { prepareLoad } from '../../loadtest/requests.js';
import { must } from '../../src/core/index.js';
import { childPids, isAlive } from '../support/processes.js';
import { makeTinyBundle } from '../support/tiny-bundle.js';
import { startTinyServer, type TinyServer } from '../support/tiny-server.js';
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
      if (!/^1\/|bracket/.test(line) || pid === undefined) return;
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

test('closed loop: loads each pipeline and the mixture of a server that it starts and ends', async () => {
  const out = join(directory, 'results', 'tiny');
  const run = loadtest(
    ...['--closed-loop', '--bundle', bundle, '--out', out, '--seconds', '1', '--rounds', '1'],
    ...['--connections', '4', '--pipelines', 'full,small', '--shadow-share', '1'],
  );
  const { exitCode, stdout, stderr } = await run.done;
  expect(stderr).toContain(`Saved ${out}.md, ${out}.json`);
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

test('closed loop: search draws its queries from titles; refused requests are counted and make it fail', async () => {
  const out = join(directory, 'refused');
  const config = join(directory, 'small-queue.json');
  await writeFile(config, JSON.stringify({ runners: { queueLimit: 1 } }));
  const { exitCode, stdout } = await loadtest(
    ...['--bundle', bundle, '--config', config, '--out', out, '--endpoint', 'search', '--pipelines', 'small'],
    ...['--closed-loop', '--seconds', '1', '--rounds', '1', '--connections', '32'],
  ).done;
  expect(stdout).toMatch(/ERRORS in alone small round 1: 503 \d+, (OVERLOADED|QUEUE_FULL) \d+/);
  expect(exitCode).toBe(1);
  const { conditions, rows } = JSON.parse(await readFile(`${out}.json`, 'utf8')) as Report;
  expect(conditions.queries).toBeGreaterThan(10);
  expect(rows[0]?.errors).toBeGreaterThan(0);
});

/** The figures of a busy machine can be void, which is then what the exit code says. */
const codeFor = (markdown: string): number => (/^- VOID/m.test(markdown) ? 1 : 0);
/** Admission that follows latency refuses requests where the machine is busy with other things. */
const overload = { adaptive: false };
const json = async <T>(out: string): Promise<T> => JSON.parse(await readFile(`${out}.json`, 'utf8')) as T;

test('open loop: each pipeline and the mixture at each step, a mix of endpoints', async () => {
  const out = join(directory, 'steps');
  const config = join(directory, 'steady.json');
  await writeFile(config, JSON.stringify({ overload }));
  const run = loadtest(
    ...['--bundle', bundle, '--out', out, '--seconds', '1', '--rounds', '1', '--pipelines', 'full,small'],
    ...['--steps', '20,60', '--mix', 'recommend=2,search=1,rank=1', '--config', config],
  );
  const { exitCode, stdout, stderr } = await run.done;
  expect(stderr).toContain(`Saved ${out}.md, ${out}.json, ${out}.html`);
  const { rows } = await json<{ rows: RateRow[] }>(out);
  expect(rows.map(({ name, fromRate }) => `${name} ${fromRate}`)).toEqual(
    ['full', 'small', 'mixture'].flatMap((name) => [`${name} 20`, `${name} 60`]),
  );
  for (const { figures } of rows)
    expect(figures).toMatchObject({ ok: figures.scheduled, refused: 0, failed: 0 });
  expect(Object.keys(must(rows[0], 'row').answersByPipeline)).toEqual(['full']);
  expect(Object.keys(must(rows[5], 'row').answersByPipeline).sort()).toEqual(['full', 'small']);
  expect(stdout).toContain('recommend 50 %, search 25 %, rank 25 %');
  expect(exitCode).toBe(codeFor(stdout));
  const page = await readFile(`${out}.html`, 'utf8');
  expect(page).toContain('<svg');
  expect(page).not.toMatch(/<script|src=|href=|https?:\/\/(?!127)/);
  await until('server, runners and generator are gone', async () => allGone(await run.serverPids));
});

describe('open loop: a server that runs already', () => {
  let server: TinyServer;
  let url = '';
  beforeAll(async () => {
    server = await startTinyServer({}, { lean: true });
    url = await server.server.listen();
  });
  afterAll(() => server.stop());

  test('requests have the shares of the mix, and users the shares of their events', async () => {
    const options = parseOptions(['--mix', 'recommend=3,rank=1', '--k', '7']);
    const { requests, users, queries, topTenthShare } = await prepareLoad(url, options);
    const known = (await server.get('/v1/users')).json() as { users: string[]; events: number[] };
    expect({ users, queries }).toEqual({ users: known.users.length, queries: 0 });
    const of = (path: string): typeof requests => requests.filter((request) => request.path === path);
    const total = known.events.reduce((sum, count) => sum + count, 0);
    expect(of('/v1/recommend').map(({ body }) => JSON.parse(body) as unknown)).toEqual(
      known.users.map((user) => ({ user, k: 7 })),
    );
    for (const [place, { weight }] of of('/v1/recommend').entries())
      expect(weight).toBeCloseTo((3 * (known.events[place] ?? 0)) / total, 9);
    expect(of('/v1/rank').reduce((sum, { weight }) => sum + weight, 0)).toBeCloseTo(1, 9);
    for (const { body } of of('/v1/rank')) {
      const { user, items } = JSON.parse(body) as { user: string; items: string[] };
      const answer = (await server.post('/v1/recommend', { user, k: 100 })).answer();
      expect(items).toEqual(answer.items.map(({ id }) => id));
    }
    const heavy = known.events.toSorted((a, b) => b - a).slice(0, users / 10);
    expect(topTenthShare).toBeCloseTo(heavy.reduce((sum, count) => sum + count, 0) / total, 9);
  });

  test('a rate that no pipeline holds', async () => {
    const out = join(directory, 'found');
    const { stdout, exitCode } = await loadtest(
      ...['--find-rate', '--p99', '0.1', '--rate', '1', '--seconds', '1', '--url', url, '--out', out],
      ...['--pipelines', 'full,small'],
    ).done;
    const { found } = await json<{ found: FoundRate[] }>(out);
    expect(found.map(({ name }) => name)).toEqual(['full', 'small']);
    for (const { rate, probes } of found) {
      expect(rate).toBeUndefined();
      for (const probe of probes) expect(probe).toMatchObject({ rate: 1, purpose: 'bracket', held: false });
    }
    expect(exitCode).toBe(codeFor(stdout));
  });

  test('an overload', async () => {
    const out = join(directory, 'overload');
    const { stdout, exitCode } = await loadtest(
      ...['--overload', '2', '--rate', '30', '--seconds', '1', '--url', url, '--out', out],
    ).done;
    const result = await json<OverloadResult>(out);
    expect(result).toMatchObject({ target: 'unforced', peakRate: 30, times: 2 });
    expect(result).not.toHaveProperty('search');
    expect(result.seconds).toHaveLength(3);
    for (const { figures, rate } of [
      { figures: result.peak, rate: 30 },
      { figures: result.overload, rate: 60 },
      { figures: result.after, rate: 15 },
    ])
      // Five standard deviations of a Poisson count.
      expect(Math.abs(figures.scheduled - rate)).toBeLessThan(5 * Math.sqrt(rate));
    expect(exitCode).toBe(codeFor(stdout));
  });
});

test('open loop: a hot client is held back by the limits of the configuration, the others are not', async () => {
  const out = join(directory, 'clients');
  const config = join(directory, 'limits.json');
  const clients = { requestsPerSecond: 10, burst: 10 };
  await writeFile(config, JSON.stringify({ overload, server: { clients } }));
  const { stdout, exitCode } = await loadtest(
    ...['--clients', '2', '--hot-client', '0.9', '--rate', '50', '--seconds', '1', '--rounds', '1'],
    ...['--bundle', bundle, '--config', config, '--pipelines', 'full', '--out', out],
  ).done;
  const { hot, with: others, without } = await json<HotClientResult>(out);
  // The hot one asks for 45 requests/s and may have 10; the others ask for 2.5 each.
  expect(hot.refused).toBeGreaterThan(0);
  expect(hot.refusedWithRetryAfter).toBe(hot.refused);
  for (const figures of [others, without])
    expect(figures).toMatchObject({ ok: figures.scheduled, refused: 0 });
  expect(exitCode).toBe(codeFor(stdout));
});

test('a signal ends it and the server that it started', async () => {
  const run = loadtest('--closed-loop', '--bundle', bundle, '--pipelines', 'full', '--seconds', '60');
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
  [
    ['--closed-loop', '--seconds', '60', '--rounds', '20', '--pipelines', 'full,small,retrieval'],
    2,
    'at most 3600 s',
  ],
  [['--connections', '3'], 2, 'no meaning for rate'],
  [['--mix', 'rank=1', '--pipelines', 'retrieval'], 2, 'retrieval does not offer rank'],
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

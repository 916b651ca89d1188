import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startGenerator } from '../../loadtest/generator/generator.js';
import { LatencyHistogram } from '../../loadtest/generator/histogram-kernel.js';
import { createMetronome, type Metronome } from '../../loadtest/generator/metronome.js';
import { runOpenLoop } from '../../loadtest/generator/open-loop.js';
import type { GroupResult, LoadPlan, LoadResult } from '../../loadtest/generator/plan.js';
import { arrivalTimes } from '../../loadtest/generator/schedule.js';
import { figuresOf, voidReason } from '../../loadtest/open-loop/figures.js';
import { createRandom, must } from '../../src/core/index.js';

const planned = (port: number, changes: Partial<LoadPlan> = {}): LoadPlan => ({
  host: '127.0.0.1',
  port,
  segments: [{ fromRate: 200, toRate: 200, seconds: 1 }],
  arrivals: 'poisson',
  seed: 1,
  requests: [{ path: '/v1/recommend', body: '{"user":"u1"}', weight: 1 }],
  classes: [{ name: 'all', headers: {}, weight: 1 }],
  timeoutMs: 5_000,
  limitMs: 50,
  ...changes,
});

const onlyGroup = ({ groups }: LoadResult): GroupResult => must(groups[0], 'group');
const p99Ms = ({ latency }: GroupResult): number =>
  must(LatencyHistogram.from(latency).quantile(0.99), 'p99') / 1000;

describe('against a server that stalls', () => {
  const entry = fileURLToPath(new URL('../support/stalling-server-child.ts', import.meta.url));
  async function loadStalling(
    stallMs: number,
    periodMs: number,
    plan: Partial<LoadPlan>,
  ): Promise<LoadResult> {
    const child = fork(entry, [String(stallMs), String(periodMs)], { execArgv: ['--import', 'tsx'] });
    const [[port], generator] = await Promise.all([
      once(child, 'message') as Promise<[number]>,
      startGenerator(),
    ]);
    try {
      return await generator.run(planned(port, plan));
    } finally {
      generator.close();
      child.kill('SIGKILL');
    }
  }

  // A request due u ms before the end of a stall of S ms every P ms waits u ms, so a share (S - x) / P of all takes
  // longer than x: the p99 is S - P / 100. Poisson arrivals see time averages: the same holds for them.
  // On a machine that others keep busy a run can be disturbed, which it would not be again and again.
  test.concurrent.each([
    ['constant', 300, 3_000],
    ['poisson', 300, 3_000],
  ] as const)('%s: p99 is what the stall makes it', { retry: 3 }, async (arrivals, stallMs, periodMs) => {
    const segments = [{ fromRate: 400, toRate: 400, seconds: 6 }];
    const result = await loadStalling(stallMs, periodMs, { segments, arrivals, seed: 3 });
    const figures = figuresOf(result.groups, 6, result.notSent);
    const analyticMs = stallMs - periodMs / 100;
    expect(voidReason(figures)).toBeUndefined();
    expect(figures).toMatchObject({ failed: 0, refused: 0, ok: figures.scheduled });
    expect(Math.abs(must(figures.p99Ms, 'p99') / analyticMs - 1)).toBeLessThan(0.05);
    // 40 requests wait for each stall's end at least, each on a connection of its own.
    expect(result.connections).toBeGreaterThan(40);
  });
});

describe('in this process', () => {
  let metronome: Metronome;
  let close: () => void = () => undefined;
  const seen: { path: string; headers: Record<string, unknown>; body: string }[] = [];
  beforeAll(async () => {
    metronome = await createMetronome();
  });
  afterAll(() => metronome.stop());
  afterEach(() => {
    close();
    seen.length = 0;
  });

  async function listen(answer: (turn: number) => number | 'nothing' | 'reset'): Promise<number> {
    const server = createServer((request, response) => {
      const receive = async (): Promise<void> => {
        const { url: path = '', headers } = request;
        const turn = seen.push({ path, headers, body: await text(request) });
        const status = answer(turn);
        if (status === 'reset') request.socket.destroy();
        else if (status !== 'nothing')
          response.writeHead(status, status === 503 ? { 'retry-after': '1' } : {}).end('{}');
      };
      receive().catch(() => undefined);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    close = () => {
      server.closeAllConnections();
      server.close();
    };
    return (server.address() as AddressInfo).port;
  }
  const run = (plan: LoadPlan): Promise<LoadResult> => runOpenLoop(plan, metronome, () => undefined);

  // Were latency counted from the moment of sending, requests that a late generator sends late would look quick.
  test('a generator that is late counts latency from the schedule, and its run is void', async () => {
    const port = await listen(() => 200);
    const blocked = new Int32Array(new SharedArrayBuffer(4));
    const block = setTimeout(() => Atomics.wait(blocked, 0, 0, 400), 300);
    const result = await run(planned(port, { arrivals: 'constant' }));
    clearTimeout(block);
    const group = onlyGroup(result);
    // Of 200 requests over a second, some 80 fell due while it could not send; the oldest waited for 400 ms.
    expect(group.late).toBeGreaterThanOrEqual(60);
    expect(p99Ms(group)).toBeGreaterThan(350);
    expect(voidReason(figuresOf(result.groups, 1, 0))).toContain("the generator's own lag");
  });

  test('sends every request of the schedule, by its weights, with the headers of its class', async () => {
    const port = await listen(() => 200);
    const segments = [
      { fromRate: 300, toRate: 300, seconds: 1 },
      { fromRate: 600, toRate: 600, seconds: 1 },
    ];
    const plan = planned(port, {
      segments,
      requests: [
        { path: '/v1/recommend', body: '{"user":"ü"}', weight: 3 },
        { path: '/v1/rank', body: '{"user":"b"}', weight: 1 },
        { path: '/v1/search', body: '{}', weight: 0 },
      ],
      classes: [
        { name: 'a', headers: { 'x-client-id': 'one' }, weight: 2 },
        { name: 'b', headers: { 'x-client-id': 'two', 'x-whittle-pipeline': 'full' }, weight: 1 },
      ],
    });
    const { groups, seconds, notSent } = await run(plan);
    const due = arrivalTimes(segments, 'poisson', createRandom(plan.seed).fork('arrivals'));
    expect(seen).toHaveLength(due.length);
    expect(notSent).toBe(0);
    const share = (is: (one: (typeof seen)[number]) => boolean): number =>
      seen.filter(is).length / seen.length;
    // Shares of about 900 independent draws: five standard errors are 7 and 8 %.
    expect(Math.abs(share(({ path }) => path === '/v1/recommend') - 3 / 4)).toBeLessThan(0.07);
    expect(Math.abs(share(({ headers }) => headers['x-client-id'] === 'one') - 2 / 3)).toBeLessThan(0.08);
    expect(share(({ path }) => path === '/v1/search')).toBe(0);
    for (const { path, headers, body } of seen) {
      expect(body).toBe(path === '/v1/rank' ? '{"user":"b"}' : '{"user":"ü"}');
      expect(headers['x-whittle-pipeline']).toBe(headers['x-client-id'] === 'two' ? 'full' : undefined);
      expect(headers['content-type']).toBe('application/json');
    }
    expect(groups.map(({ segment, class: name }) => `${segment}${name}`)).toEqual(['0a', '0b', '1a', '1b']);
    const inSecond = (second: number): number =>
      due.filter((time) => Math.floor(time / 1000) === second).length;
    expect(seconds.map(({ scheduled }) => scheduled)).toEqual([inSecond(0), inSecond(1)]);
    const ofSegment = (segment: number): number =>
      groups.filter((group) => group.segment === segment).reduce((sum, { ok }) => sum + ok, 0);
    expect([ofSegment(0), ofSegment(1)]).toEqual([inSecond(0), inSecond(1)]);
  });

  test('counts what is not an answer by its kind', async () => {
    const statuses = [200, 429, 503, 504, 500, 'nothing', 'reset'] as const;
    const port = await listen((turn) => must(statuses[turn % statuses.length], 'status'));
    const result = await run(planned(port, { timeoutMs: 300, limitMs: 5_000 }));
    const group = onlyGroup(result);
    const expected = (status: (typeof statuses)[number]): number =>
      Array.from({ length: group.scheduled }, (_, place) => statuses[(place + 1) % statuses.length]).filter(
        (one) => one === status,
      ).length;
    expect(group.statuses).toEqual(
      Object.fromEntries([200, 429, 503, 504, 500].map((status) => [status, expected(status as 200)])),
    );
    expect(group).toMatchObject({
      ok: expected(200),
      okWithinLimit: expected(200),
      refused: expected(429) + expected(503),
      refusedWithRetryAfter: expected(503),
      timeouts: expected('nothing'),
      connectionErrors: expected('reset'),
    });
    expect(LatencyHistogram.from(group.latency).count).toBe(group.ok);
    const [second] = result.seconds;
    expect(second).toMatchObject({
      ok: group.ok,
      refused: group.refused,
      failed: group.scheduled - group.ok - group.refused,
    });
  });

  test('a server that is not there fails every request and hangs nobody', async () => {
    const port = await listen(() => 200);
    close();
    const group = onlyGroup(await run(planned(port)));
    expect(group).toMatchObject({ ok: 0, connectionErrors: group.scheduled });
  });
});

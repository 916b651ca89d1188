import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { must } from '../../src/core/index.js';
import { startTinyServer, type Reply, type TinyServer } from '../support/tiny-server.js';
import { until } from '../support/until.js';

let server: TinyServer;

afterEach(() => server.stop());

const ITEMS = Array.from({ length: 20 }, (_, item) => `i${item}`);

/** Ranks given items: the one runner that it needs is the pipeline's ranker. */
function rank(pipeline: string, user = 'u1'): Promise<Reply> {
  return server.post('/v1/rank', { user, items: ITEMS }, { 'x-whittle-pipeline': pipeline });
}

async function stateOf(runner: string): Promise<string | undefined> {
  return (await server.engine.runners()).find(({ name }) => name === runner)?.state;
}

/** Clients that send their next request when they have the answer to the last, until told to stop. */
function keepBusy(clients: number): { readonly stop: () => Promise<Reply[]> } {
  let stopping = false;
  const replies: Reply[] = [];
  const client = async (place: number): Promise<void> => {
    for (let sent = 0; !stopping; sent++) {
      const pipeline = (place + sent) % 2 === 0 ? 'full' : 'small';
      const path = sent % 3 === 0 ? recommend(pipeline, sent) : rank(pipeline, `u${sent % 40}`);
      replies.push(await path);
      // Half load: as long a pause as a fast answer takes.
      await delay(2);
    }
  };
  const running = Array.from({ length: clients }, (_, place) => client(place));
  return {
    stop: async () => {
      stopping = true;
      await Promise.all(running);
      return replies;
    },
  };
}

function recommend(pipeline: string, sent: number): Promise<Reply> {
  return server.post('/v1/recommend', { user: `u${sent % 40}` }, { 'x-whittle-pipeline': pipeline });
}

const FAULTS = ['SIGKILL', 'SIGSEGV', 'SIGABRT', 'SIGSTOP'] as const;
const KILLS = 20;
const CLIENTS = 6;

test('20 killed and hung runners under load: every request is answered, at most those in flight with 503', async () => {
  server = await startTinyServer(
    {
      cache: { maxEntries: 0 },
      runners: { hangTimeoutMs: 300, maxCrashesPerMinute: 1_000 },
      overload: { adaptive: false },
    },
    { lean: true },
  );
  const load = keepBusy(CLIENTS);
  const runners = ['full', 'small', 'tower'];
  let kills = 0;
  while (kills < KILLS) {
    const killed = new Map<string, number>();
    for (const runner of runners) killed.set(runner, await server.pidOf(runner));
    // All at once, each by another fault than the last time.
    for (const pid of killed.values()) process.kill(pid, must(FAULTS[kills++ % FAULTS.length], 'fault'));
    await until('every runner is replaced', async () =>
      (await server.engine.runners()).every(
        ({ name, state, pid }) => state === 'ready' && pid !== killed.get(name),
      ),
    );
    expect((await server.get('/readyz')).status).toBe(200);
    for (const pipeline of ['full', 'small']) expect((await rank(pipeline)).status).toBe(200);
  }
  const replies = await load.stop();
  const failed = replies.filter(({ status }) => status !== 200);
  expect(failed.map((reply) => [reply.status, reply.error().code, reply.headers['retry-after']])).toEqual(
    failed.map(() => [503, 'RUNNER_FAILED', '1']),
  );
  // What waits in a queue is not lost; in flight are the requests of one batch, of one client each.
  expect(failed.length).toBeGreaterThan(0);
  expect(failed.length).toBeLessThanOrEqual(kills * CLIENTS);
  expect(replies.length - failed.length).toBeGreaterThan(kills);
  const restarts = (await server.engine.runners()).reduce((sum, runner) => sum + runner.restarts, 0);
  expect(restarts).toBe(kills);
}, 120_000);

test('a variant that crashes three times in a minute is taken out and named; the others serve', async () => {
  server = await startTinyServer({ cache: { maxEntries: 0 } }, { lean: true });
  for (let crash = 0; crash < 3; crash++) {
    await until('its runner is ready', async () => (await stateOf('full')) === 'ready');
    const pid = await server.pidOf('full');
    process.kill(pid, 'SIGSEGV');
    await until('the crash is seen', async () => {
      const status = (await server.engine.runners()).find(({ name }) => name === 'full');
      return status?.pid !== pid;
    });
  }
  await until('it is taken out', async () => (await stateOf('full')) === 'failed');

  const ready = await server.get('/readyz');
  const reason =
    'Runner full is out of service after 3 crashes within a minute; the last: it crashed (SIGSEGV)';
  expect([ready.status, ready.headers['retry-after']]).toEqual([503, '1']);
  expect(ready.error().message).toContain(reason);
  expect((await server.get('/livez')).status).toBe(200);

  const refused = await rank('full');
  expect([refused.status, refused.error().code, refused.headers['retry-after']]).toEqual([
    503,
    'RUNNER_FAILED',
    '1',
  ]);
  expect(refused.error().message).toContain(reason);
  expect((await rank('small')).answer().variant).toBe('small');
  expect((await recommend('small', 1)).answer().variant).toBe('small');
  const listed = (await server.get('/v1/variants')).json() as {
    variants: { name: string; runner: { state: string; reason?: string } }[];
  };
  expect(listed.variants.find(({ name }) => name === 'full')?.runner).toMatchObject({
    state: 'failed',
    reason: expect.stringContaining(reason) as string,
  });
});

import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import {
  startTinyServer,
  type ErrorReply,
  type Reply,
  type TinyConfig,
  type TinyServer,
} from '../support/tiny-server.js';
import { until } from '../support/until.js';

/** A runner that is stopped by signal is busy for as long as the test wants. */
const PATIENT = { queueLimit: 256, hangTimeoutMs: 60_000 };
let server: TinyServer;
let stopped: number | undefined;

afterEach(async () => {
  if (stopped !== undefined) resume(stopped);
  await server.stop();
});

async function start(changes: TinyConfig): Promise<void> {
  server = await startTinyServer({ cache: { maxEntries: 0 }, ...changes }, { lean: true });
}

async function suspend(runner: string): Promise<number> {
  stopped = await server.pidOf(runner);
  process.kill(stopped, 'SIGSTOP');
  return stopped;
}

function resume(pid: number): void {
  stopped = undefined;
  process.kill(pid, 'SIGCONT');
}

/** Ranks given items: the one runner it needs is the pipeline's ranker. */
function rank(pipeline = 'full'): Promise<Reply> {
  return server.post(
    '/v1/rank',
    { user: 'u1', items: ['i1', 'i2', 'i3'] },
    { 'x-whittle-pipeline': pipeline },
  );
}

async function queued(runner: string): Promise<number> {
  return (await server.engine.runners()).find(({ name }) => name === runner)?.queued ?? 0;
}

/** Sends requests to a stopped runner until one waits: from then on others are inside the run that got stuck. */
async function sendUntilOneWaits(): Promise<Promise<Reply>[]> {
  const sent: Promise<Reply>[] = [];
  while ((await queued('full')) === 0) {
    sent.push(rank());
    await turn();
  }
  return sent;
}

const codeOf = (reply: Reply): string => reply.error().code;

test('a full queue answers 503 with Retry-After, and what is not served by its deadline 504', async () => {
  await start({ server: { port: 0, deadlineMs: 1_500 }, runners: { ...PATIENT, queueLimit: 2 } });
  const pid = await suspend('full');
  const settled: Reply[] = [];
  const sent = Array.from({ length: 10 }, async () => {
    const reply = await rank();
    settled.push(reply);
    return reply;
  });
  await Promise.all(sent);
  const late = settled.filter(({ status }) => status === 504);
  const refused = settled.filter(({ status }) => status === 503);
  expect((await rank('small')).status, 'another variant').toBe(200);
  resume(pid);
  expect((await rank()).status, 'once it runs again').toBe(200);
  expect(late.map(codeOf)).toEqual(late.map(() => 'DEADLINE_EXCEEDED'));
  expect(refused.map(codeOf)).toEqual(refused.map(() => 'QUEUE_FULL'));
  expect(refused.map(({ headers }) => headers['retry-after'])).toEqual(refused.map(() => '1'));
  expect(refused.every((reply) => reply.error().retryable)).toBe(true);
  // The stuck run holds one or two requests and two wait, all past their deadline; the rest found the queue full.
  expect([3, 4]).toContain(late.length);
  expect(late.length + refused.length).toBe(10);
});

test('a killed runner costs the requests it holds, and is replaced', async () => {
  await start({ runners: PATIENT });
  const pid = await suspend('full');
  const sent = await sendUntilOneWaits();
  process.kill(pid, 'SIGKILL');
  stopped = undefined;
  const replies = await Promise.all(sent);
  const failed = replies.filter(({ status }) => status !== 200);
  expect(failed.length).toBeGreaterThan(0);
  expect(failed.length).toBeLessThan(replies.length);
  expect(failed.map((reply) => [reply.status, codeOf(reply), reply.headers['retry-after']])).toEqual(
    failed.map(() => [503, 'RUNNER_FAILED', '1']),
  );
  expect((await rank()).answer().variant).toBe('full');
  expect(await server.pidOf('full')).not.toBe(pid);
  const runner = (await server.engine.runners()).find(({ name }) => name === 'full');
  expect(runner).toMatchObject({ state: 'ready', restarts: 1 });
});

test('while a runner is replaced the server is not ready, says why, and other variants serve', async () => {
  await start({ runners: PATIENT });
  const pid = await server.pidOf('full');
  process.kill(pid, 'SIGKILL');
  await until('the end of the runner is seen', async () => (await server.get('/readyz')).status === 503);
  const reply = await server.get('/readyz');
  expect(reply.error()).toMatchObject({
    code: 'NOT_READY',
    message: expect.stringContaining('runner full is restarting') as string,
  });
  expect(reply.headers['retry-after']).toBe('1');
  expect((await server.get('/livez')).status).toBe(200);
  expect((await rank('small')).status).toBe(200);
  expect((await rank()).status, 'waits for the new runner').toBe(200);
  await until('the server is ready again', async () => (await server.get('/readyz')).status === 200);
});

test('closing lets open requests finish and refuses new ones', async () => {
  await start({ runners: PATIENT });
  const url = await server.server.listen();
  const post = (): Promise<Response> =>
    fetch(`${url}/v1/rank`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', connection: 'close' },
      body: JSON.stringify({ user: 'u1', items: ['i1', 'i2'] }),
    });
  const pid = await suspend('full');
  const open = [post(), post()];
  await until('a request waits behind the one in the stuck run', async () => {
    if ((await queued('full')) > 0) return true;
    open.push(post());
    return false;
  });
  const closed = server.server.close();
  const [ready, alive, refused] = await Promise.all([fetch(`${url}/readyz`), fetch(`${url}/livez`), post()]);
  expect([ready.status, alive.status, refused.status]).toEqual([503, 200, 503]);
  expect(refused.headers.get('retry-after')).toBe('1');
  expect(((await ready.json()) as ErrorReply).error.message).toContain('stopping');
  resume(pid);
  const finished = await Promise.all(open);
  expect(finished.map(({ status }) => status)).toEqual(finished.map(() => 200));
  await closed;
  await expect(post()).rejects.toThrow();
});

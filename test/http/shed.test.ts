import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RawConnection, requestBytes } from '../support/raw-connection.js';
import { startTinyServer, type ErrorReply, type Reply, type TinyServer } from '../support/tiny-server.js';
import { until } from '../support/until.js';

const body = { user: 'u1', items: ['i1', 'i2', 'i3'] };
const unread = ['Content-Type: application/json', 'Content-Length: 4096'];
let server: TinyServer;
let url: string;
let stopped: number;
const open: Promise<Reply>[] = [];

/** The pipeline `full` has one request in a stuck run and no more room; `small` runs. */
beforeAll(async () => {
  server = await startTinyServer(
    {
      cache: { maxEntries: 0 },
      server: { port: 0, deadlineMs: 120_000 },
      runners: { queueLimit: 2, hangTimeoutMs: 120_000 },
    },
    { lean: true },
  );
  url = await server.server.listen();
  stopped = await server.pidOf('full');
  process.kill(stopped, 'SIGSTOP');
  await until('no room is left', () => {
    if (server.engine.saturated('rank', 'full')) return true;
    open.push(server.post('/v1/rank', body));
    return false;
  });
});

afterAll(async () => {
  process.kill(stopped, 'SIGCONT');
  const replies = await Promise.all(open);
  await server.stop();
  expect(replies.filter(({ status }) => status === 200).length).toBeGreaterThan(0);
});

describe('a request that no pipeline has room for', () => {
  test('is refused before its body is there, and its connection lives on', async () => {
    const connection = await RawConnection.open(url);
    connection.write(requestBytes('/v1/rank', undefined, unread).replace('GET', 'POST'));
    const refused = await connection.response(0);
    const { error } = JSON.parse(refused.body) as ErrorReply;
    expect(refused).toMatchObject({
      status: 503,
      headers: {
        'retry-after': '1',
        'content-type': 'application/json; charset=utf-8',
        'x-request-id': error.requestId,
      },
    });
    expect(error).toMatchObject({ code: 'OVERLOADED', retryable: true, details: {} });
    connection.write('x'.repeat(4096));
    connection.write(requestBytes('/livez'));
    expect((await connection.response(1)).status).toBe(200);
    expect(connection.closed).toBe(false);
    connection.destroy();
  });

  test.each([
    ['a body above the limit', ['Content-Type: application/json', 'Content-Length: 10000000']],
    ['a body of unknown length', ['Content-Type: application/json', 'Transfer-Encoding: chunked']],
  ])('%s is not waited for: the connection ends, and is not reset', async (_what, head) => {
    const connection = await RawConnection.open(url);
    connection.write(requestBytes('/v1/rank', undefined, head).replace('GET', 'POST'));
    connection.write('1000\r\n'.padEnd(100_000, 'x'));
    expect(await connection.response(0)).toMatchObject({ status: 503, headers: { connection: 'close' } });
    await until('the end', () => connection.ended);
    connection.write('still sending'.repeat(1_000));
    await until('it is closed', () => connection.closed);
    expect(connection.error).toBeUndefined();
  });

  test('another pipeline, forced by header, serves', async () => {
    const forced = { 'x-whittle-pipeline': 'small' };
    expect((await server.post('/v1/rank', body, forced)).status).toBe(200);
    expect((await server.post('/v1/rank', body, { 'x-whittle-pipeline': 'full' })).error().code).toBe(
      'OVERLOADED',
    );
    expect((await server.post('/v1/rank', body, { 'x-whittle-pipeline': 'no such' })).status).toBe(404);
  });

  test('is counted; what needs no ranker is served', async () => {
    const text = (await server.get('/metrics')).text;
    expect(text).toMatch(/whittle_requests_total\{endpoint="rank",outcome="OVERLOADED"\} [1-9]/);
    expect((await server.get('/v1/users')).status).toBe(200);
    const event = { id: 'e1', user: 'u1', item: 'i1', type: 'click' };
    expect((await server.post('/v1/events', [event])).status).toBe(200);
  });

  test('with an experiment whose other arm has room it goes on, and meets its own arm', async () => {
    const arms = [
      { name: 'a', weight: 1, pipeline: 'full' },
      { name: 'b', weight: 1, pipeline: 'small' },
    ];
    server.engine.setExperiments([{ name: 'e', salt: 's', enabled: true, arms }]);
    const replies = [];
    for (let user = 0; user < 8; user++)
      replies.push(await server.post('/v1/rank', { ...body, user: `u${user}` }));
    server.engine.setExperiments([]);
    const statuses = replies.map(({ status }) => status);
    expect(new Set(statuses)).toEqual(new Set([200, 503]));
    for (const reply of replies.filter(({ status }) => status === 200)) expect(reply.answer().arm).toBe('b');
  });
});

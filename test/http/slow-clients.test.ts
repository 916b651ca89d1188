import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Answer } from '../../src/serving/index.js';
import { RawConnection, requestBytes } from '../support/raw-connection.js';
import { startTinyServer, tinyConfig, type ErrorReply, type TinyServer } from '../support/tiny-server.js';
import { until } from '../support/until.js';

const LIMITS = { headersTimeoutMs: 400, requestTimeoutMs: 800, keepAliveTimeoutMs: 60_000 };
let server: TinyServer;
let url: string;

beforeAll(async () => {
  server = await startTinyServer(
    { server: { port: 0, deadlineMs: 20_000, ...LIMITS }, overload: { adaptive: false } },
    { lean: true },
  );
  url = await server.server.listen();
});

afterAll(() => server.stop());

/** Sends a byte each time the clock ticks, until the server has had enough. */
async function trickle(connection: RawConnection, bytes: string): Promise<void> {
  let sent = 0;
  const timer = setInterval(() => {
    if (sent < bytes.length && !connection.ended) connection.write(bytes[sent++] ?? '');
  }, 50);
  await until('the server answers and ends', () => connection.closed);
  clearInterval(timer);
  expect(sent).toBeLessThan(bytes.length);
}

const openConnections = (): Promise<number> =>
  new Promise((resolve, reject) => {
    server.server.fastify.server.getConnections((error, count) => {
      if (error === null) resolve(count);
      else reject(error);
    });
  });

describe('a slow client', () => {
  test.each([
    ['head', ''],
    [
      'body',
      `POST /v1/recommend HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n`,
    ],
  ])('that trickles its %s is answered 408 and closed', async (_what, start) => {
    const connection = await RawConnection.open(url);
    connection.write(start);
    await trickle(connection, requestBytes('/v1/recommend', { user: 'u'.repeat(400) }));
    const [response] = connection.responses;
    expect(response).toMatchObject({ status: 408, headers: { connection: 'close' } });
    expect((JSON.parse(response?.body ?? '') as ErrorReply).error.code).toBe('INPUT_INVALID');
    expect(connection.error).toBeUndefined();
  });

  test('that says nothing at all is closed', async () => {
    const connection = await RawConnection.open(url);
    await until('it is closed', () => connection.closed);
    expect(connection.responses.map(({ status }) => status)).toEqual([408]);
  });

  test('that takes no answer is dropped', async () => {
    const connection = await RawConnection.open(url);
    connection.socket.pause();
    const page = requestBytes('/docs/json');
    while (connection.socket.writableLength < 1_000_000) connection.write(page);
    await until('the server drops it', async () => (await openConnections()) === 0);
    connection.destroy();
  });

  test('does not stand in the way of others', async () => {
    const slow = await Promise.all(Array.from({ length: 50 }, () => RawConnection.open(url)));
    for (const connection of slow) connection.write('POST /v1/rec');
    expect((await fetch(`${url}/livez`)).status).toBe(200);
    const reply = await server.post('/v1/recommend', { user: 'u1' });
    expect(reply.status).toBe(200);
    await until('all are closed', () => slow.every(({ closed }) => closed));
  });
});

test('a body that breaks off in the middle of its chunks is answered 400 and closed', async () => {
  const connection = await RawConnection.open(url);
  const head = ['Content-Type: application/json', 'Transfer-Encoding: chunked'];
  connection.write(requestBytes('/v1/recommend', undefined, head).replace('GET', 'POST'));
  connection.write('5\r\n{"use\r\nno chunk\r\n');
  await until('it is closed', () => connection.closed);
  expect(connection.responses.map(({ status }) => status)).toEqual([400]);
  expect(connection.error).toBeUndefined();
});

describe('pipelining', () => {
  const ask = (user: number): string =>
    requestBytes('/v1/recommend', { user: `u${user % 40}` }, [`X-Request-Id: r${user}`]);

  test('100 requests on one connection are answered in their order', async () => {
    const connection = await RawConnection.open(url);
    connection.write(Array.from({ length: 100 }, (_, user) => ask(user)).join(''));
    await connection.response(99);
    expect(connection.responses.map(({ status }) => status)).toEqual(Array(100).fill(200));
    expect(connection.responses.map(({ body }) => (JSON.parse(body) as Answer).requestId)).toEqual(
      Array.from({ length: 100 }, (_, user) => `r${user}`),
    );
    connection.destroy();
  });

  test('more unanswered ones than a connection may have are refused, in their place', async () => {
    const pid = await server.pidOf('full');
    const connection = await RawConnection.open(url);
    process.kill(pid, 'SIGSTOP');
    const history = Array.from({ length: 200 }, (_, place) =>
      requestBytes('/v1/rank', { history: [`i${place % 64}`], items: [`i${Math.floor(place / 64)}`, 'i9'] }),
    );
    connection.write(history.join(''));
    await until('the last is refused', async () =>
      (await server.get('/metrics')).text.includes('outcome="RATE_LIMITED"} 72'),
    );
    process.kill(pid, 'SIGCONT');
    await connection.response(199);
    const statuses = connection.responses.map(({ status }) => status);
    expect(statuses.slice(128)).toEqual(Array(72).fill(429));
    expect(statuses.slice(0, 128)).not.toContain(429);
    connection.destroy();
  });

  test('pages and lists, whose answers are large, may wait by the handful', async () => {
    const connection = await RawConnection.open(url);
    connection.write(
      requestBytes('/v1/users?limit=10000').repeat(20) + requestBytes('/docs/json').repeat(20),
    );
    await connection.response(39);
    const statuses = connection.responses.map(({ status }) => status);
    expect(statuses).toEqual([...Array<number>(8).fill(200), ...Array<number>(32).fill(429)]);
    connection.destroy();
  });

  test('a client that goes on and on is cut off', async () => {
    const connection = await RawConnection.open(url);
    connection.write(requestBytes('/v1/users').repeat(5_000));
    await until('it is closed', () => connection.closed);
    expect(connection.responses.length).toBeLessThan(5_000);
    expect((await server.get('/livez')).status).toBe(200);
  });

  test('what is no request behind a good one is answered after it', async () => {
    const connection = await RawConnection.open(url);
    connection.write(`${ask(1)}${ask(2)}NOT HTTP AT ALL\r\n\r\n${ask(3)}`);
    await until('it is closed', () => connection.closed);
    const statuses = connection.responses.map(({ status }) => status);
    expect(statuses.slice(0, 2)).toEqual([200, 200]);
    expect(connection.error).toBeUndefined();
  });
});

test('10,000 idle connections are held while requests are served', async () => {
  const limits = { headersTimeoutMs: 120_000, requestTimeoutMs: 120_000, maxConnections: 10_002 };
  const { config, directory } = await tinyConfig({ server: { port: 0, ...limits } }, { lean: true });
  const entry = fileURLToPath(new URL('../support/server-child.ts', import.meta.url));
  const child = spawn(process.execPath, ['--import', 'tsx', entry, JSON.stringify(config)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  const many = (JSON.parse(line) as { url: string }).url;
  const idle: RawConnection[] = [];
  try {
    while (idle.length < 10_000)
      idle.push(...(await Promise.all(Array.from({ length: 500 }, () => RawConnection.open(many)))));
    const busy = await RawConnection.open(many);
    busy.write(requestBytes('/v1/recommend', { user: 'u1' }));
    expect((await busy.response(0)).status).toBe(200);
    expect(idle.filter(({ closed, error }) => closed || error !== undefined)).toEqual([]);
    const [first] = idle;
    first?.write(requestBytes('/livez'));
    expect((await first?.response(0))?.status, 'an idle one is as good as any').toBe(200);
    const beyond = await Promise.all([RawConnection.open(many), RawConnection.open(many)]);
    await until('one more than the limit is closed', () => beyond.some(({ closed }) => closed));
  } finally {
    for (const connection of idle) connection.destroy();
    child.kill('SIGKILL');
    await once(child, 'exit');
    await rm(directory, { recursive: true });
  }
});

import { afterEach, beforeEach, expect, test } from 'vitest';
import { RawConnection, requestBytes } from '../support/raw-connection.js';
import { startTinyServer, type TinyServer } from '../support/tiny-server.js';
import { until } from '../support/until.js';

let server: TinyServer;
let url: string;
let pid: number;
let closed: Promise<void> | undefined;

const rank = requestBytes('/v1/rank', { user: 'u1', items: ['i1', 'i2', 'i3'] });

beforeEach(async () => {
  server = await startTinyServer(
    {
      cache: { maxEntries: 0 },
      runners: { hangTimeoutMs: 60_000 },
      overload: { adaptive: false },
    },
    { lean: true },
  );
  url = await server.server.listen();
  pid = await server.pidOf('full');
  closed = undefined;
});

afterEach(async () => {
  process.kill(pid, 'SIGCONT');
  await closed;
  await server.stop();
});

/** A connection with a request in a runner that is stopped. */
async function inFlight(bytes = rank): Promise<RawConnection> {
  process.kill(pid, 'SIGSTOP');
  const connection = await RawConnection.open(url);
  connection.write(bytes);
  // A request of another connection that was read after it is answered by now.
  const other = await RawConnection.open(url);
  other.write(requestBytes('/livez'));
  await other.response(0);
  other.destroy();
  return connection;
}

async function gently(connection: RawConnection): Promise<void> {
  await until('the server ends the connection', () => connection.closed);
  expect([connection.ended, connection.error, connection.partial]).toEqual([true, undefined, '']);
}

test('open requests are answered, pipelined ones all of them, and idle connections end without a reset', async () => {
  const idle = await RawConnection.open(url);
  idle.write(requestBytes('/livez'));
  await idle.response(0);
  const fresh = await RawConnection.open(url);
  const pipelined = await inFlight(rank.repeat(5));
  closed = server.server.close();
  process.kill(pid, 'SIGCONT');
  await pipelined.response(4);
  expect(pipelined.responses.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
  await Promise.all([pipelined, idle, fresh].map(gently));
  await closed;
  expect((await RawConnection.open(url)).error).toBe('ECONNREFUSED');
});

test('while it drains it is alive, not ready, and refuses new requests, which may send their body to the end', async () => {
  const busy = await inFlight();
  const known = await RawConnection.open(url);
  closed = server.server.close();
  const [health, ready] = await Promise.all([RawConnection.open(url), RawConnection.open(url)]);
  health.write(requestBytes('/livez'));
  ready.write(requestBytes('/readyz'));
  expect(await health.response(0)).toMatchObject({ status: 200, headers: { connection: 'close' } });
  expect((await ready.response(0)).status).toBe(503);
  const [head, body] = [rank.slice(0, rank.indexOf('{')), rank.slice(rank.indexOf('{'))];
  known.write(head);
  const refused = await known.response(0);
  expect(refused).toMatchObject({ status: 503, headers: { connection: 'close', 'retry-after': '1' } });
  expect(refused.body).toContain('"code":"NOT_READY"');
  known.write(body);
  known.write(rank);
  process.kill(pid, 'SIGCONT');
  expect(await busy.response(0)).toMatchObject({ status: 200, headers: { connection: 'close' } });
  await Promise.all([busy, known, health, ready].map(gently));
});

test('what arrived before is answered, even where it was not read yet', async () => {
  const connections = await Promise.all(Array.from({ length: 50 }, () => RawConnection.open(url)));
  for (const connection of connections) connection.write(rank);
  closed = server.server.close();
  await Promise.all(connections.map(gently));
  const statuses = connections.flatMap(({ responses }) => responses.map(({ status }) => status));
  expect(statuses).toHaveLength(50);
  expect(statuses.filter((status) => status !== 200 && status !== 503)).toEqual([]);
});

test('a client that went away does not hold it up', async () => {
  const connection = await inFlight(rank.repeat(3));
  connection.destroy();
  closed = server.server.close();
  await closed;
});

import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, expect, test } from 'vitest';
import { drive } from '../../loadtest/drive.js';
import { must } from '../../src/core/index.js';

const BODIES = ['"a"', '"bb"', '"ccc"', '"dddd"', '"eeeee"'];

/** The bodies one after the other, from the first again after the last. */
function cycle(bodies: readonly string[]): () => string {
  let place = 0;
  return () => must(bodies[place++ % bodies.length], 'body');
}

interface Recorder {
  readonly url: string;
  readonly requests: IncomingMessage[];
  readonly bodies: string[];
  close(): void;
}

const opened: Recorder[] = [];
afterEach(() => {
  for (const recorder of opened.splice(0)) recorder.close();
});

/** Answers only when `atOnce` requests wait, all of them together; every fourth request is refused with 503. */
async function record(atOnce: number): Promise<Recorder> {
  const requests: IncomingMessage[] = [];
  const bodies: string[] = [];
  let waiting: (() => void)[] = [];
  const server = createServer((request, response) => {
    const status = requests.push(request) % 4 === 0 ? 503 : 200;
    const receive = async (): Promise<void> => {
      bodies.push(await text(request));
      waiting.push(() => response.writeHead(status).end('{}'));
      if (waiting.length < atOnce) return;
      const ready = waiting;
      waiting = [];
      for (const answer of ready) answer();
    };
    // A connection that the end of the run cuts off has no body to record.
    receive().catch(() => undefined);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const recorder = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/recommend`,
    requests,
    bodies,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
  opened.push(recorder);
  return recorder;
}

test('all connections draw from one sequence; statuses are counted, only 2xx have latencies', async () => {
  const { url, requests, bodies } = await record(4);
  const headers = { 'x-whittle-pipeline': 'full' };
  // Had one connection fewer requests under way, none would ever be answered.
  const result = await drive({ url, headers, nextBody: cycle(BODIES), connections: 4, seconds: 1 });

  // Each four are the next four of the sequence, whichever connection brought them.
  expect(bodies.slice(0, 8).toSorted()).toEqual([...BODIES, ...BODIES.slice(0, 3)].toSorted());
  expect(requests.every(({ headers: sent }) => sent['x-whittle-pipeline'] === 'full')).toBe(true);
  expect(requests.every(({ headers: sent }) => sent['content-type'] === 'application/json')).toBe(true);
  expect(
    requests.every(({ method, url: path }) => `${method ?? ''} ${path ?? ''}` === 'POST /v1/recommend'),
  ).toBe(true);

  const { 200: ok = 0, 503: refused = 0 } = result.statuses;
  expect(refused).toBeGreaterThan(0);
  expect(result.latenciesMs).toHaveLength(ok);
  expect(result.latenciesMs).toEqual(result.latenciesMs.toSorted());
  expect(ok + refused).toBeLessThanOrEqual(requests.length);
  expect(ok + refused).toBeGreaterThanOrEqual(requests.length - 8);
  expect(result).toMatchObject({ timeouts: 0, connectionErrors: 0 });
});

test('one connection sends the bodies in their order, each once', async () => {
  const { url, bodies } = await record(1);
  await drive({ url, headers: {}, nextBody: cycle(BODIES), connections: 1, seconds: 1 });
  expect(bodies.slice(0, 7)).toEqual([...BODIES, ...BODIES.slice(0, 2)]);
});

test('a server that is gone is counted and ends the run', async () => {
  const gone = createServer();
  gone.listen(0, '127.0.0.1');
  await once(gone, 'listening');
  const { port } = gone.address() as AddressInfo;
  gone.close();
  await once(gone, 'close');
  const target = `http://127.0.0.1:${port}/`;
  const result = await drive({
    url: target,
    headers: {},
    nextBody: cycle(BODIES),
    connections: 2,
    seconds: 60,
  });
  expect(result.connectionErrors).toBeGreaterThanOrEqual(1_000);
  expect(result.latenciesMs).toHaveLength(0);
});

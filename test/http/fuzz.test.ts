import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createRandom, type Random } from '../../src/core/index.js';
import { RawConnection } from '../support/raw-connection.js';
import { tinyConfig } from '../support/tiny-server.js';
import { until } from '../support/until.js';

const CASES = 10_000;
const WARM_UP = 2_000;
const CONNECTIONS = 8;
const MAX_GROWTH_BYTES = 50e6;
/** Another seed, to look for more: `WHITTLE_FUZZ_SEED=1 npx vitest run test/http/fuzz.test.ts`. */
const SEED = Number(process.env['WHITTLE_FUZZ_SEED'] ?? 20);

/** Garbage that was not collected yet says nothing of what requests leave behind. */
const COLLECT_ON_SIGNAL = 'data:text/javascript,process.on("SIGUSR2", () => { gc(); gc(); })';

let child: ChildProcess;
let url: string;
let folder: string;

beforeAll(async () => {
  console.log(`seed ${SEED}`);
  const { config, directory } = await tinyConfig({
    overload: { adaptive: false },
    server: {
      port: 0,
      deadlineMs: 60_000,
      bodyLimitBytes: 210_000,
      headersTimeoutMs: 1_000,
      requestTimeoutMs: 2_000,
    },
    runners: { queueLimit: 100_000 },
    cache: { maxEntries: 100 },
  });
  folder = directory;
  const entry = fileURLToPath(new URL('../support/server-child.ts', import.meta.url));
  const options = ['--expose-gc', '--import', COLLECT_ON_SIGNAL, '--import', 'tsx'];
  child = spawn(process.execPath, [...options, entry, JSON.stringify(config)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface(child.stdout as NodeJS.ReadableStream), 'line')) as [string];
  ({ url } = JSON.parse(line) as { url: string });
});

afterAll(async () => {
  child.kill('SIGKILL');
  await once(child, 'exit');
  await rm(folder, { recursive: true });
});

/** Memory of the gateway alone that is in RAM, its garbage collected. */
async function residentBytes(): Promise<number> {
  child.kill('SIGUSR2');
  // Answered after the signal was.
  for (let asked = 0; asked < 3; asked++) await fetch(`${url}/livez`);
  const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(
    readFileSync(`/proc/${String(child.pid)}/status`, 'utf8'),
  )?.[1];
  return Number(kilobytes) * 1024;
}

const pick = <T>(random: Random, values: readonly T[]): T => values[random.integer(values.length)] as T;

/** Valid bodies of each route; ids of the tiny bundle. */
const BODIES: Readonly<Record<string, readonly Record<string, unknown>[]>> = {
  '/v1/recommend': [
    { user: 'u1', k: 3 },
    { history: ['i1', 'i2'], includeSeen: true, timeMs: 1 },
    { user: 'nobody', k: 200 },
  ],
  '/v1/search': [
    { query: 'crimson lamp', k: 3 },
    { query: 'vase', user: 'u3' },
    { queryVector: [1, 0, 0, 0, 0, 0, 0, 1] },
  ],
  '/v1/rank': [
    { user: 'u2', items: ['i1', 'i2', 'i3'] },
    { history: ['i9'], items: ['i1'], inputs: { age: 3 } },
  ],
  '/v1/events': [{ events: [{ id: 'e1', user: 'u1', item: 'i1', type: 'view', value: 1 }] }],
};
const ROUTES = [
  ...Object.keys(BODIES),
  '/v1/variants',
  '/v1/users?limit=3',
  '/livez',
  '/metrics',
  '/docs',
  '/x',
];

/** Values as JSON text, so that what no JavaScript value can say is there too. */
const STRANGE = [
  'null', 'true', '0', '-0', '-1', '1.5', '1e400', '-1e400', '1e-400', '9007199254740993', '1'.repeat(400), 'NaN',
  'Infinity', '""', '" "', '"\\u0000"', '"\\ud800"', '"\\udfff\\ud800"', '"\\u202e"', `"${'x'.repeat(300)}"`, '"i1"',
  '"__proto__"', `"${'x'.repeat(300_000)}"`, '[]', '{}', '[[]]', '[null]', '{"__proto__":{"k":1}}', '{"constructor":{"prototype":{"k":1}}}',
  '{"toString":1}', '{"length":1e9}', `[${'0,'.repeat(5_000)}0]`, `[${'"i1",'.repeat(1_500)}"i1"]`,
  `${'['.repeat(100_000)}${']'.repeat(100_000)}`, `${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}`, '0x10', '1_000',
  "'text'", '\u0000', '"\u0001"', '\ufeff1', '1 2', ',', '"\\x"', '"unterminated', '// comment', '-', '01', '.5', '1.',
]; // prettier-ignore
const KEYS = [
  'user',
  'k',
  'items',
  'history',
  'inputs',
  '__proto__',
  'constructor',
  'prototype',
  '',
  'é',
  '\\u0000',
];

/** A valid body with one to three of its places changed. */
function mutatedJson(random: Random, route: string): string {
  const valid = pick(random, BODIES[route] ?? [{}]);
  const fields = Object.entries(valid).map(([key, value]) => [key, JSON.stringify(value)]);
  for (let change = 0; change <= random.integer(3); change++) {
    const place = random.integer(fields.length + 1);
    const key = random.uniform() < 0.5 ? pick(random, KEYS) : (fields[place]?.[0] ?? 'k');
    // A place beyond the fields adds one, which may be there already.
    fields[place] = [key, pick(random, STRANGE)];
  }
  const text = `{${fields.map(([key, value]) => `"${key ?? ''}":${value ?? ''}`).join(',')}}`;
  const cut = random.uniform();
  if (cut < 0.05) return text.slice(0, random.integer(text.length));
  if (cut < 0.1) return pick(random, STRANGE);
  return text;
}

function randomBytes(random: Random, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => random.integer(256)));
}

/** A binary rank body that is right, or lies in one or two of its words. */
function binaryBody(random: Random): Buffer {
  const rows = random.integer(5);
  const history = random.integer(3);
  const body = Buffer.alloc(20 + 4 * (rows + history));
  body.write('WHR1', 0, 'latin1');
  body.writeUInt32LE(rows, 4);
  body.writeUInt32LE(history, 8);
  body.writeUInt32LE(2, 12);
  body.write('u1', 16);
  for (let at = 20; at < body.length; at += 4) body.writeUInt32LE(random.integer(64), at);
  for (let lie = 0; lie < random.integer(3); lie++)
    body.writeUInt32LE(
      pick(random, [0, 1, 1000, 1001, 0x7fffffff, 0xffffffff, 64]),
      4 * random.integer(body.length / 4),
    );
  return random.uniform() < 0.2 ? body.subarray(0, random.integer(body.length)) : body;
}

const TYPES = [
  'application/json', 'application/json; charset=utf-8', 'application/json; charset=latin1', 'Application/JSON', 'text/plain',
  'application/octet-stream', 'multipart/form-data', 'application/x-www-form-urlencoded', '', ' ', ';', 'application/json,x',
  'application/jsonx', '../json', 'application/ld+json', '\u00e9/json',
]; // prettier-ignore
const HEADERS = [
  'X-Request-Id: \u00e9', `X-Request-Id: ${'r'.repeat(1_000)}`, 'X-Request-Id: <script>', 'X-Request-Id: a, b',
  'X-Whittle-Pipeline: full', 'X-Whittle-Pipeline: __proto__', 'X-Whittle-Pipeline: constructor', 'X-Whittle-Pipeline:',
  `X-Whittle-Pipeline: ${'p'.repeat(3_000)}`, 'X-Whittle-Bundle: x', 'Content-Encoding: gzip', 'Content-Encoding: br, gzip',
  'Accept: nothing', 'Accept-Encoding: *', 'Range: bytes=0-1', 'If-Match: *', '__proto__: 1', 'constructor: 1',
  'Cookie: a=b', 'Origin: null', 'Upgrade: websocket', 'Connection: upgrade', 'Transfer-Encoding: identity', 'Via: x',
  'X-Forwarded-For: 1.2.3.4', 'Accept-Version: 9', 'X-HTTP-Method-Override: DELETE', 'TE: trailers', 'Date: never',
]; // prettier-ignore
const METHODS = [
  'POST',
  'POST',
  'POST',
  'POST',
  'GET',
  'HEAD',
  'PUT',
  'DELETE',
  'OPTIONS',
  'PATCH',
  'TRACE',
  'PROPFIND',
];
const PATHS = ['/%', '/%00', '/v1/recommend/', '//v1/rank', '/v1/../v1/rank', '/v1/users?limit=1e9', '/v1/users?__proto__=1',
  '/v1/users?limit[]=1', `/${'a'.repeat(5_000)}`, '/docs/static/../../package.json', '/docs/static/%2e%2e%2f%2e%2e', '/v1/rank?%ff',
  '*', 'http://elsewhere/v1/rank', '/v1/recommend#x', '/V1/RANK', '/docs/static/index.html']; // prettier-ignore

/** One request: a head, and a body of the length that the head says. */
function requestOf(random: Random): Buffer {
  const route = random.uniform() < 0.9 ? pick(random, ROUTES) : pick(random, PATHS);
  const kind = random.uniform();
  const binary = kind < 0.15;
  const text = mutatedJson(random, route);
  let body = binary ? binaryBody(random) : Buffer.from(text);
  const extra: string[] = [];
  if (kind > 0.95) {
    body = gzipSync(body);
    extra.push(`Content-Encoding: ${pick(random, ['gzip', 'GZIP', 'x-gzip', 'deflate'])}`);
  } else if (kind > 0.9) body = Buffer.concat([body, randomBytes(random, 1 + random.integer(20))]);
  const type = binary ? 'application/octet-stream' : random.uniform() < 0.8 ? TYPES[0] : pick(random, TYPES);
  for (let more = 0; more < random.integer(3); more++) extra.push(pick(random, HEADERS));
  const target = binary && random.uniform() < 0.8 ? '/v1/rank' : route;
  const head = [`${pick(random, METHODS)} ${target} HTTP/1.1`, 'Host: fuzz', `Content-Type: ${type ?? ''}`];
  head.push(`Content-Length: ${body.length}`, ...extra);
  return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`, 'latin1'), body]);
}

interface Outcome {
  readonly request: Buffer;
  readonly status: number | undefined;
  readonly error: string | undefined;
}

/** Sends requests one after the other, on a new connection where the server ended the one before. */
async function sendAll(requests: readonly Buffer[]): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  let connection = await RawConnection.open(url);
  for (const request of requests) {
    // A HEAD answer has a length and no body, which the reader of responses does not know: it gets a connection alone.
    const alone = request.toString('latin1', 0, 5) === 'HEAD ';
    const ending = connection.responses.at(-1)?.headers['connection'] === 'close';
    if (ending || alone || connection.ended || connection.socket.destroyed) {
      connection.destroy();
      connection = await RawConnection.open(url);
    }
    const place = connection.responses.length;
    const { socket } = connection;
    connection.write(request);
    await new Promise<void>((resolve) => {
      const check = (): void => {
        const seen =
          connection.responses.length > place || (alone && connection.partial.includes('\r\n\r\n'));
        if (!seen && !connection.closed && !connection.ended) return;
        socket.off('data', check).off('close', check).off('end', check);
        resolve();
      };
      socket.on('data', check).on('close', check).on('end', check);
    });
    const answered = connection.responses[place]?.status;
    const status = answered ?? (alone ? Number(connection.partial.slice(9, 12)) : undefined);
    outcomes.push({ request, status, error: connection.error });
    if (alone) connection.destroy();
  }
  connection.destroy();
  return outcomes;
}

async function sendOn(connections: number, requests: readonly Buffer[]): Promise<Outcome[]> {
  const shares = Array.from({ length: connections }, (_, share) =>
    requests.filter((_request, place) => place % connections === share),
  );
  return (await Promise.all(shares.map(sendAll))).flat();
}

async function expectAlive(): Promise<void> {
  expect(child.exitCode).toBeNull();
  expect((await fetch(`${url}/readyz`)).status).toBe(200);
  const body = JSON.stringify({ user: 'u1', items: ['i1', 'i2'] });
  const headers = { 'content-type': 'application/json' };
  expect((await fetch(`${url}/v1/rank`, { method: 'POST', headers, body })).status).toBe(200);
}

describe('hostile requests', () => {
  test(`${CASES} of them never meet a 5xx, are all answered, and leave no memory behind`, async () => {
    const random = createRandom(SEED).fork('requests');
    const make = (count: number): Buffer[] => Array.from({ length: count }, () => requestOf(random));
    await sendOn(CONNECTIONS, make(WARM_UP));
    const before = await residentBytes();
    const outcomes: Outcome[] = [];
    let highest = before;
    for (let sent = 0; sent < CASES; sent += CASES / 10) {
      outcomes.push(...(await sendOn(CONNECTIONS, make(CASES / 10))));
      highest = Math.max(highest, await residentBytes());
    }
    const show = ({ request, status, error }: Outcome): string =>
      `${String(status ?? error)}: ${request.toString('latin1').slice(0, 300)}`;
    expect(outcomes.filter(({ status }) => status === undefined || status >= 500).map(show)).toEqual([]);
    const statuses = new Set(outcomes.map(({ status }) => status));
    // Were everything refused at the door, nothing behind it would have been tried.
    for (const status of [200, 400, 404, 413]) expect(statuses, String(status)).toContain(status);
    const served = outcomes.filter(({ status }) => status === 200).length;
    expect(served).toBeGreaterThan(CASES / 20);
    console.log(`served ${served} of ${CASES}; memory ${mib(before)} MiB, then at most ${mib(highest)} MiB`);
    expect(highest - before).toBeLessThan(MAX_GROWTH_BYTES);
    await expectAlive();
  });
});

/** Two readings of where a request ends, so that a proxy and a server may disagree; `/smuggled` must not be read at all. */
const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n';
const post = (...headers: string[]): string =>
  `${['POST /v1/recommend HTTP/1.1', 'Host: x', 'Content-Type: application/json', ...headers].join('\r\n')}\r\n\r\n`;
const SMUGGLING: readonly string[] = [
  post('Content-Length: 6', 'Transfer-Encoding: chunked') + `0\r\n\r\n${SMUGGLED}`,
  post('Transfer-Encoding: chunked', 'Content-Length: 6') + `0\r\n\r\n${SMUGGLED}`,
  post('Content-Length: 4', 'Content-Length: 5') + `{}  ${SMUGGLED}`,
  post('Content-Length: 2, 3') + `{}${SMUGGLED}`,
  post('Content-Length: +2') + `{}${SMUGGLED}`,
  post('Content-Length: 0x2') + `{}${SMUGGLED}`,
  post('Content-Length: -1') + SMUGGLED,
  post('Content-Length : 2') + `{}${SMUGGLED}`,
  post(' Content-Length: 2') + `{}${SMUGGLED}`,
  post('Content-Length: 2\n') + `{}${SMUGGLED}`,
  post('Content-Length: 99999999999999999999') + SMUGGLED,
  post('Transfer-Encoding : chunked') + `0\r\n\r\n${SMUGGLED}`,
  post('Transfer-Encoding: xchunked') + `0\r\n\r\n${SMUGGLED}`,
  post('Transfer-Encoding: chunked, identity') + `0\r\n\r\n${SMUGGLED}`,
  post('Transfer-Encoding: chunked\r\nTransfer-Encoding: x') + `0\r\n\r\n${SMUGGLED}`,
  post('Transfer-Encoding: \u000bchunked') + `0\r\n\r\n${SMUGGLED}`,
  post('Transfer-Encoding: chunked') + `g\r\n{}\r\n0\r\n\r\n${SMUGGLED}`,
  post('Transfer-Encoding: chunked') + `-1\r\n{}\r\n0\r\n\r\n${SMUGGLED}`,
  post('Transfer-Encoding: chunked') + `2\n{}\n0\n\n${SMUGGLED}`,
  post('Transfer-Encoding: chunked') + `fffffffffffffffff\r\n{}\r\n0\r\n\r\n${SMUGGLED}`,
  post('Transfer-Encoding: chunked') + `2\r\n{}x\r\n0\r\n\r\n${SMUGGLED}`,
  post('X: a\rContent-Length: 2') + `{}${SMUGGLED}`,
  post('X: a\u0000b', 'Content-Length: 2') + `{}${SMUGGLED}`,
  post('X\u0000: a', 'Content-Length: 2') + `{}${SMUGGLED}`,
  post('Folded: a\r\n b', 'Content-Length : 2') + `{}${SMUGGLED}`,
];
/** What is no request, or one that nobody has to like. */
const BROKEN: readonly string[] = [
  '\r\n\r\n\r\n\r\nGET',
  'GET /livez\r\n\r\n',
  'GET /livez HTTP/1.1\n\n',
  'GET /livez HTTP/9.9\r\n\r\n',
  'GET /livez HTTP/1.1\r\n\r\n',
  'GET  /livez  HTTP/1.1\r\nHost: x\r\n\r\n',
  'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  'CONNECT elsewhere:443 HTTP/1.1\r\nHost: x\r\n\r\n',
  '\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003',
  `GET /${'a'.repeat(100_000)} HTTP/1.1\r\nHost: x\r\n\r\n`,
  `GET / HTTP/1.1\r\nHost: x\r\nBig: ${'b'.repeat(100_000)}\r\n\r\n`,
  `GET / HTTP/1.1\r\nHost: x\r\n${'A: b\r\n'.repeat(20_000)}\r\n`,
  `${post('Transfer-Encoding: chunked')}2;${'x'.repeat(100_000)}\r\n{}\r\n0\r\n\r\n`,
  `${post('Transfer-Encoding: chunked')}${'1\r\n \r\n'.repeat(200_000)}0\r\n\r\n`,
  `${post('Transfer-Encoding: chunked')}2\r\n{}\r\n0\r\n${'A: b\r\n'.repeat(20_000)}\r\n`,
];

/** Sends bytes, whole or one at a time, and the end; gives what came back once all is closed. */
async function exchange(bytes: Buffer, oneByOne: boolean): Promise<RawConnection> {
  const connection = await RawConnection.open(url);
  if (oneByOne) for (const byte of bytes) connection.write(Uint8Array.of(byte));
  else connection.write(bytes);
  connection.socket.end();
  await until('the server closes the connection', () => connection.closed);
  return connection;
}

describe('bytes that are no requests', () => {
  test('two readings of where a request ends: the second one is never read', async () => {
    for (const text of SMUGGLING) {
      const { responses } = await exchange(Buffer.from(text, 'latin1'), false);
      const seen = `${JSON.stringify(text)}: ${JSON.stringify(responses)}`;
      expect(responses.length, seen).toBeLessThanOrEqual(1);
      for (const { status } of responses) expect([400, 413], seen).toContain(status);
      expect(seen.includes('There is no GET /smuggled'), seen).toBe(false);
    }
    await expectAlive();
  });

  test('are answered 4xx or closed, whole or byte by byte, and harm nobody', async () => {
    const random = createRandom(SEED).fork('bytes');
    const before = await residentBytes();
    const inputs: Buffer[] = BROKEN.map((text) => Buffer.from(text, 'latin1'));
    for (let one = 0; one < 1_000; one++) {
      const request = requestOf(random).subarray(0, 2_000);
      const kind = one % 4;
      if (kind === 0) inputs.push(randomBytes(random, 1 + random.integer(500)));
      else if (kind === 1) inputs.push(request.subarray(0, random.integer(request.length)));
      else if (kind === 2) inputs.push(Buffer.concat([request, randomBytes(random, 50), request]));
      else {
        const flipped = Buffer.from(request);
        for (let flip = 0; flip < 5; flip++) flipped[random.integer(flipped.length)] = random.integer(256);
        inputs.push(flipped);
      }
    }
    for (let first = 0; first < inputs.length; first += 25) {
      const some = inputs.slice(first, first + 25);
      const ended = await Promise.all(some.map((bytes, place) => exchange(bytes, place % 8 === 0)));
      for (const [place, { responses }] of ended.entries())
        for (const { status } of responses)
          expect(status, some[place]?.toString('latin1').slice(0, 300)).toBeLessThan(500);
    }
    expect((await residentBytes()) - before).toBeLessThan(MAX_GROWTH_BYTES);
    await expectAlive();
  });
});

const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(0);

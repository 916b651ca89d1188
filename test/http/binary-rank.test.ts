import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Answer } from '../../src/serving/index.js';
import { startTinyServer, type ErrorReply, type TinyServer } from '../support/tiny-server.js';

const ITEMS = 64;
let server: TinyServer;
let bundleVersion: string;

beforeAll(async () => {
  server = await startTinyServer({ cache: { maxEntries: 0 } }, { lean: true });
  bundleVersion = (await server.post('/v1/recommend', { user: 'u1' })).answer().bundleVersion;
});

afterAll(() => server.stop());

interface Parts {
  readonly user?: string | Uint8Array;
  readonly rows?: readonly number[];
  readonly history?: readonly number[];
}

function encode({ user = '', rows = [1, 2, 3], history = [] }: Parts): Buffer {
  const id = typeof user === 'string' ? Buffer.from(user) : user;
  const padded = Math.ceil(id.length / 4) * 4;
  const body = Buffer.alloc(16 + padded + 4 * (rows.length + history.length));
  body.write('WHR1', 0, 'latin1');
  body.writeUInt32LE(rows.length, 4);
  body.writeUInt32LE(history.length, 8);
  body.writeUInt16LE(id.length, 12);
  body.set(id, 16);
  [...rows, ...history].forEach((row, place) => body.writeUInt32LE(row, 16 + padded + 4 * place));
  return body;
}

interface BinaryReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: Buffer;
}

async function send(
  body: Buffer,
  headers: Record<string, string> = {},
  url = '/v1/rank',
): Promise<BinaryReply> {
  const reply = await server.server.fastify.inject({
    method: 'POST',
    url,
    headers: { 'content-type': 'application/octet-stream', ...headers },
    payload: body,
  });
  return { status: reply.statusCode, headers: reply.headers, body: reply.rawPayload };
}

function decode({ status, body }: BinaryReply): { row: number; score: number }[] {
  expect(status, body.toString()).toBe(200);
  const count = body.readUInt32LE(0);
  expect(body.length).toBe(4 + 8 * count);
  return Array.from({ length: count }, (_, place) => ({
    row: body.readUInt32LE(4 + 4 * place),
    score: body.readFloatLE(4 + 4 * (count + place)),
  }));
}

const asRows = ({ items }: Answer): { row: number; score: number }[] =>
  items.map(({ id, score }) => ({ row: Number(id.slice(1)), score }));

describe('POST /v1/rank in binary', () => {
  test('orders and scores as the JSON form does: by the stored history, by a given one, by both', async () => {
    const rows = [4, 8, 15, 16, 23, 42, 63, 0];
    const items = rows.map((row) => `i${row}`);
    const history = [1, 5, 9];
    for (const parts of [{ user: 'u4' }, { history }, { user: 'u4', history }]) {
      const given = 'history' in parts ? { history: history.map((row) => `i${row}`) } : {};
      const user = 'user' in parts ? { user: parts.user } : {};
      const json = await server.post('/v1/rank', { ...user, ...given, items });
      expect(decode(await send(encode({ ...parts, rows })))).toEqual(asRows(json.answer()));
    }
  });

  test('the rest of the answer is in headers', async () => {
    const forced = {
      'x-whittle-pipeline': 'small',
      'x-request-id': 'abc',
      'x-whittle-bundle': bundleVersion,
    };
    const reply = await send(encode({ user: 'u1' }), forced);
    expect(reply.headers).toMatchObject({
      'content-type': 'application/octet-stream',
      'x-request-id': 'abc',
      'x-whittle-bundle': bundleVersion,
      'x-whittle-pipeline': 'small',
      'x-whittle-variant': 'small',
      'x-whittle-experiment': 'none',
      'x-whittle-arm': 'none',
      'x-whittle-forced': 'true',
      'x-whittle-cached': 'false',
    });
    expect(reply.headers['server-timing']).toMatch(/rank;dur=[\d.]+.*total;dur=[\d.]+/);
  });

  test('an answer from the cache is the same', async () => {
    const cached = await startTinyServer({}, { lean: true });
    const request = { method: 'POST', url: '/v1/rank', payload: encode({ user: 'u1' }) } as const;
    const headers = { 'content-type': 'application/octet-stream' };
    const first = await cached.server.fastify.inject({ ...request, headers });
    const second = await cached.server.fastify.inject({ ...request, headers });
    const other = encode({ user: 'u1', rows: [1, 2, 4] });
    const third = await cached.server.fastify.inject({ ...request, headers, payload: other });
    expect(second.headers['x-whittle-cached']).toBe('true');
    expect(second.rawPayload).toEqual(first.rawPayload);
    expect(third.headers['x-whittle-cached']).toBe('false');
    await cached.stop();
  });

  test("the documentation's client", async () => {
    const page = await readFile(new URL('../../docs/binary-rank.md', import.meta.url), 'utf8');
    const source = /```js\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
    expect(source.trim().split('\n').length).toBeLessThan(30);
    // eslint-disable-next-line @typescript-eslint/no-implied-eval -- the example is run as a reader would paste it
    const make = new Function(`${source}; return rank;`) as () => (...given: unknown[]) => Promise<unknown>;
    const url = await server.server.listen();
    const answer = await make()(url, 'u4', [4, 8, 15], bundleVersion);
    const json = await server.post('/v1/rank', { user: 'u4', items: ['i4', 'i8', 'i15'] });
    expect(answer).toEqual(asRows(json.answer()));
  });

  const lying = (at: number, value: number): Buffer => {
    const body = encode({ user: 'u1' });
    body.writeUInt32LE(value, at);
    return body;
  };
  test.each<[string, Buffer, string, RegExp]>([
    ['an empty body', Buffer.alloc(0), 'magic', /WHR1/],
    ['a short header', encode({ user: 'u1' }).subarray(0, 15), 'magic', /16 bytes/],
    ['another magic', lying(0, 0x32524857), 'magic', /WHR1/],
    ['no rows', encode({ user: 'u1', rows: [] }), 'candidates', /1 to 1000/],
    ['a count of 2 to the 32 less 1', lying(4, 0xffffffff), 'candidates', /1 to 1000/],
    ['a history of 2 to the 31', lying(8, 0x80000000), 'history', /0 to 1000/],
    ['a count above what is there', lying(4, 4), 'body', /bytes/],
    ['a count below what is there', lying(4, 2), 'body', /bytes/],
    ['a user longer than the body', lying(12, 1024), 'body', /bytes/],
    ['a user longer than allowed', lying(12, 1025), 'user', /1024/],
    ['reserved bits', lying(12, 0x10002), 'reserved', /0/],
    ['neither user nor history', encode({}), 'user', /history/],
    ['a user that is not UTF-8', encode({ user: Uint8Array.of(0xc3, 0x28) }), 'user', /UTF-8/],
    ['a user of 257 characters', encode({ user: 'u'.repeat(257) }), 'user', /256 characters/],
    ['one byte too many', Buffer.concat([encode({ user: 'u1' }), Buffer.alloc(1)]), 'body', /bytes/],
  ])('%s is refused', async (_what, body, field, allowed) => {
    const reply = await send(body);
    const { error } = JSON.parse(reply.body.toString()) as ErrorReply;
    expect({ status: reply.status, code: error.code, field: error.details['field'] }).toEqual({
      status: 400,
      code: 'INPUT_INVALID',
      field,
    });
    expect(error.details['allowed']).toMatch(allowed);
  });

  test.each([
    [{ user: 'u1', rows: [1, ITEMS] }, 'rows.1'],
    [{ history: [0, 1, 0xffffffff] }, 'history.2'],
  ])('a row that the catalogue does not have is named', async (parts, field) => {
    const { error } = JSON.parse((await send(encode(parts))).body.toString()) as ErrorReply;
    expect(error).toMatchObject({ code: 'ITEM_UNKNOWN', details: { field, allowed: 'a row from 0 to 63' } });
  });

  test('rows of another state of the bundle are refused', async () => {
    const reply = await send(encode({ user: 'u1' }), { 'x-whittle-bundle': 'older' });
    const { error } = JSON.parse(reply.body.toString()) as ErrorReply;
    expect(reply.status).toBe(400);
    expect(error).toMatchObject({
      code: 'INPUT_INVALID',
      message: expect.stringContaining('read the catalogue again') as string,
      details: { field: 'x-whittle-bundle', value: 'older', allowed: bundleVersion },
    });
  });

  test('no other route takes a binary body', async () => {
    const reply = await send(encode({ user: 'u1' }), {}, '/v1/recommend');
    const { error } = JSON.parse(reply.body.toString()) as ErrorReply;
    expect(reply.status).toBe(400);
    expect(error.details['field']).toBe('content-type');
  });
});

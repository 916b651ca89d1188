import { Ajv } from 'ajv';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { answer } from '../../src/http/schemas/answers.js';
import { RawConnection } from '../support/raw-connection.js';
import { startTinyServer, type ErrorReply, type TinyServer } from '../support/tiny-server.js';

let server: TinyServer;
let url: string;

beforeAll(async () => {
  server = await startTinyServer({ server: { port: 0, bodyLimitBytes: 20_000 } });
  url = await server.server.listen();
});

afterAll(() => server.stop());

/** Sends a body in chunks of these, and gives the first answer. */
async function sendChunks(chunks: readonly string[]): Promise<{ status: number; body: string }> {
  const connection = await RawConnection.open(url);
  const head = ['Host: x', 'Content-Type: application/json', 'Transfer-Encoding: chunked'];
  connection.write(`POST /v1/rank HTTP/1.1\r\n${head.join('\r\n')}\r\n\r\n`);
  for (const chunk of chunks) connection.write(`${Buffer.byteLength(chunk).toString(16)}\r\n${chunk}\r\n`);
  connection.write('0\r\n\r\n');
  const response = await connection.response(0);
  connection.destroy();
  return response;
}

describe('a body in chunks', () => {
  const text = JSON.stringify({ user: 'ü-1', items: ['i1', 'i2'] });

  test('is the same body, wherever it is cut', async () => {
    const bytes = Buffer.from(text);
    for (let cut = 1; cut < text.length; cut += 3) {
      const status = (await sendChunks([text.slice(0, cut), text.slice(cut)])).status;
      expect(status, `cut at ${cut} of ${bytes.length}`).toBe(200);
    }
  });

  test('may not be larger than the limit, though its length is not told before', async () => {
    const { status, body } = await sendChunks(Array.from({ length: 30 }, () => ' '.repeat(1_000)));
    expect([status, (JSON.parse(body) as ErrorReply).error.details]).toEqual([
      413,
      { field: 'body', allowed: 'at most 20000 bytes' },
    ]);
  });

  test('may not come in more pieces than are worth their memory', async () => {
    const { status, body } = await sendChunks([...Array.from({ length: 10_001 }, () => ' '), text]);
    expect([status, (JSON.parse(body) as ErrorReply).error.details]).toEqual([
      400,
      { field: 'body', allowed: 'at most 10000 chunks' },
    ]);
  });
});

test('answers have every field of their schema and no other', async () => {
  const validate = new Ajv({ strict: false }).compile(answer);
  const rank = { user: 'u1', items: ['i1', 'i2'] };
  const asked: [string, unknown][] = [
    ['/v1/recommend', { user: 'u1' }],
    ['/v1/recommend', { user: 'u1' }],
    ['/v1/recommend', { user: 'nobody' }],
    ['/v1/search', { query: 'lamp' }],
    ['/v1/rank', rank],
  ];
  for (const [path, body] of asked) {
    const reply = await server.post(path, body);
    expect(reply.headers['content-type']).toBe('application/json; charset=utf-8');
    expect(validate(reply.json()), JSON.stringify(validate.errors)).toBe(true);
  }
});

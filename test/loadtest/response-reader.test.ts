import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ResponseReader } from '../../loadtest/generator/response-reader.js';

const sized = (status: number, body: string, fields = ''): string =>
  `HTTP/1.1 ${status} Reason\r\nContent-Type: application/json\r\n${fields}Content-Length: ${body.length}\r\n\r\n${body}`;
const chunked = (parts: readonly string[]): string =>
  `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${parts
    .map((part) => `${part.length.toString(16)};ext=1\r\n${part}\r\n`)
    .join('')}0\r\nX-Trailer: a\r\n\r\n`;

/** What reading the text in these pieces says. */
function read(reader: ResponseReader, text: string, cuts: readonly number[] = []): string[] {
  const places = [...new Set([0, ...cuts.map((cut) => cut % text.length), text.length])].sort(
    (a, b) => a - b,
  );
  return places.slice(1).map((end, index) => {
    const piece = Buffer.from(text.slice(places[index], end), 'latin1');
    // What follows the piece in its buffer is no part of it.
    return reader.push(Buffer.concat([piece, Buffer.from('HTTP/1.1 500 \r\n\r\n')]), piece.length);
  });
}

describe('ResponseReader', () => {
  const responses = fc.oneof(
    fc.string({ maxLength: 40 }).map((body) => sized(200, body.replaceAll(/[^ -~]/g, '?'))),
    fc
      .array(fc.stringMatching(/^[ -~\r\n]{1,30}$/), { maxLength: 4 })
      .map((parts) => chunked(parts.filter((part) => part !== ''))),
    fc.constant('HTTP/1.1 204 No Content\r\n\r\n'),
  );

  test('reads one response after the other, wherever they are cut', () => {
    fc.assert(
      fc.property(responses, responses, fc.array(fc.nat(), { maxLength: 6 }), (first, second, cuts) => {
        const reader = new ResponseReader();
        for (const text of [first, second]) {
          const states = read(reader, text, cuts);
          expect(states.slice(0, -1).every((state) => state === 'more')).toBe(true);
          expect(states.at(-1)).toBe('done');
        }
      }),
    );
  });

  test('tells status, Retry-After and a connection that closes', () => {
    const reader = new ResponseReader();
    expect(read(reader, sized(503, '{}', 'retry-after: 1\r\nConnection: close\r\n'))).toEqual(['done']);
    expect(reader.head).toEqual({ status: 503, hasRetryAfter: true, closes: true });
    expect(read(reader, sized(200, '{}', 'X-Retry-After: 1\r\n'))).toEqual(['done']);
    expect(reader.head).toEqual({ status: 200, hasRetryAfter: false, closes: false });
  });

  test.each([
    ['another protocol', 'SSH-2.0-x\r\n\r\n'],
    ['a body of unknown length', 'HTTP/1.1 200 OK\r\n\r\n'],
    ['bytes that nobody asked for', `${sized(200, '{}')}HTTP`],
    ['a chunk without size', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n'],
    ['a head without end', `HTTP/1.1 200 OK\r\nA: ${'a'.repeat(70_000)}`],
  ])('calls %s broken', (_name, text) => {
    expect(read(new ResponseReader(), text)).toEqual(['broken']);
  });
});

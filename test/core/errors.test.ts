import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { ERROR_CODES, WhittleError, assert, must, toWhittleError } from '../../src/core/index.js';

/** Rows of the Markdown tables in docs/errors.md, in order: code, status, retryable, summary. */
async function documentedCodes(): Promise<[string, number, boolean, string][]> {
  const text = await readFile(new URL('../../docs/errors.md', import.meta.url), 'utf8');
  return text.split('\n').flatMap((line) => {
    const row = /^\| `(\w+)` +\| (\d+) +\| (yes|no) +\| (.+?) +\|$/.exec(line);
    return row === null ? [] : [[String(row[1]), Number(row[2]), row[3] === 'yes', String(row[4])]];
  });
}

test('docs/errors.md lists exactly the codes of ERROR_CODES, with status, retryable and summary', async () => {
  const codes = Object.entries(ERROR_CODES).map(([code, { status, retryable, summary }]) => [
    code,
    status,
    retryable,
    summary,
  ]);
  expect(await documentedCodes()).toEqual(codes);
});

test('what the caller got wrong (4xx) is never retryable; what may pass by itself is a 429, 503 or 504', () => {
  for (const [code, { status, retryable }] of Object.entries(ERROR_CODES))
    expect(retryable, code).toBe([429, 503, 504].includes(status));
});

describe('WhittleError', () => {
  test('carries status and retryable of its code, details and cause', () => {
    const cause = new Error('below');
    const error = new WhittleError('QUEUE_FULL', 'The queue is full.', { limit: 8 }, cause);
    expect(error).toMatchObject({
      name: 'WhittleError',
      code: 'QUEUE_FULL',
      status: 503,
      retryable: true,
      details: { limit: 8 },
      cause,
    });
    expect('cause' in new WhittleError('INTERNAL', 'x')).toBe(false);
  });

  test('toWhittleError wraps anything once', () => {
    const error = new WhittleError('NOT_FOUND', 'x');
    expect(toWhittleError(error, 'STORE_FAILED')).toBe(error);
    const thrown = new TypeError('bad');
    expect(toWhittleError(thrown, 'STORE_FAILED')).toMatchObject({
      code: 'STORE_FAILED',
      message: 'bad',
      cause: thrown,
    });
    expect(toWhittleError('text')).toMatchObject({ code: 'INTERNAL', message: 'text', cause: 'text' });
  });
});

test('assert and must name what failed, as an INTERNAL error', () => {
  expect(must(0, 'count')).toBe(0);
  expect(() => must(undefined, 'the row')).toThrow(
    expect.objectContaining({ code: 'INTERNAL', message: 'Assertion failed: the row is missing' }),
  );
  expect(() => must(null, 'the row')).toThrow(WhittleError);
  expect(() => assert([].length, 'order')).toThrow('Assertion failed: order');
});

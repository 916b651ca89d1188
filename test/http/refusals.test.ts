import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTinyServer, type TinyServer } from '../support/tiny-server.js';

let server: TinyServer;
let batches = 0;

beforeAll(async () => {
  server = await startTinyServer();
  server.engine.onObservation(({ kind }) => {
    if (kind === 'batch') batches += 1;
  });
});

afterAll(() => server.stop());

type Row = [
  what: string,
  url: string,
  body: unknown,
  status: number,
  code: string,
  field: string,
  allowed: RegExp,
];

const ids = (count: number): string[] => Array.from({ length: count }, () => 'i1');
const recommend = '/v1/recommend';
const search = '/v1/search';
const rank = '/v1/rank';
const events = '/v1/events';
const invalid = [400, 'INPUT_INVALID'] as const;
const event = { id: 'e1', user: 'u1', item: 'i1', type: 'click' };

const REFUSED: readonly Row[] = [
  ['k below 1', recommend, { user: 'u1', k: 0 }, ...invalid, 'k', /^integer from 1 to 200$/],
  ['k above 200', recommend, { user: 'u1', k: 201 }, ...invalid, 'k', /^integer from 1 to 200$/],
  ['k not whole', recommend, { user: 'u1', k: 1.5 }, ...invalid, 'k', /^integer from 1 to 200$/],
  ['k as text', recommend, { user: 'u1', k: '10' }, ...invalid, 'k', /^integer from 1 to 200$/],
  ['k null', recommend, { user: 'u1', k: null }, ...invalid, 'k', /integer/],
  ['k Infinity', recommend, '{"user":"u1","k":1e999}', ...invalid, 'k', /integer/],
  ['k NaN', recommend, '{"user":"u1","k":NaN}', ...invalid, 'body', /JSON/],
  ['an unknown field', recommend, { user: 'u1', count: 3 }, ...invalid, 'count', /^one of .*\bk\b/],
  ['neither user nor history', recommend, { k: 3 }, ...invalid, 'history', /user/],
  ['an empty history alone', recommend, { history: [] }, ...invalid, 'history', /at least one item/],
  ['a long history', recommend, { history: ids(1001) }, ...invalid, 'history', /0 to 1000/],
  ['a number in the history', recommend, { history: ['i1', 2] }, ...invalid, 'history.1', /text/],
  [
    'a long id in the history',
    recommend,
    { history: ['i'.repeat(257)] },
    ...invalid,
    'history.0',
    /1 to 256/,
  ],
  ['a history that is text', recommend, { history: 'i1' }, ...invalid, 'history', /list/],
  [
    'an item nobody knows',
    recommend,
    { history: ['i1', 'i999'] },
    400,
    'ITEM_UNKNOWN',
    'history.1',
    /catalogue/,
  ],
  ['an empty user', recommend, { user: '' }, ...invalid, 'user', /1 to 256/],
  ['a long user', recommend, { user: 'u'.repeat(257) }, ...invalid, 'user', /1 to 256/],
  ['a user that is a number', recommend, { user: 7 }, ...invalid, 'user', /text/],
  ['a negative time', recommend, { user: 'u1', timeMs: -1 }, ...invalid, 'timeMs', /integer from 0/],
  [
    'includeSeen as text',
    recommend,
    { user: 'u1', includeSeen: 'yes' },
    ...invalid,
    'includeSeen',
    /boolean/,
  ],
  ['inputs as a list', recommend, { user: 'u1', inputs: [1] }, ...invalid, 'inputs', /object/],
  ['text in inputs', recommend, { user: 'u1', inputs: { age: 'old' } }, ...invalid, 'inputs.age', /number/],
  [
    'Infinity in inputs',
    recommend,
    '{"user":"u1","inputs":{"age":[1,1e999]}}',
    ...invalid,
    'inputs.age.1',
    /number/,
  ],
  [
    'too many inputs',
    recommend,
    { user: 'u1', inputs: Object.fromEntries(Array.from({ length: 33 }, (_, place) => [`f${place}`, 1])) },
    ...invalid,
    'inputs',
    /32/,
  ],
  ['no query', search, { k: 3 }, ...invalid, 'query', /exactly one/],
  ['query and vector', search, { query: 'lamp', queryVector: [1] }, ...invalid, 'queryVector', /exactly one/],
  ['an empty query', search, { query: '' }, ...invalid, 'query', /1 to 512/],
  ['a blank query', search, { query: ' \n\t' }, ...invalid, 'query', /not blank/],
  ['a long query', search, { query: 'q'.repeat(513) }, ...invalid, 'query', /1 to 512/],
  ['an empty vector', search, { queryVector: [] }, ...invalid, 'queryVector', /1 to 4096/],
  ['a long vector', search, { queryVector: Array(4097).fill(0) }, ...invalid, 'queryVector', /1 to 4096/],
  ['Infinity in a vector', search, '{"queryVector":[0,-1e999]}', ...invalid, 'queryVector.1', /number/],
  ['null in a vector', search, { queryVector: [null] }, ...invalid, 'queryVector.0', /number/],
  ['a vector where text is searched', search, { queryVector: [1, 2] }, ...invalid, 'query', /text/],
  ['no items', rank, { user: 'u1' }, ...invalid, 'items', /required/],
  ['empty items', rank, { user: 'u1', items: [] }, ...invalid, 'items', /1 to 1000/],
  ['too many items', rank, { user: 'u1', items: ids(1001) }, ...invalid, 'items', /1 to 1000/],
  ['items alone', rank, { items: ['i1'] }, ...invalid, 'user', /history/],
  ['an unknown item', rank, { user: 'u1', items: ['i1', 'x'] }, 400, 'ITEM_UNKNOWN', 'items.1', /catalogue/],
  ['no events', events, [], ...invalid, 'events', /1 to 1000/],
  ['too many events', events, Array(1001).fill(event), ...invalid, 'events', /1 to 1000/],
  ['an event without id', events, [{ ...event, id: undefined }], ...invalid, 'events.0.id', /required/],
  [
    'an event with a wrong value',
    events,
    [event, { ...event, value: '3' }],
    ...invalid,
    'events.1.value',
    /number/,
  ],
  [
    'an event of an unknown item',
    events,
    [{ ...event, item: 'x' }],
    400,
    'ITEM_UNKNOWN',
    'events.0.item',
    /catalogue/,
  ],
  [
    'an event with an unknown field',
    events,
    { events: [{ ...event, at: 3 }] },
    ...invalid,
    'events.0.at',
    /timeMs/,
  ],
  ['broken JSON', recommend, '{"user":', ...invalid, 'body', /JSON/],
  ['an empty body', recommend, '', ...invalid, 'body', /JSON/],
  ['a list for a body', recommend, [1], ...invalid, 'body', /object/],
  ['text for a body', recommend, '"u1"', ...invalid, 'body', /object/],
  ['a prototype key', recommend, '{"user":"u1","__proto__":{"k":3}}', ...invalid, 'body', /JSON/],
  ['a nested prototype key', recommend, '{"user":"u1","inputs":{"__proto__":1}}', ...invalid, 'body', /JSON/],
  ['a constructor key', recommend, '{"constructor":{"prototype":{}}}', ...invalid, 'body', /JSON/],
  ['2 MB of text', recommend, 'x'.repeat(2_000_000), 413, 'INPUT_TOO_LARGE', 'body', /1048576 bytes/],
  [
    '2 MB of history',
    recommend,
    { history: Array(9_000).fill('i'.repeat(222)) },
    413,
    'INPUT_TOO_LARGE',
    'body',
    /bytes/,
  ],
];

describe('bad input is refused with its field and what is allowed', () => {
  test.each(REFUSED)('%s: POST %s', async (_what, url, body, status, code, field, allowed) => {
    const before = batches;
    const reply = await server.post(url, body);
    const error = reply.error();
    expect({ status: reply.status, code: error.code, field: error.details['field'] }).toEqual({
      status,
      code,
      field,
    });
    expect(error.details['allowed']).toMatch(allowed);
    expect(error.retryable).toBe(false);
    expect(error.requestId).toBe(reply.headers['x-request-id']);
    expect(reply.text.length).toBeLessThan(1_000);
    expect(batches, 'runs').toBe(before);
  });

  test('a body that is not JSON', async () => {
    const reply = await server.post('/v1/recommend', 'user=u1', { 'content-type': 'text/plain' });
    expect(reply.status).toBe(400);
    expect(reply.error().details).toEqual({
      field: 'content-type',
      value: 'text/plain',
      allowed: 'application/json',
    });
  });

  test.each([
    ['/v1/users?limit=0', 'limit'],
    ['/v1/users?limit=10001', 'limit'],
    ['/v1/users?limit=many', 'limit'],
    ['/v1/users?limit=1&limit=2', 'limit'],
    ['/v1/users?count=1', 'count'],
  ])('GET %s', async (url, field) => {
    const reply = await server.get(url);
    expect(reply.status).toBe(400);
    expect(reply.error()).toMatchObject({ code: 'INPUT_INVALID', details: { field } });
  });

  test.each(['/v2/recommend', '/v1/recommend', '/v1/users/u1'])('no route GET %s', async (url) => {
    const reply = await server.get(url);
    expect(reply.status).toBe(404);
    expect(reply.error()).toMatchObject({ code: 'NOT_FOUND', details: { field: 'url' } });
  });

  test('an unknown pipeline names the known ones', async () => {
    const reply = await server.post('/v1/recommend', { user: 'u1' }, { 'x-whittle-pipeline': 'fast' });
    expect(reply.status).toBe(404);
    expect(reply.error()).toMatchObject({
      code: 'NOT_FOUND',
      details: { value: 'fast', allowed: ['full', 'small', 'retrieval', 'vector'] },
    });
  });

  test('a pipeline that does not offer the endpoint', async () => {
    const reply = await server.post(
      '/v1/rank',
      { user: 'u1', items: ['i1'] },
      { 'x-whittle-pipeline': 'vector' },
    );
    expect(reply.status).toBe(404);
    expect(reply.error().message).toContain('rank');
  });

  test('a vector of another length than the index', async () => {
    const reply = await server.post(
      '/v1/search',
      { queryVector: [1, 2] },
      { 'x-whittle-pipeline': 'vector' },
    );
    expect(reply.status).toBe(400);
    expect(reply.error()).toMatchObject({
      details: { field: 'queryVector', allowed: expect.stringContaining('8 numbers') as string },
    });
  });

  test('none of it changed what is served', async () => {
    expect(({} as Record<string, unknown>)['k']).toBeUndefined();
    expect((await server.post('/v1/recommend', { user: 'u1' })).status).toBe(200);
  });
});

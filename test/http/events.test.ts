import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Answer } from '../../src/serving/index.js';
import { startTinyServer, type TinyServer } from '../support/tiny-server.js';

let server: TinyServer;

beforeAll(async () => {
  server = await startTinyServer({}, { lean: true });
});

afterAll(() => server.stop());

const idsOf = ({ items }: Answer): string[] => items.map(({ id }) => id);

test('events are taken once by their id, as a list or in an object', async () => {
  const first = { id: 'a', user: 'new', item: 'i3', type: 'click' };
  const second = {
    id: 'b',
    user: 'new',
    item: 'i7',
    type: 'purchase',
    value: 9.5,
    timeMs: 1_700_000_000_000,
  };
  expect((await server.post('/v1/events', [first])).json()).toEqual({ accepted: 1, duplicates: 0 });
  expect((await server.post('/v1/events', { events: [first, second] })).json()).toEqual({
    accepted: 1,
    duplicates: 1,
  });
  expect((await server.post('/v1/events', [second, second])).json()).toEqual({ accepted: 0, duplicates: 2 });
});

test('a new user becomes a known one, who is not shown what was clicked', async () => {
  const ask = async (): Promise<Answer> =>
    (await server.post('/v1/recommend', { user: 'ann', k: 20 })).answer();
  expect((await ask()).source).toBe('popularity');
  const clicks = ['i1', 'i5', 'i9'].map((item, place) => ({
    id: `ann-${place}`,
    user: 'ann',
    item,
    type: 'click',
  }));
  await server.post('/v1/events', clicks);
  const after = await ask();
  expect(after.source).toBe('retrieval');
  expect(idsOf(after).filter((id) => ['i1', 'i5', 'i9'].includes(id))).toEqual([]);
});

test('what was only viewed stays out of the history', async () => {
  await server.post('/v1/events', [{ id: 'v', user: 'viewer', item: 'i1', type: 'view' }]);
  expect((await server.post('/v1/recommend', { user: 'viewer' })).answer().source).toBe('popularity');
});

test('one bad event refuses the call as a whole', async () => {
  const good = { id: 'g', user: 'new', item: 'i1', type: 'click' };
  const refused = await server.post('/v1/events', [good, { ...good, id: 'h', item: 'unknown' }]);
  expect(refused.status).toBe(400);
  expect((await server.post('/v1/events', [good])).json()).toEqual({ accepted: 1, duplicates: 0 });
});

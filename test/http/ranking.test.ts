import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Answer, ExperimentStatus, VariantStatus } from '../../src/serving/index.js';
import { startTinyServer, type Reply, type TinyServer } from '../support/tiny-server.js';
import { TINY_USERS } from '../support/tiny-bundle.js';

let server: TinyServer;

beforeAll(async () => {
  server = await startTinyServer({
    experiments: [
      {
        name: 'shrink',
        salt: 's1',
        arms: [
          { name: 'control', weight: 1, pipeline: 'full' },
          { name: 'treatment', weight: 1, pipeline: 'small' },
        ],
      },
    ],
  });
});

afterAll(() => server.stop());

async function ask(
  path: string,
  body: unknown,
  pipeline?: string,
): Promise<{ answer: Answer; reply: Reply }> {
  const reply = await server.post(
    path,
    body,
    pipeline === undefined ? {} : { 'x-whittle-pipeline': pipeline },
  );
  expect(reply.status, reply.text).toBe(200);
  return { answer: reply.answer(), reply };
}

const idsOf = ({ items }: Answer): string[] => items.map(({ id }) => id);
/** Row of an item id of the tiny bundle; its group is the row modulo 4. */
const rowOf = (id: string): number => Number(id.slice(1));

describe('POST /v1/recommend', () => {
  test('answers k items, best first, with titles, and none of the history', async () => {
    const history = ['i1', 'i5', 'i9'];
    const { answer } = await ask('/v1/recommend', { history, k: 7 });
    expect(answer.items).toHaveLength(7);
    expect(new Set(idsOf(answer)).size).toBe(7);
    expect(idsOf(answer).filter((id) => history.includes(id))).toEqual([]);
    const scores = answer.items.map(({ score }) => score);
    expect(scores).toEqual(scores.toSorted((a, b) => b - a));
    expect(answer.items[0]?.title).toMatch(/^[a-z]+ [a-z]+$/);
    expect(answer.source).toBe('retrieval');
  });

  test('retrieval finds the group that the history is of', async () => {
    const { answer } = await ask('/v1/recommend', { history: ['i2', 'i6', 'i10', 'i14'], k: 5 }, 'retrieval');
    expect(idsOf(answer).map((id) => rowOf(id) % 4)).toEqual([2, 2, 2, 2, 2]);
    expect(answer.variant).toBe('none');
  });

  test('keeps items of the history where that is asked for', async () => {
    const history = ['i2', 'i6', 'i10', 'i14'];
    const { answer } = await ask('/v1/recommend', { history, k: 30, includeSeen: true }, 'retrieval');
    expect(history.filter((id) => idsOf(answer).includes(id)).length).toBeGreaterThan(0);
  });

  test('k is 10 where it is not given', async () => {
    expect((await ask('/v1/recommend', { user: 'u3' })).answer.items).toHaveLength(10);
  });

  test('a known user is answered from the stored history', async () => {
    const { answer } = await ask('/v1/recommend', { user: 'u2' }, 'retrieval');
    expect(answer.source).toBe('retrieval');
    expect(rowOf(idsOf(answer)[0] ?? '') % 4).toBe(2);
  });

  test('an unknown user is answered by popularity, and told so', async () => {
    const { answer } = await ask('/v1/recommend', { user: 'nobody', k: 4 });
    expect(answer.source).toBe('popularity');
    expect(answer.variant).toBe('none');
    expect(idsOf(answer)).toEqual(['i0', 'i1', 'i2', 'i3']);
  });

  test('a given history wins over the stored one, while the user decides the arm', async () => {
    const stored = await ask('/v1/recommend', { user: 'u2' });
    const given = await ask('/v1/recommend', { user: 'u2', history: ['i3', 'i7', 'i11'] });
    const alone = await ask('/v1/recommend', { history: ['i3', 'i7', 'i11'] }, stored.answer.pipeline);
    expect(given.answer.arm).toBe(stored.answer.arm);
    expect(idsOf(given.answer)).toEqual(idsOf(alone.answer));
    expect(idsOf(given.answer)).not.toEqual(idsOf(stored.answer));
  });
});

describe('POST /v1/search', () => {
  test('finds titles', async () => {
    const { answer } = await ask('/v1/search', { query: 'crimson lamps', k: 3 });
    expect(answer.items[0]).toMatchObject({ id: 'i17', title: 'crimson lamp' });
    expect(answer.source).toBe('search');
  });

  test('a user with a history gets the same items in another order', async () => {
    const { answer: plain } = await ask('/v1/search', { query: 'lamp', k: 8 }, 'full');
    const { answer: personal } = await ask('/v1/search', { query: 'lamp', k: 8, user: 'u1' }, 'full');
    expect(plain.variant).toBe('none');
    expect(personal.variant).toBe('full');
    expect(idsOf(personal).toSorted()).toEqual(idsOf(plain).toSorted());
    expect(idsOf(personal)).not.toEqual(idsOf(plain));
  });

  test('by vector', async () => {
    const queryVector = [1, 0, 0, 0, 0, 0, 0, 0];
    const { answer } = await ask('/v1/search', { queryVector, k: 5 }, 'vector');
    const opposite = await ask(
      '/v1/search',
      { queryVector: queryVector.map((value) => -value), k: 64 },
      'vector',
    );
    expect(answer.items).toHaveLength(5);
    expect(idsOf(opposite.answer).slice(0, 5)).not.toEqual(idsOf(answer));
  });

  test('a query that matches nothing has no items', async () => {
    expect((await ask('/v1/search', { query: 'zzzzzzzz' }, 'full')).answer.items).toEqual([]);
  });
});

describe('POST /v1/rank', () => {
  test('orders exactly the given items, whatever order they come in', async () => {
    const items = ['i4', 'i8', 'i15', 'i16', 'i23', 'i42'];
    const { answer } = await ask('/v1/rank', { user: 'u4', items });
    const { answer: reversed } = await ask('/v1/rank', { user: 'u4', items: items.toReversed() });
    expect(idsOf(answer).toSorted()).toEqual(items.toSorted());
    expect(idsOf(reversed)).toEqual(idsOf(answer));
    expect(answer.source).toBe('given');
  });

  test('scores do not depend on who shares the batch', async () => {
    const items = ['i4', 'i8', 'i15', 'i16'];
    const alone = await ask('/v1/rank', { user: 'u4', items }, 'full');
    const crowd = await Promise.all(
      Array.from({ length: 12 }, (_, user) =>
        ask('/v1/rank', { user: `u${user}`, items: [...items, 'i1'] }, 'full'),
      ),
    );
    const together = crowd[4]?.answer.items.filter(({ id }) => id !== 'i1');
    expect(together?.map(({ id }) => id)).toEqual(idsOf(alone.answer));
    together?.forEach(({ score }, place) =>
      expect(score).toBeCloseTo(alone.answer.items[place]?.score ?? NaN, 5),
    );
  });
});

describe('every answer', () => {
  test('names request, arm, variant and stage timings', async () => {
    const { answer, reply } = await ask('/v1/recommend', { user: 'u5' });
    expect(answer).toMatchObject({ experiment: 'shrink', forced: false, cached: false });
    expect([
      ['control', 'full', 'full'],
      ['treatment', 'small', 'small'],
    ]).toContainEqual([answer.arm, answer.pipeline, answer.variant]);
    expect(answer.requestId).toBe(reply.headers['x-request-id']);
    const { historyMs, retrieveMs, rankMs, queueMs, totalMs } = answer.timings;
    expect(retrieveMs).toBeGreaterThan(0);
    expect(rankMs).toBeGreaterThan(0);
    expect(queueMs).toBeGreaterThanOrEqual(0);
    expect(totalMs).toBeGreaterThanOrEqual(historyMs + retrieveMs + rankMs);
    const entries = String(reply.headers['server-timing']).split(', ');
    expect(entries.map((entry) => entry.split(';dur=')[0])).toEqual([
      'history',
      'retrieve',
      'rank',
      'queue',
      'total',
    ]);
    expect(Number(entries[4]?.split('=')[1])).toBeCloseTo(totalMs, 2);
  });

  test('takes the request id that the caller gives, unless it could be misread', async () => {
    const given = await server.post('/v1/recommend', { user: 'u1' }, { 'x-request-id': 'order.7_A-1' });
    expect(given.answer().requestId).toBe('order.7_A-1');
    for (const odd of ['a b', '', 'x'.repeat(65), '<script>']) {
      const reply = await server.post('/v1/recommend', { user: 'u1' }, { 'x-request-id': odd });
      expect(reply.answer().requestId).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    }
  });

  test('the same user meets the same arm, and both arms have users', async () => {
    const armOf = new Map<string, string | undefined>();
    for (const round of ['/v1/recommend', '/v1/search', '/v1/rank']) {
      for (let user = 0; user < TINY_USERS; user++) {
        const body = { user: `u${user}`, ...(round === '/v1/search' && { query: 'lamp' }) };
        const { answer } = await ask(round, {
          ...body,
          ...(round === '/v1/rank' && { items: ['i1', 'i2'] }),
        });
        expect(answer.arm).toBe(armOf.get(`u${user}`) ?? answer.arm);
        armOf.set(`u${user}`, answer.arm);
      }
    }
    expect(new Set(armOf.values())).toEqual(new Set(['control', 'treatment']));
  });

  test('a forced pipeline takes part in no experiment and is marked', async () => {
    for (const pipeline of ['full', 'small']) {
      const { answer } = await ask('/v1/recommend', { user: 'u5' }, pipeline);
      expect(answer).toMatchObject({
        forced: true,
        pipeline,
        variant: pipeline,
        arm: 'none',
        experiment: 'none',
      });
    }
  });

  test('comes from the cache the second time outside an experiment, with the same items', async () => {
    const body = { history: ['i20', 'i24'], k: 6 };
    const first = await ask('/v1/recommend', body, 'full');
    const second = await ask('/v1/recommend', body, 'full');
    expect([first.answer.cached, second.answer.cached]).toEqual([false, true]);
    expect(second.answer.items).toEqual(first.answer.items);
    expect(second.answer.requestId).not.toBe(first.answer.requestId);
    expect((await ask('/v1/recommend', { ...body, k: 7 }, 'full')).answer.cached).toBe(false);
    expect((await ask('/v1/recommend', body, 'small')).answer.cached).toBe(false);
  });
});

describe('what is served', () => {
  test('GET /v1/variants', async () => {
    const { variants } = (await server.get('/v1/variants')).json() as { variants: VariantStatus[] };
    expect(variants.map(({ name }) => name)).toEqual(['full', 'small']);
    const [full, small] = variants;
    expect(small).toMatchObject({ file: 'small.onnx', parent: 'full', recipe: [{ pass: 'noise' }] });
    expect(full?.runner).toMatchObject({ name: 'full', state: 'ready', restarts: 0 });
    expect(full?.runner.pid).not.toBe(small?.runner.pid);
    expect(full?.fileBytes).toBeGreaterThan(1_000);
    expect(full?.requests).toBeGreaterThan(0);
    expect(full?.latency?.p50Ms).toBeGreaterThan(0);
  });

  test('GET /v1/experiments counts requests and users by arm', async () => {
    const { experiments } = (await server.get('/v1/experiments')).json() as {
      experiments: ExperimentStatus[];
    };
    const [experiment] = experiments;
    expect(experiment).toMatchObject({ name: 'shrink', enabled: true, salt: 's1' });
    expect(experiment?.arms.map(({ share }) => share)).toEqual([0.5, 0.5]);
    const before = experiment?.arms.map(({ requests }) => requests) ?? [];
    const { answer } = await ask('/v1/recommend', { user: 'u5' });
    const after = server.engine.experiments()[0]?.arms ?? [];
    expect(
      after.map(({ name, requests }, arm) => requests - (before[arm] ?? 0) - Number(name === answer.arm)),
    ).toEqual([0, 0]);
    expect(after.reduce((sum, { users }) => sum + users, 0)).toBeGreaterThan(0);
  });

  test('GET /v1/users', async () => {
    const { users: all } = (await server.get('/v1/users')).json() as { users: string[] };
    expect(all).toEqual(Array.from({ length: TINY_USERS }, (_, user) => `u${user}`));
    const first = (await server.get('/v1/users?limit=3')).json() as { users: string[]; events: number[] };
    expect(first.users).toEqual(['u0', 'u1', 'u2']);
    // Histories of the tiny bundle hold 3 to 8 events, and not all the same number.
    expect(first.events.map((count) => count >= 3 && count <= 8)).toEqual([true, true, true]);
    const { events } = (await server.get('/v1/users')).json() as { events: number[] };
    expect(new Set(events).size).toBeGreaterThan(1);
    expect(events).toHaveLength(TINY_USERS);
  });

  test('GET /livez and /readyz', async () => {
    expect((await server.get('/livez')).json()).toEqual({ status: 'alive' });
    expect((await server.get('/readyz')).json()).toEqual({ status: 'ready' });
  });

  test('GET /docs describes every route with its fields', async () => {
    expect((await server.get('/docs')).text).toContain('swagger');
    const page = (await server.get('/docs/json')).json() as {
      paths: Record<string, Record<string, unknown>>;
    };
    const { paths } = page;
    expect(Object.keys(paths).toSorted()).toEqual([
      '/livez',
      '/metrics',
      '/readyz',
      '/v1/events',
      '/v1/experiments',
      '/v1/rank',
      '/v1/recommend',
      '/v1/search',
      '/v1/users',
      '/v1/variants',
    ]);
    const recommend = JSON.stringify(paths['/v1/recommend']?.['post']);
    for (const said of [
      'Number of items wanted',
      '"maximum":200',
      'x-whittle-pipeline',
      'retryable',
      'totalMs',
    ])
      expect(recommend).toContain(said);
  });
});

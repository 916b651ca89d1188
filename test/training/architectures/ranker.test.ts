import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { modelStats } from '../../../src/compression/index.js';
import { createRandom, float32Data, int64, must, shuffle, type Session } from '../../../src/core/index.js';
import { encodeModel, GraphBuilder, type Model } from '../../../src/onnx/index.js';
import { openSession } from '../../../src/runtime/index.js';
import { ParameterSet } from '../../../src/training/architectures/parameter-set.js';
import { featureWidth, rankerParts } from '../../../src/training/architectures/ranker.js';
import { buildRankerModel, buildTowerModel, itemVectors, tableWidth } from '../../../src/training/index.js';
import { buildRetrievalModel } from '../../../src/training/retrieval-model.js';
import { buildPartsModel } from '../../../src/training/serving-models.js';
import { ITEMS, padded, randomRanker, randomRetriever, RANKER, TOWER } from './tiny-models.js';

const retriever = randomRetriever(TOWER, 2);
const weights = randomRanker(RANKER, retriever, 3);
const EVERY_ITEM = Array.from({ length: ITEMS }, (_, index) => index + 1);

/** One user's request. */
interface Ask {
  readonly history: readonly number[];
  readonly period: number;
  readonly candidates: readonly number[];
}

const ASKS: readonly Ask[] = [
  { history: [3, 9, 1], period: 0, candidates: [5, 12, 7, 20] },
  { history: [], period: 2, candidates: [1, 2, 3, 4, 5, 6, 7] },
  { history: [20, 11, 2, 8, 13, 6], period: 1, candidates: [5] },
  { history: [5, 4], period: 1, candidates: [12, 5, 19] },
];

const sessions: Session[] = [];
async function open(model: Model): Promise<Session> {
  const session = await openSession(encodeModel(model));
  sessions.push(session);
  return session;
}
let parts: Session;
let ranker: Session;
beforeAll(async () => {
  parts = await open(buildPartsModel(RANKER, retriever, weights));
  ranker = await open(buildRankerModel(RANKER, retriever, weights, 0.75));
});
afterAll(async () => {
  for (const session of sessions) await session.release();
});

function requestFeeds(asks: readonly Ask[]): {
  history: ReturnType<typeof int64>;
  period: ReturnType<typeof int64>;
} {
  const { maxLength } = TOWER;
  const rows = asks.flatMap(({ history }) => padded(history, maxLength));
  return { history: int64(rows, [asks.length, maxLength]), period: int64(asks.map(({ period }) => period)) };
}

/** Candidate rows of all requests, in the order that `order` gives them, with their scores put back in place. */
async function outputOf(
  session: Session,
  output: string,
  asks: readonly Ask[],
  order?: ArrayLike<number>,
): Promise<number[]> {
  const rows = asks.flatMap(({ candidates }, request) =>
    candidates.map((candidate) => ({ candidate, request })),
  );
  const places = Array.from(order ?? rows.keys());
  const fed = places.map((place) => must(rows[place], 'row'));
  const outputs = await session.run({
    ...requestFeeds(asks),
    candidate: int64(fed.map(({ candidate }) => candidate)),
    request_index: int64(fed.map(({ request }) => request)),
  });
  const data = float32Data(must(outputs[output], output));
  expect(data).toHaveLength(rows.length);
  const back = rows.map(() => NaN);
  places.forEach((place, row) => (back[place] = must(data[row], 'score')));
  return back;
}

function expectClose(found: readonly number[], expected: ArrayLike<number>, digits = 4): void {
  expect(found).toHaveLength(expected.length);
  found.forEach((value, place) => expect(value).toBeCloseTo(expected[place] ?? NaN, digits));
}

describe('the ranker', () => {
  test('a batch of requests is scored as each request alone', async () => {
    for (const [session, output] of [
      [ranker, 'score'],
      [parts, 'judgement'],
    ] as const) {
      const together = await outputOf(session, output, ASKS);
      const alone: number[] = [];
      for (const ask of ASKS) alone.push(...(await outputOf(session, output, [ask])));
      expectClose(together, alone);
      // The comparison would be empty if the judgement did not depend on whose request it is.
      expect(Math.abs((together[0] ?? 0) - (together[8] ?? 0))).toBeGreaterThan(0.01);
    }
  });

  test('the order of candidates makes no difference, across requests either', async () => {
    const inOrder = await outputOf(ranker, 'score', ASKS);
    const order = shuffle(Int32Array.from(inOrder.keys()), createRandom(4));
    expectClose(await outputOf(ranker, 'score', ASKS, order), inOrder);
  });

  test('other candidates of the request make no difference', async () => {
    const ask = { history: [3, 9, 1], period: 0, candidates: EVERY_ITEM };
    const all = await outputOf(ranker, 'score', [ask]);
    for (const item of [1, 9, 20])
      expectClose(await outputOf(ranker, 'score', [{ ...ask, candidates: [item] }]), [all[item - 1] ?? NaN]);
  });

  test('the match is the dot product of the served towers', async () => {
    const tower = await open(buildTowerModel(TOWER, retriever));
    const { user } = await tower.run(requestFeeds(ASKS));
    const users = float32Data(must(user, 'user'));
    const items = itemVectors(TOWER, retriever);
    const width = tableWidth(TOWER);
    const expected = ASKS.flatMap(({ candidates }, request) =>
      candidates.map((item) => {
        let sum = 0;
        for (let column = 0; column < width; column++)
          sum += (users[request * width + column] ?? NaN) * (items[(item - 1) * width + column] ?? NaN);
        return sum;
      }),
    );
    expectClose(await outputOf(parts, 'match', ASKS), expected);
  });

  test.each([0.1, 1, 1.5])('the score is the match and %d times the judgement', async (weight) => {
    const session = await open(buildRankerModel(RANKER, retriever, weights, weight));
    const match = await outputOf(parts, 'match', ASKS);
    const judgement = await outputOf(parts, 'judgement', ASKS);
    expectClose(
      await outputOf(session, 'score', ASKS),
      match.map((value, place) => value + weight * (judgement[place] ?? NaN)),
    );
  });

  test('attention reads the history: the judgement changes with each of its items, wherever it stands', async () => {
    const candidates = [5, 12];
    const ask = { history: [3, 9, 1, 7, 8, 2], period: 0, candidates };
    const before = await outputOf(parts, 'judgement', [ask]);
    for (let place = 0; place < ask.history.length; place++) {
      const history = ask.history.with(place, 15);
      const after = await outputOf(parts, 'judgement', [{ ...ask, history }]);
      expect(Math.abs((after[0] ?? 0) - (before[0] ?? 0))).toBeGreaterThan(1e-4);
    }
  });

  test('padding counts for nothing: another padding row gives the same scores', async () => {
    const itemTable = retriever.itemTable.slice().fill(5, 0, tableWidth(TOWER));
    const session = await open(buildRankerModel(RANKER, { ...retriever, itemTable }, weights, 0.75));
    const known = ASKS.filter(({ history }) => history.length > 0);
    expectClose(await outputOf(session, 'score', known), await outputOf(ranker, 'score', known));
  });

  test('an empty history gives finite scores that tell items apart', async () => {
    const scores = await outputOf(ranker, 'score', [{ history: [], period: 0, candidates: EVERY_ITEM }]);
    expect(scores.every(Number.isFinite)).toBe(true);
    expect(new Set(scores).size).toBe(ITEMS);
  });
});

test('exact retrieval brings the items with the best match, never the padding row, at most all', async () => {
  const asks = ASKS.map((ask) => ({ ...ask, candidates: EVERY_ITEM }));
  const match = await outputOf(parts, 'match', asks);
  for (const k of [1, 5, ITEMS, 4 * ITEMS]) {
    const session = await open(buildRetrievalModel(TOWER, retriever, k));
    const { retrieved } = await session.run(requestFeeds(asks));
    const found = Array.from(must(retrieved, 'retrieved').data as BigInt64Array, Number);
    const expected = asks.flatMap((_, request) => {
      const own = match.slice(request * ITEMS, (request + 1) * ITEMS);
      return EVERY_ITEM.toSorted((a, b) => must(own[b - 1], 'match') - must(own[a - 1], 'match')).slice(0, k);
    });
    expect(found).toEqual(expected);
  }
});

test('the reference ranker has over a million dense weights and as many features as it says', () => {
  const tower = { dimensions: 64, maxLength: 50, blocks: 2, heads: 2, periods: 64 };
  const shape = { tower, crossLayers: 2, hidden: [1024, 512, 256] };
  const builder = new GraphBuilder();
  const set = new ParameterSet(builder, createRandom(1));
  let features = 0;
  rankerParts(
    set,
    shape,
    {
      seen: { history: builder.input('history', 'int64', ['requests', tower.maxLength]) },
      period: builder.input('period', 'int64', ['requests']),
      candidate: builder.input('candidate', 'int64', ['candidates']),
      requestIndex: builder.input('request_index', 'int64', ['candidates']),
      table: builder.input('table', 'float32', [ITEMS + 1, tableWidth(tower)]),
      items: ITEMS + 1,
    },
    (x, width) => {
      features = width;
      return x;
    },
  );
  expect(features).toBe(featureWidth(shape));
  // Attention over the history, two cross layers, three hidden layers and the output; and the tower's two blocks.
  const own = 2 * 64 * 64 + 2 * 320 * 320 + 320 * 1024 + 1024 * 512 + 512 * 256 + (320 + 256);
  const towerWeights = 2 * 12 * 64 * 64;
  expect(modelStats(builder.build()).denseWeights).toBe(own + towerWeights);
  expect(own).toBeGreaterThan(1_000_000);
});

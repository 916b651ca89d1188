import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createRandom, float32Data, int64, must, type Session } from '../../../src/core/index.js';
import { encodeModel, GraphBuilder, type Model } from '../../../src/onnx/index.js';
import { openSession } from '../../../src/runtime/index.js';
import { ParameterSet, type Weights } from '../../../src/training/architectures/parameter-set.js';
import { encodeHistory, itemPart, tableWidth } from '../../../src/training/architectures/user-tower.js';
import { buildTowerModel, itemVectors } from '../../../src/training/index.js';
import { addItemTable } from '../../../src/training/serving-models.js';
import { ITEMS, padded, randomRetriever, TOWER } from './tiny-models.js';
import { referenceUserVector } from './tower-reference.js';

const { dimensions: WIDTH, maxLength: LENGTH, periods: PERIODS } = TOWER;
const retriever = randomRetriever(TOWER, 1);

const sessions: Session[] = [];
async function open(model: Model): Promise<Session> {
  const session = await openSession(encodeModel(model));
  sessions.push(session);
  return session;
}
let tower: Session;
let states: Session;
beforeAll(async () => {
  tower = await open(buildTowerModel(TOWER, retriever));
  states = await open(statesModel());
});
afterAll(async () => {
  for (const session of sessions) await session.release();
});

/** The encoder as it is trained: a state at every place. */
function statesModel(): Model {
  const builder = new GraphBuilder();
  const set = new ParameterSet(builder, createRandom(0), retriever.weights);
  const history = builder.input('history', 'int64', ['requests', LENGTH]);
  const { table, items } = addItemTable(builder, TOWER, retriever);
  const past = itemPart(set, TOWER, builder.op.Gather(table, history));
  const all = encodeHistory(set, TOWER, { history }, past, items, { dropout: (x) => x, lastOnly: false });
  builder.node('Identity', [all], {}, ['states']);
  builder.output('states', 'float32', ['requests', LENGTH, WIDTH]);
  return builder.build();
}

async function userVectors(
  session: Session,
  histories: readonly (readonly number[])[],
  periods: readonly number[] = histories.map(() => 1),
  maxLength = LENGTH,
): Promise<Float32Array[]> {
  const history = int64(
    histories.flatMap((items) => padded(items, maxLength)),
    [histories.length, maxLength],
  );
  const { user } = await session.run({ history, period: int64(periods) });
  const data = float32Data(must(user, 'user'));
  const width = data.length / histories.length;
  return histories.map((_, row) => data.slice(row * width, (row + 1) * width));
}

/** States by place. */
async function statesOf(items: readonly number[]): Promise<Float32Array[]> {
  const outputs = await states.run({ history: int64(padded(items, LENGTH), [1, LENGTH]) });
  const data = float32Data(must(outputs['states'], 'states'));
  return Array.from({ length: LENGTH }, (_, place) => data.slice(place * WIDTH, (place + 1) * WIDTH));
}

function expectClose(found: Float32Array, expected: ArrayLike<number>, digits = 5): void {
  expect(found).toHaveLength(expected.length);
  found.forEach((value, place) => expect(value).toBeCloseTo(expected[place] ?? NaN, digits));
}

const HISTORIES = [[], [7], [3, 9, 1], [5, 4, 3, 2, 1], [20, 11, 2, 8, 13, 6]];

describe('the user tower', () => {
  test('is the transformer that its papers describe', async () => {
    const found = await userVectors(tower, HISTORIES, [0, 1, 2, 0, 1]);
    HISTORIES.forEach((history, row) => {
      const items = padded(history, LENGTH);
      expectClose(
        must(found[row], 'row'),
        referenceUserVector(TOWER, retriever, items, [0, 1, 2, 0, 1][row] ?? 0),
        4,
      );
    });
  });

  test.each(HISTORIES.map((history) => [history]))(
    'served and trained state are one, history %j',
    async (history) => {
      const [served] = await userVectors(tower, [history], [2]);
      const season = must(retriever.weights.get('tower.periods'), 'periods').subarray(2 * WIDTH, 3 * WIDTH);
      const trained = must((await statesOf(history)).at(-1), 'last state');
      expectClose(
        must(served, 'user').subarray(0, WIDTH),
        trained.map((value, column) => value + must(season[column], 'season')),
      );
    },
  );

  test('no state sees what comes after it, not even those of the padding in front', async () => {
    const items = [20, 11, 2, 8];
    const before = await statesOf(items);
    for (let kept = 0; kept < items.length; kept++) {
      const after = await statesOf([...items.slice(0, kept), ...[15, 16, 17, 18].slice(kept)]);
      const last = LENGTH - items.length + kept - 1;
      for (let place = 0; place <= last; place++)
        expectClose(must(after[place], 'after'), must(before[place], 'before'));
      expect(after[last + 1]).not.toEqual(before[last + 1]);
    }
  });

  test('padding counts for nothing: a longer window, or another padding row, gives the same vector', async () => {
    const longer = { ...TOWER, maxLength: LENGTH + 3 };
    const places = must(retriever.weights.get('tower.positions'), 'positions');
    const garbage = Float32Array.from({ length: (LENGTH + 3) * WIDTH }, (_, at) => Math.sin(at) * 9);
    garbage.set(places, 3 * WIDTH);
    const weights: Weights = new Map([...retriever.weights, ['tower.positions', garbage]]);
    const itemTable = retriever.itemTable.slice().fill(5, 0, tableWidth(TOWER));
    const other = await open(buildTowerModel(longer, { weights, itemTable }));
    const histories = HISTORIES.slice(1);
    const periods = histories.map(() => 1);
    const expected = await userVectors(tower, histories, periods);
    const found = await userVectors(other, histories, periods, LENGTH + 3);
    found.forEach((vector, row) => expectClose(vector, must(expected[row], 'row')));
  });

  test('each request of a batch is answered as if alone', async () => {
    const periods = [2, 0, 1, 1, 0];
    const together = await userVectors(tower, HISTORIES, periods);
    for (const [row, history] of HISTORIES.entries()) {
      const [alone] = await userVectors(tower, [history], [periods[row] ?? 0]);
      expectClose(must(together[row], 'row'), must(alone, 'alone'));
    }
  });

  test('order counts', async () => {
    const [one, other] = await userVectors(tower, [
      [3, 9, 1],
      [9, 3, 1],
    ]);
    expect(
      Math.max(...must(one, 'one').map((value, at) => Math.abs(value - (other?.[at] ?? 0)))),
    ).toBeGreaterThan(0.001);
  });

  test('the period sets the trend column that counts; the bias always does', async () => {
    const trend = must(retriever.weights.get('tower.trend')?.[0], 'trend');
    for (let period = 0; period < PERIODS; period++) {
      const [user] = await userVectors(tower, [[4, 2]], [period]);
      const expected = Array.from({ length: PERIODS }, (_, column) => (column === period ? trend : 0));
      expect([...must(user, 'user').subarray(WIDTH)]).toEqual([...expected, 1]);
    }
  });
});

test('item vectors are the table without its padding row', () => {
  const vectors = itemVectors(TOWER, retriever);
  expect(vectors).toHaveLength(ITEMS * tableWidth(TOWER));
  expect(vectors).toEqual(retriever.itemTable.slice(tableWidth(TOWER)));
});

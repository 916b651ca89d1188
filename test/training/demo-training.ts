import { createRandom, float32Data, int64, must } from '../../src/core/index.js';
import { createDemoWorld, firstInteractions, holdOutLastItem, sequencesOf } from '../../src/data/index.js';
import { encodeModel } from '../../src/onnx/index.js';
import { openSession } from '../../src/runtime/index.js';
import type {
  RetrieverTraining,
  TowerShape,
  TrainedRetriever,
  UserSequence,
} from '../../src/training/index.js';
import { buildTowerModel, itemVectors, periodBoundaries, tableWidth } from '../../src/training/index.js';
import { periodOf } from '../../src/training/periods.js';
import { buildRetrievalModel } from '../../src/training/retrieval-model.js';

/** A small made-up shop, each customer's last item held out. Item numbers from 1. */
export const ITEMS = 120;
const PERIODS = 4;
export const SHAPE: TowerShape = { dimensions: 16, maxLength: 12, blocks: 1, heads: 2, periods: PERIODS };

export interface DemoTraining {
  readonly sequences: readonly UserSequence[];
  readonly texts: readonly string[];
  readonly boundaries: readonly number[];
  /** Users with a held-out item. */
  readonly judged: readonly {
    readonly history: Int32Array;
    readonly timeSeconds: number;
    readonly item: number;
  }[];
}

export function demoTraining(users = 200): DemoTraining {
  const { dataset } = createDemoWorld({ items: ITEMS, users, interactionsPerUser: 12, seed: 5 });
  const all = firstInteractions(sequencesOf(dataset));
  const { train, targets } = holdOutLastItem(all);
  const sequences = train.items.map((items, user) => ({
    items: items.map((item) => item + 1),
    timesSeconds: must(train.timesSeconds[user], 'times'),
  }));
  const judged = targets.flatMap(([item], user) => {
    const history = must(sequences[user], 'sequence').items;
    const timeSeconds = must(all.timesSeconds[user]?.[history.length], 'time');
    return item === undefined ? [] : [{ history, timeSeconds, item: item + 1 }];
  });
  const times = sequences.flatMap(({ timesSeconds }) => [...timesSeconds]);
  const boundaries = periodBoundaries(times, PERIODS);
  return { sequences, texts: dataset.catalogue.titles, boundaries, judged };
}

/** Settings under which twenty epochs do well in a second. */
export function retrieverTraining(
  { sequences, texts, boundaries }: DemoTraining,
  given: Partial<RetrieverTraining>,
): RetrieverTraining {
  return {
    sequences,
    texts,
    shape: SHAPE,
    boundaries,
    epochs: 1,
    batchWindows: 32,
    learningRate: 1e-2,
    dropout: 0.1,
    labelSmoothing: 0.1,
    maxWords: 64,
    maxClasses: 1000,
    random: createRandom(1),
    openSession,
    threads: 1,
    onProgress: () => undefined,
    ...given,
  };
}

/** Feeds of requests: `history` and `period`. */
export function requestFeeds(
  { boundaries }: DemoTraining,
  requests: readonly { readonly history: Int32Array; readonly timeSeconds: number }[],
): { history: ReturnType<typeof int64>; period: ReturnType<typeof int64> } {
  const { maxLength } = SHAPE;
  const rows = requests.flatMap(({ history }) => {
    const recent = Array.from(history.slice(-maxLength));
    return [...Array.from({ length: maxLength - recent.length }, () => 0), ...recent];
  });
  return {
    history: int64(rows, [requests.length, maxLength]),
    period: int64(requests.map(({ timeSeconds }) => periodOf(boundaries, timeSeconds))),
  };
}

/** For each judged user all items by falling match, without what the user has had. */
export async function retrieve(demo: DemoTraining, retriever: TrainedRetriever): Promise<number[][]> {
  const session = await openSession(encodeModel(buildRetrievalModel(SHAPE, retriever, ITEMS)));
  const { retrieved } = await session.run(requestFeeds(demo, demo.judged));
  await session.release();
  const found = Array.from(must(retrieved, 'retrieved').data as BigInt64Array, Number);
  return demo.judged.map(({ history }, row) =>
    found.slice(row * ITEMS, (row + 1) * ITEMS).filter((item) => !history.includes(item)),
  );
}

/** For each judged user all items by falling popularity, without what the user has had. */
export function byPopularity({ sequences, judged }: DemoTraining): number[][] {
  const counts = new Float64Array(ITEMS + 1);
  for (const { items } of sequences) for (const item of items) counts[item] = (counts[item] ?? NaN) + 1;
  const order = Array.from({ length: ITEMS }, (_, index) => index + 1).sort(
    (a, b) => (counts[b] ?? NaN) - (counts[a] ?? NaN),
  );
  return judged.map(({ history }) => order.filter((item) => !history.includes(item)));
}

/** Mean of 1 / log2(rank + 1) of the held-out item within the first ten. */
export function meanNdcgAt10({ judged }: DemoTraining, rankings: readonly (readonly number[])[]): number {
  const sum = judged.reduce((total, { item }, user) => {
    const place = must(rankings[user], 'ranking').indexOf(item);
    return total + (place >= 0 && place < 10 ? 1 / Math.log2(place + 2) : 0);
  }, 0);
  return sum / judged.length;
}

/** By item, from 1: its match averaged over the judged users. */
export async function meanScores(demo: DemoTraining, retriever: TrainedRetriever): Promise<number[]> {
  const session = await openSession(encodeModel(buildTowerModel(SHAPE, retriever)));
  const { user } = await session.run(requestFeeds(demo, demo.judged));
  await session.release();
  const users = float32Data(must(user, 'user'));
  const items = itemVectors(SHAPE, retriever);
  const width = tableWidth(SHAPE);
  return Array.from({ length: ITEMS }, (_, item) => {
    let sum = 0;
    for (let at = 0; at < users.length; at++)
      sum += (users[at] ?? NaN) * (items[item * width + (at % width)] ?? NaN);
    return sum / demo.judged.length;
  });
}

import { must } from '../../core/index.js';
import type { Dataset, JudgedQuery } from '../../data/index.js';
import type { Answer, BundleEngine } from '../../serving/index.js';
import type { Cut } from '../bundles/protocol.js';
import type { Progress } from '../output.js';

/** Items of each list: enough for every metric. */
export const LIST_LENGTH = 20;
/** Requests in flight: enough that batches form. */
const CONCURRENCY = 16;

/** One ranked list of item indexes for each case, in their order. */
export type Rankings = readonly (readonly number[])[];

/**
 * What a pipeline recommends to each judged user at the moment of what was held out: the served path but for HTTP.
 * Empty for users who are not judged.
 */
export function servedRecommendations(
  engine: BundleEngine,
  dataset: Dataset,
  { train, targets, targetTimesSeconds }: Cut,
  pipeline: string,
  progress: Progress,
): Promise<Rankings> {
  return inParallel(targets, progress, async (held, user) => {
    if (held.length === 0) return [];
    const history = itemIds(dataset, must(train.items[user], 'history'));
    const timeMs = must(targetTimesSeconds[user], 'time') * 1000;
    const requestId = `evaluate-${user}`;
    const answer = await engine.recommend({
      requestId,
      k: LIST_LENGTH,
      history,
      timeMs,
      forcedPipeline: pipeline,
    });
    return itemIndexes(engine, answer);
  });
}

/** What a pipeline finds for each query; a query of a known user is asked with their history until then. */
export function servedSearches(
  engine: BundleEngine,
  dataset: Dataset,
  cut: Cut,
  queries: readonly JudgedQuery[],
  pipeline: string,
  progress: Progress,
): Promise<Rankings> {
  return inParallel(queries, progress, async ({ text, user, timeSeconds }, place) => {
    const items = user === undefined ? undefined : historyAt(cut, user, timeSeconds ?? Infinity);
    const answer = await engine.search({
      requestId: `evaluate-${place}`,
      k: LIST_LENGTH,
      query: text,
      forcedPipeline: pipeline,
      ...(items === undefined ? {} : { history: itemIds(dataset, items) }),
      ...(timeSeconds === undefined ? {} : { timeMs: timeSeconds * 1000 }),
    });
    return itemIndexes(engine, answer);
  });
}

/** What a user had done before a moment; later items would give away what was clicked. */
function historyAt({ train }: Cut, user: number, timeSeconds: number): Int32Array {
  const times = must(train.timesSeconds[user], 'times');
  return must(train.items[user], 'history').filter((_, place) => must(times[place], 'time') < timeSeconds);
}

function itemIds({ catalogue }: Dataset, items: Int32Array): string[] {
  return Array.from(items, (item) => must(catalogue.ids[item], 'item id'));
}

/** The bundle's rows are the data set's item indexes: the bundle was trained on it. */
function itemIndexes({ bundle }: BundleEngine, answer: Answer): number[] {
  return answer.items.map(({ id }) => must(bundle.catalogue.rowOf(id), 'row'));
}

async function inParallel<T>(
  cases: readonly T[],
  progress: Progress,
  ask: (one: T, place: number) => Promise<readonly number[]>,
): Promise<Rankings> {
  const rankings: (readonly number[])[] = [];
  let next = 0;
  let done = 0;
  const worker = async (): Promise<void> => {
    for (let place = next++; place < cases.length; place = next++) {
      rankings[place] = await ask(must(cases[place], 'case'), place);
      progress.update(++done, cases.length, `${done} of ${cases.length}`);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, worker));
  return rankings;
}

import { float32Data, int64, must, type OpenSession, type Session } from '../core/index.js';
import { encodeModel } from '../onnx/index.js';
import type { Weights } from './architectures/parameter-set.js';
import type { RankerShape } from './architectures/ranker.js';
import { periodOf } from './periods.js';
import { buildRetrievalModel } from './retrieval-model.js';
import { buildPartsModel } from './serving-models.js';
import type { TrainedRetriever } from './train-retriever.js';

/** A user's last visit, which training has not seen. */
export interface HeldOutVisit {
  /** Item numbers from 1, oldest first. */
  readonly history: Int32Array;
  readonly timeSeconds: number;
  /** Item numbers, none of them in the history. */
  readonly items: readonly number[];
}

export interface RankerWeightSearch {
  readonly visits: readonly HeldOutVisit[];
  readonly shape: RankerShape;
  readonly boundaries: readonly number[];
  readonly retriever: TrainedRetriever;
  readonly ranker: Weights;
  readonly openSession: OpenSession;
}

/** Shares tried. Never 0: a ranker without a judgement of its own would be the retriever. */
const CHOICES = [0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 1.5];
const CANDIDATES = 200;

/**
 * How much the ranker's judgement should count beside the towers' match: the weight with the best NDCG@10 on visits
 * that neither has learned from, over the candidates that retrieval brings.
 *
 * @returns the weight and the mean NDCG@10 of each choice; without visits the least weight and none.
 */
export async function chooseRankerWeight(
  search: RankerWeightSearch,
): Promise<{ weight: number; ndcgByWeight: [number, number][] }> {
  const { shape, retriever, ranker, openSession, visits } = search;
  if (visits.length === 0) return { weight: Math.min(...CHOICES), ndcgByWeight: [] };
  const retrieval = await openSession(
    encodeModel(buildRetrievalModel(shape.tower, retriever, 4 * CANDIDATES)),
  );
  const parts = await openSession(encodeModel(buildPartsModel(shape, retriever, ranker)));
  const sums = CHOICES.map(() => 0);
  for (const visit of visits) {
    const { candidates, match, judgement } = await scoreVisit(search, visit, retrieval, parts);
    CHOICES.forEach((weight, choice) => {
      const scores = match.map((value, place) => value + weight * must(judgement[place], 'judgement'));
      sums[choice] = must(sums[choice], 'sum') + ndcgAt10(candidates, scores, visit.items);
    });
  }
  await retrieval.release();
  await parts.release();
  const ndcgByWeight = CHOICES.map((weight, choice): [number, number] => [
    weight,
    must(sums[choice], 'sum') / visits.length,
  ]);
  const [weight] = ndcgByWeight.reduce((best, one) => (one[1] > best[1] ? one : best));
  return { weight, ndcgByWeight };
}

async function scoreVisit(
  { shape, boundaries }: RankerWeightSearch,
  { history, timeSeconds }: HeldOutVisit,
  retrieval: Session,
  parts: Session,
): Promise<{ candidates: number[]; match: Float32Array; judgement: Float32Array }> {
  const { maxLength } = shape.tower;
  const recent = Array.from(history.slice(-maxLength));
  const padded = [...Array.from({ length: maxLength - recent.length }, () => 0), ...recent];
  const request = {
    history: int64(padded, [1, maxLength]),
    period: int64([periodOf(boundaries, timeSeconds)]),
  };
  const { retrieved } = await retrieval.run(request, ['retrieved']);
  const owned = new Set(history);
  const found = Array.from(must(retrieved, 'retrieved').data as BigInt64Array, Number);
  const candidates = found.filter((item) => !owned.has(item)).slice(0, CANDIDATES);
  const feeds = { ...request, candidate: int64(candidates), request_index: int64(candidates.map(() => 0)) };
  const outputs = await parts.run(feeds);
  return {
    candidates,
    match: float32Data(must(outputs['match'], 'match')),
    judgement: float32Data(must(outputs['judgement'], 'judgement')),
  };
}

/** Binary gains, discount 1 / log2(rank + 1). */
function ndcgAt10(candidates: readonly number[], scores: Float32Array, relevant: readonly number[]): number {
  const wanted = new Set(relevant);
  const order = Array.from(scores.keys()).sort(
    (a, b) => must(scores[b], 'score') - must(scores[a], 'score') || a - b,
  );
  const gain = (rank: number): number => 1 / Math.log2(rank + 2);
  let sum = 0;
  order.slice(0, 10).forEach((place, rank) => {
    if (wanted.has(must(candidates[place], 'candidate'))) sum += gain(rank);
  });
  let ideal = 0;
  for (let rank = 0; rank < Math.min(10, wanted.size); rank++) ideal += gain(rank);
  return sum / ideal;
}

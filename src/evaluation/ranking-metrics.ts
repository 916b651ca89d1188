import { assert } from '../core/index.js';

/**
 * Relevance of one ranked list against what one user really wanted. Everywhere:
 * - `ranked` holds item indexes, best first, each at most once; only its first `k` count. Ties between scores were
 *   broken when the list was made, lower item index first (see `topK`), and are not averaged here.
 * - `relevant` holds the wanted items, each once. It must not be empty: a user with nothing to find is left out of a
 *   mean, not counted as 0.
 */

function checked(relevant: ArrayLike<number>, k: number): void {
  assert(relevant.length > 0, 'a user without relevant items has no metric');
  assert(Number.isSafeInteger(k) && k > 0, 'k is a positive integer');
}

/** Share of the relevant items that are in the first `k`: hits / |relevant|, so that below k relevant items 1 is reachable, above it is not. */
export function recallAtK(ranked: ArrayLike<number>, relevant: ArrayLike<number>, k: number): number {
  checked(relevant, k);
  return countHits(ranked, relevant, k) / relevant.length;
}

/** 1 where any relevant item is in the first `k`, else 0. */
export function hitRateAtK(ranked: ArrayLike<number>, relevant: ArrayLike<number>, k: number): number {
  checked(relevant, k);
  return countHits(ranked, relevant, k) > 0 ? 1 : 0;
}

/** 1 / rank of the first relevant item (rank 1 is the top), 0 where none is in the first `k`. */
export function mrrAtK(ranked: ArrayLike<number>, relevant: ArrayLike<number>, k: number): number {
  checked(relevant, k);
  const wanted = new Set(Array.from(relevant));
  for (let position = 0; position < Math.min(k, ranked.length); position++)
    if (wanted.has(ranked[position] ?? -1)) return 1 / (position + 1);
  return 0;
}

/**
 * Normalised discounted cumulative gain: Σ gain / log₂(rank + 1) over the first `k`, divided by that sum for the best
 * order possible, which has min(k, |relevant|) terms. Gains are linear; absent, each relevant item has gain 1. They
 * align with `relevant`, are not negative and not all 0.
 */
export function ndcgAtK(
  ranked: ArrayLike<number>,
  relevant: ArrayLike<number>,
  k: number,
  gains?: ArrayLike<number>,
): number {
  checked(relevant, k);
  const gainOf = new Map(Array.from(relevant, (item, index) => [item, gains?.[index] ?? 1]));
  const ideal = discountedGain(
    [...gainOf.values()].sort((a, b) => b - a),
    k,
  );
  assert(ideal > 0, 'some gain is positive');
  return (
    discountedGain(
      Array.from({ length: Math.min(k, ranked.length) }, (_, at) => gainOf.get(ranked[at] ?? -1) ?? 0),
      k,
    ) / ideal
  );
}

/** Σ gain / log₂(rank + 1) over the first `k` gains of a list. */
export function discountedGain(gains: ArrayLike<number>, k: number): number {
  let sum = 0;
  for (let position = 0; position < Math.min(k, gains.length); position++)
    sum += (gains[position] ?? 0) / Math.log2(position + 2);
  return sum;
}

function countHits(ranked: ArrayLike<number>, relevant: ArrayLike<number>, k: number): number {
  const wanted = new Set(Array.from(relevant));
  let hits = 0;
  for (let position = 0; position < Math.min(k, ranked.length); position++)
    if (wanted.has(ranked[position] ?? -1)) hits++;
  return hits;
}

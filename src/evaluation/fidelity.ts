import { WhittleError } from '../core/index.js';
import { discountedGain } from './ranking-metrics.js';

/**
 * How closely a variant ranks like the full model on one request; nothing here needs labels. Ranked lists hold item or
 * candidate indexes, best first, each at most once. Scores hold one number a candidate, larger is better.
 */

/**
 * Number of indexes that are in the first `k` of both lists, divided by k, or by the length of the longer list where
 * that is less than k. 1 where both lists are empty.
 */
export function overlapAtK(a: ArrayLike<number>, b: ArrayLike<number>, k: number): number {
  const depth = Math.min(k, Math.max(a.length, b.length));
  if (depth === 0) return 1;
  const head = new Set(Array.from(a).slice(0, depth));
  const shared = Array.from(b)
    .slice(0, depth)
    .filter((index) => head.has(index));
  return shared.length / depth;
}

/**
 * NDCG@k of an order of candidates with the full model's scores as gains, brought to 0 … 1 over the candidates by
 * (score − min) / (max − min); the best order is the scores' own. 1 where all scores are equal, since no order is then
 * worse than another.
 * @param ranked Positions in `scores`, best first; what is missing from it counts as ranked below `k`.
 * @throws INPUT_INVALID where a score is not finite.
 */
export function scoreNdcgAtK(ranked: ArrayLike<number>, scores: ArrayLike<number>, k: number): number {
  const sorted = finite(scores).sort((a, b) => b - a);
  const high = sorted[0] ?? 0;
  const low = sorted.at(-1) ?? 0;
  if (high === low) return 1;
  const gain = (score: number): number => (score - low) / (high - low);
  const obtained = Array.from(ranked)
    .slice(0, k)
    .map((position) => gain(scores[position] ?? low));
  return discountedGain(obtained, k) / discountedGain(sorted.map(gain), k);
}

/**
 * Mean absolute difference of a variant's scores from the full model's on the same candidates, in (population)
 * standard deviations of the full model's scores. 0 where no score differs.
 * @throws STATISTIC_UNDEFINED where scores differ but the full model's are all equal, INPUT_INVALID where lengths
 * differ or a score is not finite.
 */
export function scoreError(variant: ArrayLike<number>, full: ArrayLike<number>): number {
  checkAligned(variant, full);
  const reference = finite(full);
  const difference = mean(finite(variant).map((score, index) => Math.abs(score - (reference[index] ?? 0))));
  if (!(difference > 0)) return 0;
  const centre = mean(reference);
  const deviation = Math.sqrt(mean(reference.map((score) => (score - centre) ** 2)));
  if (deviation === 0)
    throw new WhittleError('STATISTIC_UNDEFINED', 'The full model gives all candidates the same score', {
      candidates: full.length,
    });
  return difference / deviation;
}

/**
 * Rank-biased overlap, extrapolated (Webber, Moffat and Zobel 2010, RBO_EXT, equation 30), of the first n of both
 * lists, n being the shorter length: X_n/n · pⁿ + (1 − p)/p · Σ_{d=1}^{n} X_d/d · p^d, where X_d is the number of
 * indexes in the first d of both. 1 where both lists agree in order, or where both are empty; 0 where one is.
 * @param p Persistence, in (0, 1): at 0.9 the first ten places have 86 % of the weight.
 */
export function rankBiasedOverlap(a: ArrayLike<number>, b: ArrayLike<number>, p = 0.9): number {
  if (!(p > 0 && p < 1))
    throw new WhittleError('INPUT_INVALID', 'p must lie between 0 and 1', { field: 'p', value: p });
  const depth = Math.min(a.length, b.length);
  if (depth === 0) return a.length === b.length ? 1 : 0;
  const seen = new Set<number>();
  let [shared, sum] = [0, 0];
  for (let place = 0; place < depth; place++) {
    for (const index of [a[place] ?? -1, b[place] ?? -1])
      if (seen.has(index)) shared++;
      else seen.add(index);
    sum += (shared / (place + 1)) * p ** (place + 1);
  }
  return (shared / depth) * p ** depth + ((1 - p) / p) * sum;
}

/**
 * Kendall's τ-b of two score lists over the same candidates: (concordant − discordant) / √((n₀ − n₁)(n₀ − n₂)), with
 * n₀ all pairs and n₁, n₂ the pairs tied in the one and the other. Time grows with the square of the candidates.
 * @throws STATISTIC_UNDEFINED where one list has no two different scores, INPUT_INVALID where lengths differ or a score
 * is not finite.
 */
export function kendallTau(a: ArrayLike<number>, b: ArrayLike<number>): number {
  checkAligned(a, b);
  finite(a);
  finite(b);
  let [sum, untiedA, untiedB] = [0, 0, 0];
  for (let i = 1; i < a.length; i++)
    for (let j = 0; j < i; j++) {
      const signA = Math.sign((a[i] ?? 0) - (a[j] ?? 0));
      const signB = Math.sign((b[i] ?? 0) - (b[j] ?? 0));
      sum += signA * signB;
      untiedA += signA * signA;
      untiedB += signB * signB;
    }
  if (untiedA === 0 || untiedB === 0)
    throw new WhittleError('STATISTIC_UNDEFINED', 'A list of scores has no two different ones', {
      candidates: a.length,
    });
  return sum / Math.sqrt(untiedA * untiedB);
}

function mean(values: readonly number[]): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum / values.length;
}

/** A copy of the scores. @throws INPUT_INVALID where one is not finite: no order could be trusted. */
function finite(scores: ArrayLike<number>): number[] {
  const copy = Array.from(scores);
  const at = copy.findIndex((score) => !Number.isFinite(score));
  if (at >= 0)
    throw new WhittleError('INPUT_INVALID', 'A score is not a finite number', {
      candidate: at,
      value: String(copy[at]),
    });
  return copy;
}

function checkAligned(a: ArrayLike<number>, b: ArrayLike<number>): void {
  if (a.length !== b.length)
    throw new WhittleError('INPUT_INVALID', 'Both models must score the same candidates', {
      lengths: [a.length, b.length],
    });
}

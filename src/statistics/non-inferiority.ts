import { checkProbability, lowerBound, studentQuantile, undefinedStatistic } from './estimate.js';
import { contrastEstimate, type PairStatistics } from './pair-statistics.js';

/** The test that accepts a compressed model. */
export interface NonInferiority {
  /** Whether the compressed model is shown to lose less than the margin. */
  readonly accepted: boolean;
  /** Part of the full model's relevance that may be lost, for example 0.01. */
  readonly margin: number;
  /** Chance of accepting a model that loses just the margin. */
  readonly alpha: number;
  readonly users: number;
  /** Mean of the compressed model over that of the full one. */
  readonly retention: number;
  /** One-sided lower bound of the retention at level 1 − alpha; accepted means that it is above 1 − margin. */
  readonly retentionLow: number;
  /** Mean over users of compressed − (1 − margin) · full, and its one-sided lower bound. */
  readonly contrast: number;
  readonly contrastLow: number;
}

/**
 * The lowest retention that the test would not reject: the smaller root in ρ of (x̄ − ρȳ)² = t²·Var(x̄ − ρȳ)
 * (Fieller 1954).
 */
function fiellerLow(pairs: PairStatistics, alpha: number): number {
  const { count, meanX, meanY, squaredX, squaredY, product } = pairs;
  const scale = studentQuantile(1 - alpha, count - 1) ** 2 / (count * (count - 1));
  const a = meanY * meanY - scale * squaredY;
  if (!(a > 0 && meanY > 0))
    throw undefinedStatistic('A retention needs a full model whose mean is clearly above 0: add users.', {
      users: count,
      full: meanY,
    });
  const b = meanX * meanY - scale * product;
  const c = meanX * meanX - scale * squaredX;
  return (b - Math.sqrt(Math.max(0, b * b - a * c))) / a;
}

/**
 * Paired non-inferiority test on pairs (compressed, full) of a relevance metric, one pair a user. Null
 * hypothesis: μ_compressed ≤ (1 − margin)·μ_full; rejected, so accepted as good enough, where the one-sided
 * lower bound of the contrast μ_compressed − (1 − margin)·μ_full is above 0.
 * @throws STATISTIC_UNDEFINED below two users, where the full model's mean is not clearly above 0, where the
 * contrast is the same for every user, and for a margin or alpha outside (0, 1).
 */
export function nonInferiority(pairs: PairStatistics, margin: number, alpha = 0.05): NonInferiority {
  checkProbability(margin, 'margin');
  checkProbability(alpha, 'alpha');
  const contrast = contrastEstimate(pairs, 1 - margin);
  const contrastLow = lowerBound(contrast, alpha);
  return {
    accepted: contrastLow > 0,
    margin,
    alpha,
    users: pairs.count,
    retention: pairs.meanX / pairs.meanY,
    retentionLow: fiellerLow(pairs, alpha),
    contrast: contrast.mean,
    contrastLow,
  };
}

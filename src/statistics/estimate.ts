import tQuantile from '@stdlib/stats-base-dists-t-quantile';
import { WhittleError } from '../core/index.js';

/** A mean with its confidence interval; `low` and `high` are absent where the spread cannot be estimated. */
export interface Interval {
  readonly mean: number;
  readonly low?: number;
  readonly high?: number;
}

/** A point estimate with the standard error of its (approximately Student t) sampling distribution. */
export interface Estimate {
  readonly mean: number;
  readonly standardError: number;
  readonly degreesOfFreedom: number;
}

/** The error for a statistic that has no value on this input. */
export function undefinedStatistic(reason: string, details: Readonly<Record<string, unknown>>): WhittleError {
  return new WhittleError('STATISTIC_UNDEFINED', reason, details);
}

/** @throws STATISTIC_UNDEFINED unless `probability` lies strictly between 0 and 1. */
export function checkProbability(probability: number, field: string): void {
  if (!(probability > 0 && probability < 1))
    throw undefinedStatistic(`${field} must lie strictly between 0 and 1.`, { field, value: probability });
}

/**
 * Quantile of Student's t distribution.
 * @throws STATISTIC_UNDEFINED for a probability outside (0, 1) or degrees of freedom that are not positive.
 */
export function studentQuantile(probability: number, degreesOfFreedom: number): number {
  checkProbability(probability, 'probability');
  if (!(degreesOfFreedom > 0))
    throw undefinedStatistic("Student's t needs positive degrees of freedom.", { degreesOfFreedom });
  return tQuantile(probability, degreesOfFreedom);
}

function checkSpread(estimate: Estimate): void {
  if (!(estimate.standardError > 0 && Number.isFinite(estimate.standardError)))
    throw undefinedStatistic('An interval needs a standard error above zero: all samples are equal.', {
      ...estimate,
    });
}

/**
 * Two-sided confidence interval by Student t.
 * @throws STATISTIC_UNDEFINED where the standard error is zero, never an interval of zero width.
 */
export function confidenceInterval(estimate: Estimate, level = 0.95): Required<Interval> {
  checkProbability(level, 'level');
  checkSpread(estimate);
  const half = studentQuantile((1 + level) / 2, estimate.degreesOfFreedom) * estimate.standardError;
  return { mean: estimate.mean, low: estimate.mean - half, high: estimate.mean + half };
}

/**
 * One-sided lower confidence bound at level 1 − alpha.
 * @throws STATISTIC_UNDEFINED where the standard error is zero.
 */
export function lowerBound(estimate: Estimate, alpha = 0.05): number {
  checkSpread(estimate);
  return estimate.mean - studentQuantile(1 - alpha, estimate.degreesOfFreedom) * estimate.standardError;
}

import { confidenceInterval, undefinedStatistic, type Estimate, type Interval } from './estimate.js';

/**
 * Sufficient statistics of a mean: immutable and addable, merging two parts equals pooling their samples. Held as
 * mean and centred sum of squares (Welford 1962), which keeps its digits where sum and sum of squares would not.
 */
export interface MeanStatistics {
  readonly count: number;
  readonly mean: number;
  /** Σ(x − mean)². */
  readonly squaredDeviations: number;
}

/** The statistics of no samples. */
export const emptyMean: MeanStatistics = { count: 0, mean: 0, squaredDeviations: 0 };

/**
 * The statistics with one more sample.
 * @throws STATISTIC_UNDEFINED where `value` is not finite.
 */
export function addSample(statistics: MeanStatistics, value: number): MeanStatistics {
  if (!Number.isFinite(value)) throw undefinedStatistic('A sample of a mean must be finite.', { value });
  const count = statistics.count + 1;
  const delta = value - statistics.mean;
  const mean = statistics.mean + delta / count;
  return { count, mean, squaredDeviations: statistics.squaredDeviations + delta * (value - mean) };
}

/** The statistics of `values`. @throws STATISTIC_UNDEFINED where one is not finite. */
export function meanStatistics(values: Iterable<number>): MeanStatistics {
  let statistics = emptyMean;
  for (const value of values) statistics = addSample(statistics, value);
  return statistics;
}

/** The statistics of both parts' samples together (Chan, Golub and LeVeque 1979). */
export function mergeMeans(a: MeanStatistics, b: MeanStatistics): MeanStatistics {
  if (a.count === 0) return b;
  if (b.count === 0) return a;
  const count = a.count + b.count;
  const delta = b.mean - a.mean;
  return {
    count,
    mean: a.mean + (delta * b.count) / count,
    squaredDeviations:
      a.squaredDeviations + b.squaredDeviations + (delta * delta * a.count * b.count) / count,
  };
}

/** Unbiased sample variance, divided by count − 1. @throws STATISTIC_UNDEFINED below two samples. */
export function variance(statistics: MeanStatistics): number {
  if (statistics.count < 2)
    throw undefinedStatistic('A variance needs at least two samples.', { count: statistics.count });
  return statistics.squaredDeviations / (statistics.count - 1);
}

/** The mean with its standard error. @throws STATISTIC_UNDEFINED below two samples. */
export function meanEstimate(statistics: MeanStatistics): Estimate {
  return {
    mean: statistics.mean,
    standardError: Math.sqrt(variance(statistics) / statistics.count),
    degreesOfFreedom: statistics.count - 1,
  };
}

/**
 * The mean with its confidence interval by Student t, for reports. The bounds are absent where nothing is known
 * about the spread: below two samples, and where all samples are equal (never an interval of zero width).
 * @throws STATISTIC_UNDEFINED without samples.
 */
export function meanInterval(statistics: MeanStatistics, level = 0.95): Interval {
  if (statistics.count === 0) throw undefinedStatistic('A mean needs at least one sample.', { count: 0 });
  if (statistics.count === 1 || statistics.squaredDeviations === 0) return { mean: statistics.mean };
  return confidenceInterval(meanEstimate(statistics), level);
}

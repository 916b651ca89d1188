import { undefinedStatistic, type Estimate } from './estimate.js';

/**
 * Sufficient statistics of pairs (x, y), one pair a user: immutable and addable, merging two parts equals
 * pooling their users. A user's pair is the sums over their requests, so that requests of one user, which
 * resemble each other, count as the one sample they are.
 */
export interface PairStatistics {
  /** Users. */
  readonly count: number;
  readonly meanX: number;
  readonly meanY: number;
  /** Σ(x − meanX)². */
  readonly squaredX: number;
  /** Σ(y − meanY)². */
  readonly squaredY: number;
  /** Σ(x − meanX)(y − meanY). */
  readonly product: number;
}

/** The statistics of no users. */
export const emptyPairs: PairStatistics = {
  count: 0,
  meanX: 0,
  meanY: 0,
  squaredX: 0,
  squaredY: 0,
  product: 0,
};

/** The statistics of both parts' users together (Chan, Golub and LeVeque 1979). */
export function mergePairs(a: PairStatistics, b: PairStatistics): PairStatistics {
  if (a.count === 0) return b;
  if (b.count === 0) return a;
  const count = a.count + b.count;
  const deltaX = b.meanX - a.meanX;
  const deltaY = b.meanY - a.meanY;
  const weight = (a.count * b.count) / count;
  return {
    count,
    meanX: a.meanX + (deltaX * b.count) / count,
    meanY: a.meanY + (deltaY * b.count) / count,
    squaredX: a.squaredX + b.squaredX + deltaX * deltaX * weight,
    squaredY: a.squaredY + b.squaredY + deltaY * deltaY * weight,
    product: a.product + b.product + deltaX * deltaY * weight,
  };
}

/** The statistics with one more user. @throws STATISTIC_UNDEFINED where a number is not finite. */
export function addPair(statistics: PairStatistics, x: number, y: number): PairStatistics {
  if (!Number.isFinite(x) || !Number.isFinite(y))
    throw undefinedStatistic('Both numbers of a pair must be finite.', { x, y });
  return mergePairs(statistics, { ...emptyPairs, count: 1, meanX: x, meanY: y });
}

/**
 * The statistics without a user who was added with this pair: the inverse of {@link addPair}, so that a user whose sums
 * grow is replaced in constant time.
 */
export function removePair(statistics: PairStatistics, x: number, y: number): PairStatistics {
  const count = statistics.count - 1;
  if (count <= 0) return emptyPairs;
  const meanX = statistics.meanX - (x - statistics.meanX) / count;
  const meanY = statistics.meanY - (y - statistics.meanY) / count;
  const weight = count / statistics.count;
  return {
    count,
    meanX,
    meanY,
    squaredX: Math.max(0, statistics.squaredX - (x - meanX) ** 2 * weight),
    squaredY: Math.max(0, statistics.squaredY - (y - meanY) ** 2 * weight),
    product: statistics.product - (x - meanX) * (y - meanY) * weight,
  };
}

/** The statistics of `pairs` of [x, y]. @throws STATISTIC_UNDEFINED where a number is not finite. */
export function pairStatistics(pairs: Iterable<readonly [number, number]>): PairStatistics {
  let statistics = emptyPairs;
  for (const [x, y] of pairs) statistics = addPair(statistics, x, y);
  return statistics;
}

/** Below this part of its terms a variance is rounding error. */
const ROUNDING = 1e-14;

/**
 * The mean of x − factor · y with its standard error, 0 where the contrast is the same for every user.
 * @throws STATISTIC_UNDEFINED below two users.
 */
export function contrastEstimate(statistics: PairStatistics, factor: number): Estimate {
  const { count, meanX, meanY, squaredX, squaredY, product } = statistics;
  if (count < 2) throw undefinedStatistic('A contrast needs at least two users.', { users: count });
  const squared = squaredX - 2 * factor * product + factor * factor * squaredY;
  const scale = squaredX + factor * factor * squaredY;
  const spread = squared > ROUNDING * scale ? squared : 0;
  return {
    mean: meanX - factor * meanY,
    standardError: Math.sqrt(spread / (count - 1) / count),
    degreesOfFreedom: count - 1,
  };
}

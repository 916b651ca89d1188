import { must, WhittleError } from '../core/index.js';
import {
  confidenceInterval,
  meanInterval,
  meanStatistics,
  pairStatistics,
  ratioEstimate,
  type Interval,
  type PairStatistics,
} from '../statistics/index.js';
import { hitRateAtK, mrrAtK, ndcgAtK, recallAtK } from './ranking-metrics.js';

type Metric = (ranked: ArrayLike<number>, relevant: ArrayLike<number>) => number;

const METRICS = {
  'recall@10': (ranked, relevant) => recallAtK(ranked, relevant, 10),
  'recall@20': (ranked, relevant) => recallAtK(ranked, relevant, 20),
  'NDCG@10': (ranked, relevant) => ndcgAtK(ranked, relevant, 10),
  'MRR@10': (ranked, relevant) => mrrAtK(ranked, relevant, 10),
  'HR@10': (ranked, relevant) => hitRateAtK(ranked, relevant, 10),
} as const satisfies Record<string, Metric>;

export type RelevanceMetric = keyof typeof METRICS;

/** Names of the metrics, in the order of a table. */
export const RELEVANCE_METRICS = Object.keys(METRICS) as readonly RelevanceMetric[];

/** One ranker's relevance for single users, kept apart so that rankers can be compared user by user. */
export interface UserRelevance {
  /** Judged users, by their index in the split. */
  readonly users: readonly number[];
  /** Per metric one value a judged user, aligned with `users`. */
  readonly values: Readonly<Record<RelevanceMetric, Float64Array>>;
}

export interface RelevanceRow {
  readonly metric: RelevanceMetric;
  /** Judged users: the denominator of the mean. */
  readonly users: number;
  /** Mean over users with its 95 % confidence interval. */
  readonly interval: Interval;
}

/**
 * Relevance of ranked lists (item indexes, best first, at least 20 where there are as many) against held-out items.
 * Users without targets are left out.
 * @throws STATISTIC_UNDEFINED where no user has targets.
 */
export function measureRelevance(
  ranked: readonly ArrayLike<number>[],
  targets: readonly ArrayLike<number>[],
): UserRelevance {
  const users = targets.flatMap((held, user) => (held.length > 0 ? [user] : []));
  if (users.length === 0) throw new WhittleError('STATISTIC_UNDEFINED', 'No user has anything held out');
  const values = RELEVANCE_METRICS.map((name) => [
    name,
    Float64Array.from(users, (user) =>
      METRICS[name](must(ranked[user], 'ranked list'), must(targets[user], 'targets')),
    ),
  ]);
  return { users, values: Object.fromEntries(values) as UserRelevance['values'] };
}

/** One row a metric: the mean over users and its confidence interval (absent below two users). */
export function summariseRelevance({ users, values }: UserRelevance): readonly RelevanceRow[] {
  return RELEVANCE_METRICS.map((metric) => ({
    metric,
    users: users.length,
    interval: meanInterval(meanStatistics(values[metric])),
  }));
}

/**
 * Pairs (variant, full) of a metric, one a user, as the non-inferiority test takes them.
 * @throws INPUT_INVALID where the two were not measured on the same users.
 */
function pairRelevance(variant: UserRelevance, full: UserRelevance, metric: RelevanceMetric): PairStatistics {
  const same =
    variant.users.length === full.users.length &&
    variant.users.every((user, index) => user === full.users[index]);
  if (!same)
    throw new WhittleError('INPUT_INVALID', 'Both rankers must be measured on the same users', {
      users: [variant.users.length, full.users.length],
    });
  const other = full.values[metric];
  return pairStatistics(
    Array.from(variant.values[metric], (value, index) => [value, other[index] ?? 0] as const),
  );
}

/**
 * Retention: the variant's mean divided by the full model's, with a 95 % confidence interval paired by user (delta
 * method on the ratio). Bounds are absent below two users and where every user has the same ratio.
 * @throws STATISTIC_UNDEFINED where the full model's mean is 0, INPUT_INVALID where users differ.
 */
export function retention(variant: UserRelevance, full: UserRelevance, metric: RelevanceMetric): Interval {
  const pairs = pairRelevance(variant, full, metric);
  if (pairs.count < 2 && pairs.meanY > 0) return { mean: pairs.meanX / pairs.meanY };
  const estimate = ratioEstimate(pairs);
  return estimate.standardError > 0 ? confidenceInterval(estimate) : { mean: estimate.mean };
}

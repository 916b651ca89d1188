import { checkProbability, undefinedStatistic, type Interval } from './estimate.js';

const RELATIVE_ERROR = 0.01;
/** Width of a bucket as the ratio of its ends; its middle is then within the error of both. */
const GROWTH = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR);
const LN_GROWTH = Math.log(GROWTH);
/** Shorter times count as this, longer ones as {@link LONGEST_MS}. */
const SHORTEST_MS = 0.001;
const LONGEST_MS = 3_600_000;
const BUCKETS = Math.ceil(Math.log(LONGEST_MS / SHORTEST_MS) / LN_GROWTH) + 1;
/** 97.5 % quantile of the normal distribution. */
const Z_TWO_SIDED = 1.959963984540054;

/** Bucket i holds (SHORTEST·GROWTH^(i−1), SHORTEST·GROWTH^i]. */
function bucketOf(timeMs: number): number {
  const bounded = Math.min(Math.max(timeMs, SHORTEST_MS), LONGEST_MS);
  return Math.min(BUCKETS - 1, Math.max(0, Math.ceil(Math.log(bounded / SHORTEST_MS) / LN_GROWTH)));
}

/** The longest time of a bucket. */
function bucketEnd(bucket: number): number {
  return SHORTEST_MS * GROWTH ** bucket;
}

/** The time that is within the relative error of both ends of a bucket. */
function bucketMiddle(bucket: number): number {
  return (2 * bucketEnd(bucket)) / (1 + GROWTH);
}

/**
 * Latency histogram in bounded memory (about 1,100 counters) with buckets that grow by a constant ratio, so
 * that a quantile is within 1 % of the exact one (DDSketch, Masson, Rim and Lee 2019). Times from 1 µs to 1
 * h; others count as the nearest of these. Quantile p is the time of rank ⌈p·count⌉.
 */
export class LatencyHistogram {
  private readonly buckets = new Float64Array(BUCKETS);
  private total = 0;

  /** Times recorded. */
  get count(): number {
    return this.total;
  }

  /** Counts a time in milliseconds. @throws STATISTIC_UNDEFINED where it is negative or not finite. */
  record(timeMs: number): void {
    if (!(timeMs >= 0 && Number.isFinite(timeMs)))
      throw undefinedStatistic('A latency must be a finite number of at least 0.', { timeMs });
    const bucket = bucketOf(timeMs);
    this.buckets[bucket] = (this.buckets[bucket] ?? 0) + 1;
    this.total++;
  }

  /** Adds the other's counts: the same as if its times had been recorded here. */
  merge(other: LatencyHistogram): void {
    for (let bucket = 0; bucket < BUCKETS; bucket++)
      this.buckets[bucket] = (this.buckets[bucket] ?? 0) + (other.buckets[bucket] ?? 0);
    this.total += other.total;
  }

  /** The quantile in milliseconds. @throws STATISTIC_UNDEFINED without times, and for p outside (0, 1). */
  quantile(p: number): number {
    checkProbability(p, 'p');
    if (this.total === 0) throw undefinedStatistic('A quantile needs at least one time.', { count: 0 });
    return bucketMiddle(this.bucketAt(Math.ceil(p * this.total)));
  }

  /**
   * The quantile with its 95 % confidence interval: the times of ranks n(p ± z·√(p(1 − p)/n)), out to the
   * ends of their buckets. `designEffect` widens it where times of one user resemble each other: the variance
   * of the share of times under the quantile, clustered by user (`ratioEstimate`), over p(1 − p)/n (arXiv
   * 2401.14549). At 1 the times are taken to be independent, which those of users with many requests are not.
   * @throws STATISTIC_UNDEFINED where there are too few times for a bound: below 381 for p99 at a design
   * effect of 1.
   */
  quantileInterval(p: number, designEffect = 1): Required<Interval> {
    const mean = this.quantile(p);
    const half = Z_TWO_SIDED * Math.sqrt((designEffect * p * (1 - p)) / this.total);
    const [lowRank, highRank] = [Math.floor(this.total * (p - half)), Math.ceil(this.total * (p + half))];
    if (!(lowRank >= 1 && highRank <= this.total))
      throw undefinedStatistic('There are too few times for the interval of this quantile.', {
        p,
        designEffect,
        count: this.total,
      });
    return { mean, low: bucketEnd(this.bucketAt(lowRank) - 1), high: bucketEnd(this.bucketAt(highRank)) };
  }

  /** The bucket with the time of a rank from 1 to count. */
  private bucketAt(rank: number): number {
    let seen = 0;
    let bucket = -1;
    while (seen < rank && bucket < BUCKETS - 1) seen += this.buckets[++bucket] ?? 0;
    return bucket;
  }
}

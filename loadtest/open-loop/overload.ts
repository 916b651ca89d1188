import { must } from '../../src/core/index.js';
import type { SecondResult } from '../generator/plan.js';
import { constantRate, runBlock, segmentFigures, type Bench, type Target } from './blocks.js';
import type { Figures } from './figures.js';
import { findRates, type FoundRate } from './find-rate.js';

/** What an overload did. */
export interface OverloadResult {
  readonly target: string;
  readonly peakRate: number;
  readonly times: number;
  /** The search for the peak; absent where the rate was given. */
  readonly search?: FoundRate;
  readonly peak: Figures;
  readonly overload: Figures;
  readonly after: Figures;
  /** Goodput under overload divided by the peak's. */
  readonly goodputShare: number;
  /** Refused requests that came with Retry-After, as a share; absent where none was refused. */
  readonly retryAfterShare?: number;
  /** Seconds from the overload's end to the end of the first second that is well again; absent where none was. */
  readonly recoverySeconds?: number;
  /** By second from the start of the peak. */
  readonly seconds: readonly SecondResult[];
}

/** An answer that takes longer than this many objectives under overload is no goodput. */
const LIMIT_OBJECTIVES = 2;
/** Load after the overload, as a share of the peak. */
const AFTER_SHARE = 0.5;
/** A second in which more than this failed is not well. */
const MAX_FAILED_SHARE = 0.01;

/**
 * The peak rate, then a multiple of it, then half of it, without a pause: what is left of the goodput, how the rest is
 * refused, and how soon the server is well again. Answers undefined where no peak was found.
 */
export async function runOverload(bench: Bench, target: Target): Promise<OverloadResult | FoundRate> {
  const { options, note } = bench;
  const times = must(options.overload, 'factor of the overload');
  const search = options.rate === undefined ? (await findRates(bench, [target]))[0] : undefined;
  const peakRate = options.rate ?? search?.rate;
  if (peakRate === undefined) return must(search, 'search');
  const { seconds, p99Ms } = options;
  note(`${target.name}: ${seconds} s each at ${peakRate.toFixed(1)}/s, ${times} times that, half of it`);
  const block = await runBlock(bench, {
    target,
    segments: [1, times, AFTER_SHARE].map((share) => constantRate(share * peakRate, seconds)),
    limitMs: LIMIT_OBJECTIVES * p99Ms,
  });
  const [peak, overload, after] = [0, 1, 2].map((place) => segmentFigures([block], place));
  const recovery = recoverySeconds(block.load.seconds.slice(2 * seconds), p99Ms);
  return {
    target: target.name,
    peakRate,
    times,
    ...(search === undefined ? {} : { search }),
    ...comparison(must(peak, 'peak'), must(overload, 'overload'), must(after, 'after')),
    ...(recovery === undefined ? {} : { recoverySeconds: recovery }),
    seconds: block.load.seconds,
  };
}

function comparison(
  peak: Figures,
  overload: Figures,
  after: Figures,
): Pick<OverloadResult, 'peak' | 'overload' | 'after' | 'goodputShare' | 'retryAfterShare'> {
  const { refused, refusedWithRetryAfter } = overload;
  return {
    peak,
    overload,
    after,
    goodputShare: overload.goodputPerSecond / peak.goodputPerSecond,
    ...(refused === 0 ? {} : { retryAfterShare: refusedWithRetryAfter / refused }),
  };
}

/**
 * Seconds until the server is well again: the end of the first second, counted by schedule, whose p99 is within the
 * objective and of which at most 1 % failed.
 */
export function recoverySeconds(after: readonly SecondResult[], p99Ms: number): number | undefined {
  const place = after.findIndex(
    ({ scheduled, ok, p99Micros }) =>
      p99Micros !== undefined &&
      p99Micros <= p99Ms * 1000 &&
      (scheduled - ok) / scheduled <= MAX_FAILED_SHARE,
  );
  return place === -1 ? undefined : place + 1;
}

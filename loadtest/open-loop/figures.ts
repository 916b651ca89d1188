import { LatencyHistogram, type HistogramData } from '../generator/histogram-kernel.js';
import type { GroupResult } from '../generator/plan.js';

/** What an open loop measured. Latencies count from the schedule and are those of answers with 2xx. */
export interface Figures {
  readonly seconds: number;
  readonly scheduled: number;
  readonly offeredPerSecond: number;
  /** Answers with 2xx: those behind the quantiles. */
  readonly ok: number;
  readonly okPerSecond: number;
  /** Answers with 2xx within the limit of the run. */
  readonly goodputPerSecond: number;
  readonly p50Ms?: number;
  readonly p90Ms?: number;
  readonly p99Ms?: number;
  /** 95 % interval of p99 by order statistics; the upper end is absent where there are too few answers. */
  readonly p99LowMs?: number;
  readonly p99HighMs?: number;
  readonly p999Ms?: number;
  readonly maxMs?: number;
  readonly statuses: Readonly<Record<string, number>>;
  /** Answered with 429 or 503, those of them with Retry-After, and how soon. */
  readonly refused: number;
  readonly refusedWithRetryAfter: number;
  readonly refusedP99Ms?: number;
  /** No 2xx and not refused: other statuses, no answer in time, broken connections. */
  readonly failed: number;
  readonly timeouts: number;
  readonly connectionErrors: number;
  /** Sent more than a millisecond after their schedule. */
  readonly late: number;
  readonly lagP99Ms?: number;
  /** Not sent, as the generator had no connection left. */
  readonly notSent: number;
}

/** The lag's p99 may be this share of the p99 that is reported. */
const MAX_LAG_SHARE = 0.1;

/** Adds up what groups measured in `seconds` of load in all. */
export function figuresOf(groups: readonly GroupResult[], seconds: number, notSent: number): Figures {
  const sum = (count: (group: GroupResult) => number): number =>
    groups.reduce((total, group) => total + count(group), 0);
  const [scheduled, ok, refused] = [
    sum((group) => group.scheduled),
    sum((group) => group.ok),
    sum((group) => group.refused),
  ];
  const refusedP99Ms = quantileMs(merged(groups.map(({ refusalLatency }) => refusalLatency)), 0.99);
  const lagP99Ms = quantileMs(merged(groups.map(({ lag }) => lag)), 0.99);
  return {
    seconds,
    scheduled,
    offeredPerSecond: scheduled / seconds,
    ok,
    okPerSecond: ok / seconds,
    goodputPerSecond: sum((group) => group.okWithinLimit) / seconds,
    ...latencyFigures(merged(groups.map(({ latency }) => latency))),
    statuses: addStatuses(groups),
    refused,
    refusedWithRetryAfter: sum((group) => group.refusedWithRetryAfter),
    ...(refusedP99Ms === undefined ? {} : { refusedP99Ms }),
    failed: scheduled - ok - refused,
    timeouts: sum((group) => group.timeouts),
    connectionErrors: sum((group) => group.connectionErrors),
    late: sum((group) => group.late),
    ...(lagP99Ms === undefined ? {} : { lagP99Ms }),
    notSent,
  };
}

/** Why the figures must not be used; undefined where the generator kept its schedule. */
export function voidReason({ lagP99Ms, p99Ms, notSent }: Figures): string | undefined {
  if (notSent > 0) return `the generator had no connection left for ${notSent} requests`;
  if (lagP99Ms === undefined || p99Ms === undefined || lagP99Ms <= MAX_LAG_SHARE * p99Ms) return undefined;
  return `the generator's own lag was ${lagP99Ms.toFixed(2)} ms at p99, over 10 % of the p99 of ${p99Ms.toFixed(2)} ms`;
}

/** Share of the scheduled requests that were not answered with 2xx. */
export function failedShare({ scheduled, ok }: Figures): number {
  return scheduled === 0 ? 0 : (scheduled - ok) / scheduled;
}

/**
 * Ranks (from 1) of the order statistics that hold the quantile `probability` of `count` independent values with 95 %
 * confidence: the binomial count of values below it, by its normal approximation (Hahn and Meeker 1991, section 5.2).
 */
export function quantileRanks(count: number, probability: number): { low: number; high: number } {
  const spread = 1.96 * Math.sqrt(count * probability * (1 - probability));
  return {
    low: Math.max(1, Math.floor(count * probability - spread)),
    high: Math.ceil(count * probability + spread) + 1,
  };
}

function merged(parts: readonly HistogramData[]): LatencyHistogram {
  const all = new LatencyHistogram();
  for (const part of parts) all.add(part);
  return all;
}

function latencyFigures(
  latency: LatencyHistogram,
): Partial<Pick<Figures, 'p50Ms' | 'p90Ms' | 'p99Ms' | 'p99LowMs' | 'p99HighMs' | 'p999Ms' | 'maxMs'>> {
  if (latency.count === 0) return {};
  const { low, high } = quantileRanks(latency.count, 0.99);
  const entries = {
    p50Ms: quantileMs(latency, 0.5),
    p90Ms: quantileMs(latency, 0.9),
    p99Ms: quantileMs(latency, 0.99),
    p99LowMs: toMs(latency.atRank(low)),
    p99HighMs: toMs(latency.atRank(high)),
    p999Ms: quantileMs(latency, 0.999),
    maxMs: latency.maxMicros / 1000,
  };
  return Object.fromEntries(Object.entries(entries).filter(([, value]) => value !== undefined));
}

function quantileMs(histogram: LatencyHistogram, probability: number): number | undefined {
  return toMs(histogram.quantile(probability));
}

function toMs(micros: number | undefined): number | undefined {
  return micros === undefined ? undefined : micros / 1000;
}

function addStatuses(groups: readonly GroupResult[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const [status, count] of groups.flatMap(({ statuses }) => Object.entries(statuses)))
    sums[status] = (sums[status] ?? 0) + count;
  return sums;
}

import { AggregatorRegistry, Registry } from 'prom-client';
import { must } from '../core/index.js';
import type {
  ExperimentStatus,
  Interval,
  LiveFidelity,
  RunnerStatus,
  VariantStatus,
} from '../serving/index.js';
import { mergeMeans, meanInterval, studentQuantile, type MeanStatistics } from '../statistics/index.js';
import { FidelityGauges } from './fidelity-gauges.js';

/** What one gateway says of itself: plain data that goes from process to process. */
export interface GatewayReport {
  readonly pid: number;
  readonly variants: readonly VariantStatus[];
  readonly experiments: readonly ExperimentStatus[];
  /** Metrics as prom-client's `getMetricsAsJSON` gives them. */
  readonly metrics: readonly object[];
}

/** Reports of every gateway that shares the port. */
export interface GatheredReports {
  readonly reports: readonly GatewayReport[];
  /** Counters that ended gateways left, so that the sums never go back. */
  readonly past: readonly object[];
}

/** The gateways that share the port, this one among them. */
export interface Peers {
  gather(): Promise<GatheredReports>;
}

/**
 * Adds the counters and histograms of a gateway that ended to those of earlier ones.
 * @param metrics as in {@link GatewayReport}.
 */
export async function addPast(past: readonly object[], metrics: readonly object[]): Promise<object[]> {
  const counting = metrics.filter((metric) => 'type' in metric && metric.type !== 'gauge');
  return AggregatorRegistry.aggregate([past, counting]).getMetricsAsJSON();
}

/** The metrics of all gateways as one text: sums, but for fidelity, which is pooled. */
export async function mergeMetrics({ reports, past }: GatheredReports): Promise<string> {
  const metrics = [...reports.map((report) => report.metrics), past];
  const registry: Registry = AggregatorRegistry.aggregate(metrics);
  new FidelityGauges(registry).set(mergeVariants(reports));
  return registry.metrics();
}

/**
 * Each variant over all gateways: traffic and runners in sum, fidelity pooled, of each latency quantile the highest
 * (that of all together is not above it), the live retention of the gateway that has most labels for it.
 */
export function mergeVariants(reports: readonly GatewayReport[]): readonly VariantStatus[] {
  const groups = grouped(reports.flatMap(({ variants }) => variants));
  return groups.map((parts) => {
    const latency = mergeLatency(parts);
    const { latency: _own, ...first } = must(parts[0], 'variant');
    return {
      ...first,
      runner: mergeRunners(parts.map(({ runner }) => runner)),
      requests: sumOf(parts, ({ requests }) => requests),
      ...(latency === undefined ? {} : { latency }),
      fidelity: mergeFidelity(parts.map(({ fidelity }) => fidelity)),
      retention: parts.map(({ retention }) => retention).reduce((a, b) => (b.pairs > a.pairs ? b : a)),
    };
  });
}

/**
 * Each experiment over all gateways: requests in sum; users of the gateway that saw most of an arm's, which is a lower
 * bound, as a user may reach several.
 */
export function mergeExperiments(reports: readonly GatewayReport[]): readonly ExperimentStatus[] {
  const groups = grouped(reports.flatMap(({ experiments }) => experiments));
  return groups.map((parts) => ({
    ...must(parts[0], 'experiment'),
    arms: grouped(parts.flatMap(({ arms }) => arms)).map((arms) => ({
      ...must(arms[0], 'arm'),
      requests: sumOf(arms, ({ requests }) => requests),
      users: Math.max(...arms.map(({ users }) => users)),
    })),
  }));
}

/** Values of one name together, in order of first sight. */
function grouped<T extends { readonly name: string }>(values: readonly T[]): T[][] {
  const groups = new Map<string, T[]>();
  for (const value of values) groups.set(value.name, [...(groups.get(value.name) ?? []), value]);
  return [...groups.values()];
}

function sumOf<T>(parts: readonly T[], value: (part: T) => number): number {
  return parts.reduce((sum, part) => sum + value(part), 0);
}

function mergeLatency(parts: readonly VariantStatus[]): VariantStatus['latency'] {
  const known = parts.flatMap(({ latency }) => (latency === undefined ? [] : [latency]));
  if (known.length === 0) return undefined;
  const highest = (value: (latency: (typeof known)[number]) => number): number =>
    Math.max(...known.map(value));
  return {
    p50Ms: highest(({ p50Ms }) => p50Ms),
    p90Ms: highest(({ p90Ms }) => p90Ms),
    p99Ms: highest(({ p99Ms }) => p99Ms),
  };
}

/** What is each gateway's own adds up; what they map in common does not. A runner that is out shows first. */
function mergeRunners(parts: readonly RunnerStatus[]): RunnerStatus {
  const { pid: _pid, ...shown } = must(parts.find(({ state }) => state !== 'ready') ?? parts[0], 'runner');
  const total = (value: (part: RunnerStatus) => number | undefined): number =>
    sumOf(parts, (part) => value(part) ?? 0);
  const most = (value: (part: RunnerStatus) => number | undefined): number =>
    Math.max(...parts.map((part) => value(part) ?? 0));
  return {
    ...shown,
    restarts: total(({ restarts }) => restarts),
    queued: total(({ queued }) => queued),
    privateBytes: total(({ privateBytes }) => privateBytes),
    proportionalBytes: total(({ proportionalBytes }) => proportionalBytes),
    sharedBytes: most(({ sharedBytes }) => sharedBytes),
    mappedWeightBytes: most(({ mappedWeightBytes }) => mappedWeightBytes),
    cpuSeconds: total(({ cpuSeconds }) => cpuSeconds),
    processes: parts.flatMap(({ processes }) => processes),
  };
}

function mergeFidelity(parts: readonly LiveFidelity[]): LiveFidelity {
  const pooled = (measure: Exclude<keyof LiveFidelity, 'count'>): Partial<LiveFidelity> => {
    const known = parts.flatMap(({ count, [measure]: interval }) =>
      interval === undefined ? [] : [statisticsOf(interval, count)],
    );
    return known.length === 0 ? {} : { [measure]: meanInterval(known.reduce(mergeMeans)) };
  };
  return {
    count: sumOf(parts, ({ count }) => count),
    ...pooled('overlapAt10'),
    ...pooled('ndcgAt10'),
    ...pooled('scoreError'),
  };
}

/** The statistics that a 95 % interval by Student t came from; exact but for rounding. */
function statisticsOf({ mean, high }: Interval, count: number): MeanStatistics {
  if (high === undefined || count < 2) return { count, mean, squaredDeviations: 0 };
  const standardError = (high - mean) / studentQuantile(0.975, count - 1);
  return { count, mean, squaredDeviations: standardError ** 2 * count * (count - 1) };
}

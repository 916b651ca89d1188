import { getJson, getText } from './http-client.js';
import { parseMetrics, type Sample } from './prometheus.js';

/** What the server has counted since it started. */
export interface ServerCounters {
  /** CPU time by process: the gateway and each runner. */
  readonly cpuSeconds: ReadonlyMap<string, number>;
  /** Times that runners were replaced, all together. */
  readonly restarts: number;
  /** Ranking requests by outcome: `ok`, `cached`, or the code of the error. */
  readonly outcomes: Counts;
  readonly answersByPipeline: Counts;
  readonly answersByVariant: Counts;
}

type Counts = ReadonlyMap<string, number>;

/** What `GET /v1/variants` says of who answered. */
interface VariantRequests {
  readonly name: string;
  readonly requests: number;
}

/** What the server did between two scrapes. */
export interface ServerWork {
  /** Absent where a runner was replaced in between, whose time is lost. */
  readonly cpuSeconds?: number;
  readonly cpuSecondsByProcess: Readonly<Record<string, number>>;
  /** Answers given, those from the cache included. */
  readonly answers: number;
  readonly cached: number;
  readonly answersByPipeline: Readonly<Record<string, number>>;
  /** `none` stands for answers without a ranker, such as those to users without history. Empty where nobody asked. */
  readonly answersByVariant: Readonly<Record<string, number>>;
  readonly failuresByCode: Readonly<Record<string, number>>;
}

/** Scrapes `/metrics`. @param variants who has answered by now, where that is wanted. */
export async function readCounters(
  origin: string,
  variants: readonly VariantRequests[] = [],
): Promise<ServerCounters> {
  return countersOf(parseMetrics(await getText(origin, '/metrics')), variants);
}

/** Asks the server which variants have answered. Unlike a scrape it counts as a client's request. */
export async function readVariants(origin: string): Promise<readonly VariantRequests[]> {
  return (await getJson<{ variants: readonly VariantRequests[] }>(origin, '/v1/variants')).variants;
}

/** The counters among the samples of one scrape. */
export function countersOf(samples: readonly Sample[], variants: readonly VariantRequests[]): ServerCounters {
  const sums = (name: string, label: string): Counts => {
    const counts = new Map<string, number>();
    for (const sample of samples) {
      const key = sample.labels[label] ?? '';
      if (sample.name === name) counts.set(key, (counts.get(key) ?? 0) + sample.value);
    }
    return counts;
  };
  return {
    cpuSeconds: sums('whittle_process_cpu_seconds_total', 'process'),
    restarts: total([...sums('whittle_runner_restarts_total', 'runner').values()]),
    outcomes: sums('whittle_requests_total', 'outcome'),
    answersByPipeline: sums('whittle_answers_total', 'pipeline'),
    answersByVariant: new Map(variants.map(({ name, requests }) => [name, requests])),
  };
}

/** The work between two scrapes of one server. */
export function workBetween(before: ServerCounters, after: ServerCounters): ServerWork {
  const cpu = Array.from(
    after.cpuSeconds,
    ([process, seconds]) =>
      [process, roundToMicros(seconds - (before.cpuSeconds.get(process) ?? 0))] as const,
  );
  const sameProcesses =
    before.restarts === after.restarts &&
    Array.from(before.cpuSeconds.keys()).every((process) => after.cpuSeconds.has(process));
  const { ok = 0, cached = 0, ...failuresByCode } = moved(before.outcomes, after.outcomes);
  const byVariant = moved(before.answersByVariant, after.answersByVariant);
  const ranked = total(Object.values(byVariant));
  const unranked = after.answersByVariant.size === 0 ? 0 : ok + cached - ranked;
  return {
    ...(sameProcesses && cpu.length > 0
      ? { cpuSeconds: roundToMicros(total(cpu.map(([, seconds]) => seconds))) }
      : {}),
    cpuSecondsByProcess: Object.fromEntries(cpu),
    answers: ok + cached,
    cached,
    answersByPipeline: moved(before.answersByPipeline, after.answersByPipeline),
    answersByVariant: unranked > 0 ? { ...byVariant, none: unranked } : byVariant,
    failuresByCode,
  };
}

/** Differences of counters; those that did not move are left out. */
function moved(before: Counts, after: Counts): Record<string, number> {
  const differences = Array.from(after, ([key, count]) => [key, count - (before.get(key) ?? 0)] as const);
  return Object.fromEntries(differences.filter(([, difference]) => difference !== 0));
}

function total(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}

/** Differences of decimal fractions leave dust behind the last digit that means anything. */
function roundToMicros(seconds: number): number {
  return Math.round(seconds * 1e6) / 1e6;
}

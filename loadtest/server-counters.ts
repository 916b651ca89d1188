import { getText } from './http-client.js';
import { parseMetrics, type Sample } from './prometheus.js';

/** What the server has counted since it started. */
export interface ServerCounters {
  /** CPU time by process: the gateway and each runner. */
  readonly cpuSeconds: ReadonlyMap<string, number>;
  /** Times that runners were replaced, all together. */
  readonly restarts: number;
  readonly requests: readonly RequestCount[];
}

interface RequestCount {
  readonly pipeline: string;
  readonly variant: string;
  /** `ok`, `cached`, or the code of the error. */
  readonly outcome: string;
  readonly count: number;
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
  /** `none` stands for answers without a ranker, such as those to users without history. */
  readonly answersByVariant: Readonly<Record<string, number>>;
  readonly failuresByCode: Readonly<Record<string, number>>;
}

/** Scrapes `/metrics`. */
export async function readCounters(origin: string): Promise<ServerCounters> {
  return countersOf(parseMetrics(await getText(origin, '/metrics')));
}

/** The counters among the samples of one scrape. */
export function countersOf(samples: readonly Sample[]): ServerCounters {
  const named = (name: string): readonly Sample[] => samples.filter((sample) => sample.name === name);
  return {
    cpuSeconds: new Map(
      named('whittle_process_cpu_seconds_total').map(({ labels, value }) => [labels['process'] ?? '', value]),
    ),
    restarts: named('whittle_runner_restarts_total').reduce((sum, { value }) => sum + value, 0),
    requests: named('whittle_requests_total').map(({ labels, value }) => ({
      pipeline: labels['pipeline'] ?? '',
      variant: labels['variant'] ?? '',
      outcome: labels['outcome'] ?? '',
      count: value,
    })),
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
  const requests = [...after.requests, ...before.requests.map((one) => ({ ...one, count: -one.count }))];
  const isAnswer = ({ outcome }: RequestCount): boolean => outcome === 'ok' || outcome === 'cached';
  const answered = requests.filter(isAnswer);
  return {
    ...(sameProcesses && cpu.length > 0
      ? { cpuSeconds: roundToMicros(total(cpu.map(([, seconds]) => seconds))) }
      : {}),
    cpuSecondsByProcess: Object.fromEntries(cpu),
    answers: total(answered.map(({ count }) => count)),
    cached: total(answered.filter(({ outcome }) => outcome === 'cached').map(({ count }) => count)),
    answersByPipeline: sumBy(answered, 'pipeline'),
    answersByVariant: sumBy(answered, 'variant'),
    failuresByCode: sumBy(
      requests.filter((one) => !isAnswer(one)),
      'outcome',
    ),
  };
}

/** Sums of counts by one label; those that did not move are left out. */
function sumBy(
  requests: readonly RequestCount[],
  label: 'pipeline' | 'variant' | 'outcome',
): Record<string, number> {
  const sums = new Map<string, number>();
  for (const request of requests) sums.set(request[label], (sums.get(request[label]) ?? 0) + request.count);
  return Object.fromEntries(Array.from(sums).filter(([, count]) => count !== 0));
}

function total(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}

/** Differences of decimal fractions leave dust behind the last digit that means anything. */
function roundToMicros(seconds: number): number {
  return Math.round(seconds * 1e6) / 1e6;
}

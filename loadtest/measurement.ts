import type { DriveResult } from './drive.js';
import type { Phase } from './phases.js';
import { quantile } from './quantile.js';
import type { ServerWork } from './server-counters.js';

/** What one phase measured. */
export interface Measurement extends Phase {
  readonly seconds: number;
  /** Answers with 2xx, those behind the quantiles. */
  readonly answers: number;
  readonly requestsPerSecond: number;
  readonly p50Ms?: number;
  readonly p90Ms?: number;
  readonly p99Ms?: number;
  /** CPU time of the server's processes by answers that the server gave; absent where a runner was replaced. */
  readonly cpuMicrosPerRequest?: number;
  readonly non2xx: number;
  readonly timeouts: number;
  readonly connectionErrors: number;
  readonly statuses: DriveResult['statuses'];
  readonly server: ServerWork;
}

/** Puts what the client saw and what the server counted together. */
export function measurementOf(phase: Phase, driven: DriveResult, server: ServerWork): Measurement {
  const { seconds, latenciesMs, statuses, timeouts, connectionErrors } = driven;
  const answers = latenciesMs.length;
  const responses = Object.values(statuses).reduce((sum, count) => sum + count, 0);
  return {
    ...phase,
    seconds,
    answers,
    requestsPerSecond: answers / seconds,
    ...quantilesOf(latenciesMs),
    ...cpuOf(server),
    non2xx: responses - answers,
    timeouts,
    connectionErrors,
    statuses,
    server,
  };
}

/** Requests that were not answered with 2xx. */
export function errorCount({ non2xx, timeouts, connectionErrors }: Measurement): number {
  return non2xx + timeouts + connectionErrors;
}

function quantilesOf(latenciesMs: Float64Array): Pick<Measurement, 'p50Ms' | 'p90Ms' | 'p99Ms'> {
  const p50Ms = quantile(latenciesMs, 0.5);
  const p90Ms = quantile(latenciesMs, 0.9);
  const p99Ms = quantile(latenciesMs, 0.99);
  if (p50Ms === undefined || p90Ms === undefined || p99Ms === undefined) return {};
  return { p50Ms, p90Ms, p99Ms };
}

function cpuOf({ cpuSeconds, answers }: ServerWork): Pick<Measurement, 'cpuMicrosPerRequest'> {
  if (cpuSeconds === undefined || answers === 0) return {};
  return { cpuMicrosPerRequest: (cpuSeconds * 1e6) / answers };
}

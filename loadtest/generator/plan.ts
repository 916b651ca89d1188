import type { HistogramData } from './histogram-kernel.js';
import type { Arrivals, Segment } from './schedule.js';

/** A request that can be sent: a POST with a JSON body. */
export interface RequestTemplate {
  readonly path: string;
  readonly body: string;
  /** Requests are drawn in proportion to their weights. */
  readonly weight: number;
}

/** Traffic that shares headers and is measured apart; each request is of one class, drawn by weight. */
export interface TrafficClass {
  readonly name: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly weight: number;
}

/** All that a generator needs to know of one stretch of load. */
export interface LoadPlan {
  readonly host: string;
  readonly port: number;
  /** Measured apart, each with every class. */
  readonly segments: readonly Segment[];
  readonly arrivals: Arrivals;
  /** Decides arrivals and draws. */
  readonly seed: number;
  readonly requests: readonly RequestTemplate[];
  readonly classes: readonly TrafficClass[];
  /** Without an answer for this long after it was sent, a request is given up. */
  readonly timeoutMs: number;
  /** Answers with 2xx within this time of their schedule are counted apart. */
  readonly limitMs: number;
}

/** What came of the requests of one segment and class. Latencies count from the scheduled moment. */
export interface GroupResult {
  readonly segment: number;
  readonly class: string;
  readonly scheduled: number;
  /** Answers by status, 2xx included. */
  readonly statuses: Readonly<Record<string, number>>;
  readonly ok: number;
  readonly okWithinLimit: number;
  /** Answers with 429 or 503, and those of them that carried Retry-After. */
  readonly refused: number;
  readonly refusedWithRetryAfter: number;
  readonly timeouts: number;
  readonly connectionErrors: number;
  /** Sent more than a millisecond after their schedule. */
  readonly late: number;
  /** Latencies of answers with 2xx. */
  readonly latency: HistogramData;
  /** Latencies of answers with 429 or 503. */
  readonly refusalLatency: HistogramData;
  /** How long after its schedule each request was sent. */
  readonly lag: HistogramData;
}

/** What came of the requests that were scheduled in one second. */
export interface SecondResult {
  readonly scheduled: number;
  readonly ok: number;
  readonly okWithinLimit: number;
  readonly refused: number;
  /** Neither 2xx nor refused: other statuses, timeouts, broken connections. */
  readonly failed: number;
  readonly p50Micros?: number;
  readonly p99Micros?: number;
}

export interface LoadResult {
  /** By segment, in each by class. */
  readonly groups: readonly GroupResult[];
  /** By second of the schedule. */
  readonly seconds: readonly SecondResult[];
  /** Requests that the generator could not send: it had no socket for them. */
  readonly notSent: number;
  /** Most sockets open at once. */
  readonly connections: number;
  /** CPU time of the generator's process during the run. */
  readonly cpuSeconds: number;
}

/** How far a run is; told once a second. */
export interface LoadProgress {
  readonly scheduled: number;
  readonly sent: number;
  readonly answered: number;
}

export type GeneratorReply =
  | { readonly kind: 'ready' }
  | { readonly kind: 'progress'; readonly progress: LoadProgress }
  | { readonly kind: 'result'; readonly result: LoadResult }
  | { readonly kind: 'failed'; readonly code: string; readonly message: string };

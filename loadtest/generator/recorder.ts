import { must } from '../../src/core/index.js';
import { LatencyHistogram } from './histogram-kernel.js';
import type { GroupResult, LoadPlan, SecondResult } from './plan.js';
import type { ResponseHead } from './response-reader.js';

/** Sent later than this after its schedule, a request counts as late. */
const LATE_MS = 1;

/** One request on its way. */
export interface Flight {
  /** Milliseconds after the start of the schedule. */
  readonly dueMs: number;
  readonly segment: number;
  /** Place among the plan's classes. */
  readonly class: number;
}

type Counts = { -readonly [Name in keyof GroupResult]: GroupResult[Name] };

interface Group extends Omit<Counts, 'statuses' | 'latency' | 'refusalLatency' | 'lag'> {
  readonly statuses: Record<string, number>;
  readonly latency: LatencyHistogram;
  readonly refusalLatency: LatencyHistogram;
  readonly lag: LatencyHistogram;
}

interface Second {
  scheduled: number;
  ok: number;
  okWithinLimit: number;
  refused: number;
  failed: number;
  readonly latency: LatencyHistogram;
}

/** Counts what comes of every request: by segment and class, and by second of the schedule. */
export class Recorder {
  readonly #classes: number;
  readonly #limitMs: number;
  readonly #groups: readonly Group[];
  readonly #seconds: readonly Second[];

  constructor({ segments, classes, limitMs }: LoadPlan) {
    this.#classes = classes.length;
    this.#limitMs = limitMs;
    this.#groups = segments.flatMap((_, segment) => classes.map(({ name }) => newGroup(segment, name)));
    const length = Math.ceil(segments.reduce((sum, { seconds }) => sum + seconds, 0));
    this.#seconds = Array.from({ length }, newSecond);
  }

  /** A request was sent, or could not be, `lagMs` after its schedule. */
  sent(flight: Flight, lagMs: number): void {
    const group = this.#groupOf(flight);
    group.scheduled += 1;
    group.lag.record(lagMs * 1e3);
    if (lagMs > LATE_MS) group.late += 1;
    this.#secondOf(flight).scheduled += 1;
  }

  /** A response came, complete `latencyMs` after its schedule. */
  answered(flight: Flight, { status, hasRetryAfter }: ResponseHead, latencyMs: number): void {
    const group = this.#groupOf(flight);
    const second = this.#secondOf(flight);
    group.statuses[status] = (group.statuses[status] ?? 0) + 1;
    if (status >= 200 && status < 300) {
      const within = latencyMs <= this.#limitMs ? 1 : 0;
      group.ok += 1;
      group.okWithinLimit += within;
      group.latency.record(latencyMs * 1e3);
      second.ok += 1;
      second.okWithinLimit += within;
      second.latency.record(latencyMs * 1e3);
    } else if (status === 429 || status === 503) {
      group.refused += 1;
      group.refusedWithRetryAfter += hasRetryAfter ? 1 : 0;
      group.refusalLatency.record(latencyMs * 1e3);
      second.refused += 1;
    } else second.failed += 1;
  }

  /** No response came. */
  lost(flight: Flight, why: 'timeout' | 'connection-error'): void {
    const group = this.#groupOf(flight);
    if (why === 'timeout') group.timeouts += 1;
    else group.connectionErrors += 1;
    this.#secondOf(flight).failed += 1;
  }

  groups(): GroupResult[] {
    return this.#groups.map((group) => ({
      ...group,
      latency: group.latency.toData(),
      refusalLatency: group.refusalLatency.toData(),
      lag: group.lag.toData(),
    }));
  }

  seconds(): SecondResult[] {
    return this.#seconds.map(({ latency, ...counts }) => {
      const [p50Micros, p99Micros] = [latency.quantile(0.5), latency.quantile(0.99)];
      return p50Micros === undefined || p99Micros === undefined
        ? counts
        : { ...counts, p50Micros, p99Micros };
    });
  }

  #groupOf({ segment, class: place }: Flight): Group {
    return must(this.#groups[segment * this.#classes + place], 'group');
  }

  #secondOf({ dueMs }: Flight): Second {
    const place = Math.min(this.#seconds.length - 1, Math.floor(dueMs / 1000));
    return must(this.#seconds[place], 'second');
  }
}

function newGroup(segment: number, name: string): Group {
  return {
    segment,
    class: name,
    scheduled: 0,
    statuses: {},
    ok: 0,
    okWithinLimit: 0,
    refused: 0,
    refusedWithRetryAfter: 0,
    timeouts: 0,
    connectionErrors: 0,
    late: 0,
    latency: new LatencyHistogram(),
    refusalLatency: new LatencyHistogram(),
    lag: new LatencyHistogram(),
  };
}

function newSecond(): Second {
  return {
    scheduled: 0,
    ok: 0,
    okWithinLimit: 0,
    refused: 0,
    failed: 0,
    latency: new LatencyHistogram(2),
  };
}

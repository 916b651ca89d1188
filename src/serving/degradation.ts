import type { Log, OverloadConfig } from '../core/index.js';
import { murmur3 } from '../experiments/index.js';
import { DegradationControl } from './degradation-control.js';
import type { Generation } from './generation.js';
import type { Observers } from './observers.js';
import type { Pipeline } from './pipeline.js';
import type { AnyRequest } from './prepare.js';
import { RecentQueueTimes } from './recent-queue-times.js';
import type { Shadow } from './shadow.js';
import { takeoversOf } from './takeover.js';
import type { DegradationCandidate, DegradationStatus, Observation } from './types.js';

const TICK_MS = 250;
/** A log line that says why nothing moves comes no more often than this while it lasts. */
const WARN_EVERY_MS = 60_000;
/** The pipeline that takes over counts as this much of its cost, so that noise does not replace it. */
const INCUMBENT_PART = 0.8;

export interface DegradationOptions {
  readonly config: OverloadConfig['degradation'];
  readonly log: Log;
  /** What serves now. */
  readonly generation: () => Generation;
  /** Pipeline of requests outside experiments. */
  readonly defaultPipeline: () => string;
  /** Milliseconds that only grow. */
  readonly now?: () => number;
}

/**
 * Keeps answers coming under overload without giving up more quality than is allowed: while requests wait too long for
 * the default pipeline's ranker, a growing share of them goes to the cheapest pipeline whose live retention has a lower
 * bound above the floor. Who is in an experiment, and what is forced, never moves: see `routeRequest`.
 */
export class Degradation {
  readonly #options: DegradationOptions;
  readonly #now: () => number;
  readonly #control: DegradationControl;
  readonly #queueTimes: RecentQueueTimes;
  /** The default pipeline, and the one that takes over, at the last tick. */
  #from: Pipeline | undefined;
  #to: Pipeline | undefined;
  #candidates: readonly DegradationCandidate[] = [];
  #queueMs = 0;
  /** Since the last tick the ranker had no room for a request. */
  #wasSaturated = false;
  #warnedAtMs = -Infinity;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: DegradationOptions) {
    this.#options = options;
    this.#now = options.now ?? ((): number => performance.now());
    this.#control = new DegradationControl(options.config.queueMs);
    this.#queueTimes = new RecentQueueTimes(this.#now);
  }

  /** Ticks from now on, where degradation is on. */
  start(observers: Observers): void {
    if (!this.#options.config.enabled) return;
    observers.add((observation) => {
      this.watch(observation);
    });
    this.#timer = setInterval(() => {
      this.tick();
    }, TICK_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Takes in what the engine observes of runs and refusals. */
  watch(observation: Observation): void {
    if (observation.kind === 'batch') {
      if (observation.runner === this.#from?.ranker?.variant) this.#queueTimes.add(observation.queueMs);
    } else if (observation.kind === 'failure') {
      const { code, pipeline } = observation;
      if (pipeline === this.#from?.name && (code === 'OVERLOADED' || code === 'QUEUE_FULL'))
        this.#wasSaturated = true;
    }
  }

  /** The pipeline that may take over from the default one now. */
  get target(): Pipeline | undefined {
    return this.#to;
  }

  /**
   * The pipeline that takes over a request that no experiment and no header decides; undefined where it stays. The same
   * users go first as the share grows; beyond the share, who would be refused goes too.
   */
  readonly takeover = (
    from: Pipeline,
    { user, requestId }: Pick<AnyRequest, 'user' | 'requestId'>,
  ): Pipeline | undefined => {
    const to = this.#to;
    if (to === undefined || from !== this.#from || to.ranker?.runner.saturated() !== false) return undefined;
    if (place(user ?? requestId) < this.#control.share) return to;
    if (from.ranker?.runner.saturated() !== true) return undefined;
    this.#wasSaturated = true;
    return to;
  };

  /** Decides anew where traffic could go and how much of it goes. */
  tick(): void {
    const before = { share: this.#control.share, to: this.#to?.name };
    this.#assess();
    const pressure = this.#pressure();
    this.#queueMs = pressure.queueMs;
    if (this.#to === undefined) {
      this.#control.reset();
      if (this.#control.isPressed(pressure)) this.#warn();
    } else this.#control.step(pressure);
    this.#tell(before);
  }

  status(): DegradationStatus {
    const from = this.#from?.name ?? this.#options.defaultPipeline();
    return {
      enabled: this.#options.config.enabled,
      from,
      ...(this.#to === undefined ? {} : { to: this.#to.name }),
      share: this.#control.share,
      queueMs: this.#queueMs,
      candidates: this.#candidates,
    };
  }

  /** The cheapest pipeline that may take over, and what keeps the others from it. */
  #assess(): void {
    const { fleet, shadow } = this.#options.generation();
    const from = fleet.pipelines.get(this.#options.defaultPipeline());
    const takeovers = from === undefined ? [] : takeoversOf(fleet.pipelines.values(), from);
    const assessed = takeovers.map((pipeline) => {
      const costMs = costOf(pipeline) * (pipeline.name === this.#to?.name ? INCUMBENT_PART : 1);
      const reason = this.#reasonAgainst(pipeline, shadow) ?? dearerThan(from, costMs);
      return { pipeline, costMs, reason };
    });
    const eligible = assessed.filter(({ reason }) => reason === undefined);
    this.#candidates = assessed.map(({ pipeline: { name }, reason }) => ({
      pipeline: name,
      eligible: reason === undefined,
      ...(reason === undefined ? {} : { reason }),
    }));
    this.#from = from;
    this.#to = eligible.sort((a, b) => a.costMs - b.costMs)[0]?.pipeline;
  }

  /** What is missing to trust a pipeline's quality, or to use it at all. */
  #reasonAgainst({ ranker }: Pipeline, shadow: Shadow): string | undefined {
    if (ranker === undefined) return 'it has no ranker';
    const { minPairs, retentionFloor } = this.#options.config;
    const { state } = ranker.runner.status();
    if (state !== 'ready') return `its runner is ${state}`;
    const { pairs, low } = shadow.retention(ranker.variant);
    if (pairs < minPairs) return `${pairs} of ${minPairs} pairs`;
    if (low === undefined) return `no lower bound from ${pairs} pairs`;
    return low < retentionFloor ? `lower bound ${low.toFixed(4)} below ${retentionFloor}` : undefined;
  }

  #pressure(): { readonly nowMs: number; readonly queueMs: number; readonly saturated: boolean } {
    const runner = this.#from?.ranker?.runner;
    const saturated = this.#wasSaturated || runner?.saturated() === true;
    this.#wasSaturated = false;
    const queueMs = Math.max(this.#queueTimes.p90(), runner?.oldestWaitMs() ?? 0);
    return { nowMs: this.#now(), queueMs, saturated };
  }

  #warn(): void {
    if (this.#now() - this.#warnedAtMs < WARN_EVERY_MS) return;
    this.#warnedAtMs = this.#now();
    this.#options.log.warn('degradation_impossible', {
      from: this.#from?.name,
      queueMs: this.#queueMs,
      reasons: this.#candidates.map(({ pipeline, reason }) => `${pipeline}: ${reason ?? ''}`),
    });
  }

  #tell(before: { readonly share: number; readonly to: string | undefined }): void {
    const { share } = this.#control;
    const to = this.#to?.name;
    if (share === before.share && (share === 0 || to === before.to)) return;
    this.#options.log.info('degradation', {
      from: this.#from?.name,
      to: to ?? before.to,
      share,
      queueMs: this.#queueMs,
    });
  }
}

/** Expected CPU time of one request's run, by the runs so far; 0 where there was none. */
function costOf({ ranker, spec }: Pipeline): number {
  return ranker?.runner.cpuMs(spec.candidates) ?? 0;
}

function dearerThan(from: Pipeline | undefined, costMs: number): string | undefined {
  const fromMs = from === undefined ? 0 : costOf(from);
  return costMs < fromMs
    ? undefined
    : `not cheaper: ${costMs.toFixed(3)} ms of CPU a request against ${fromMs.toFixed(3)} ms`;
}

/** A user's place in the order in which users move, 0 to 1. */
function place(id: string): number {
  return murmur3(`degradation/${id}`) / 2 ** 32;
}

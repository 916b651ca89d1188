import type { ExperimentConfig } from '../core/index.js';
import type { ProcessStats, RunnerProcessStatus } from '../runtime/index.js';
import type { StoreHealth } from '../store/index.js';

/** Stage timings of one answer, milliseconds. */
export interface StageTimings {
  readonly historyMs: number;
  readonly retrieveMs: number;
  readonly rankMs: number;
  /** Part of retrieve and rank spent waiting in queues. */
  readonly queueMs: number;
  readonly totalMs: number;
}

interface RequestBase {
  readonly requestId: string;
  readonly k: number;
  readonly user?: string;
  /** Item ids, oldest first; used instead of the stored history. */
  readonly history?: readonly string[];
  /** Values for contract inputs with source `request`: a number or a vector each. */
  readonly inputs?: Readonly<Record<string, number | readonly number[]>>;
  /** Pipeline forced by header for testing; marked in the log. */
  readonly forcedPipeline?: string;
  /** Moment the request stands for, unix milliseconds; now where absent. Lets a log be replayed. */
  readonly timeMs?: number;
  /** Keep items of the history in the answer (recommend leaves them out unless this is set). */
  readonly includeSeen?: boolean;
}

export type RecommendRequest = RequestBase;
export interface SearchRequest extends RequestBase {
  /** Exactly one of `query` and `queryVector`. */
  readonly query?: string;
  readonly queryVector?: readonly number[];
}
export interface RankRequest extends Omit<RequestBase, 'k'> {
  /** Item ids to order. */
  readonly items: readonly string[];
  readonly query?: string;
  readonly queryVector?: readonly number[];
}

/** A rank request by catalogue rows: ids are neither sent nor looked up. */
export interface RankRowsRequest extends Omit<RequestBase, 'k'> {
  /** Catalogue rows to order. */
  readonly rows: Uint32Array;
  /** Catalogue rows, oldest first; used instead of the stored history. */
  readonly historyRows?: Uint32Array;
  /** State of the bundle that the rows were read from; another one is refused, as rows may mean other items there. */
  readonly bundleVersion?: string;
}

export interface RankedItem {
  readonly id: string;
  readonly title?: string;
  readonly score: number;
}

export interface Answer {
  readonly requestId: string;
  readonly items: readonly RankedItem[];
  /** State of the bundle that answered; changes with any of its files. */
  readonly bundleVersion: string;
  readonly pipeline: string;
  /** Variant that ranked; `none` where the retrieval's order stands. */
  readonly variant: string;
  readonly experiment?: string;
  readonly arm?: string;
  /** The pipeline that overload kept the request from. */
  readonly degradedFrom?: string;
  /** How the candidates were found. `popularity` for a user without history. */
  readonly source: 'retrieval' | 'popularity' | 'search' | 'given';
  readonly forced: boolean;
  readonly cached: boolean;
  readonly timings: StageTimings;
}

/** An answer without what it ranked. */
export type AnswerInfo = Omit<Answer, 'items'>;

/** An answer in catalogue rows, best first, with a score each. */
export interface RankedRows extends AnswerInfo {
  readonly rows: readonly number[];
  readonly scores: readonly number[];
}

/** What a user did with an answer. Idempotent by `id`. */
export interface UserEvent {
  readonly id: string;
  readonly user: string;
  readonly item: string;
  /** For example click, purchase, rating. All but `view` extend the user's history. */
  readonly type: string;
  readonly value?: number;
  /** Answer that showed the item. */
  readonly requestId?: string;
  /** Unix milliseconds; the server's clock where absent. */
  readonly timeMs?: number;
}

export interface EventsReceipt {
  readonly accepted: number;
  readonly duplicates: number;
}

/** A mean with its 95 % confidence interval; `low` and `high` are absent below two samples. */
export interface Interval {
  readonly mean: number;
  readonly low?: number;
  readonly high?: number;
}

/** Paired fidelity of a variant against full on live requests. */
export interface LiveFidelity {
  /** Requests that were ranked again. */
  readonly count: number;
  readonly overlapAt10?: Interval;
  /** NDCG@10 of the variant's order with the full model's scores as gains. */
  readonly ndcgAt10?: Interval;
  /** Mean absolute difference of scores, in standard deviations of the full model's scores. */
  readonly scoreError?: Interval;
}

/** Retention of a variant on live requests: how its orders of the candidates match what users did, over how full's do. */
export interface LiveRetention {
  /** Requests with a label, and users they came from. */
  readonly pairs: number;
  readonly users: number;
  /** Σ NDCG@10 of the variant / Σ NDCG@10 of full; absent where full found nothing. */
  readonly mean?: number;
  /** One-sided lower bound at 95 %, clustered by user; absent below two users. */
  readonly low?: number;
}

/** How overload moves traffic to a cheaper pipeline. */
export interface DegradationStatus {
  readonly enabled: boolean;
  /** Pipeline that traffic leaves, and the one that takes over; absent where none may. */
  readonly from: string;
  readonly to?: string;
  /** Share of the traffic outside experiments that is moved, 0 to 1. */
  readonly share: number;
  /** Time in the queue of the ranker that traffic leaves: p90 of the last second, or how long the oldest has waited. */
  readonly queueMs: number;
  readonly candidates: readonly DegradationCandidate[];
}

export interface DegradationCandidate {
  readonly pipeline: string;
  readonly eligible: boolean;
  /** Why it is not. */
  readonly reason?: string;
}

export interface VariantStatus {
  readonly name: string;
  readonly file: string;
  readonly parent?: string;
  readonly recipe?: unknown;
  /** Bytes of the graph file, and of the weight files it shares with other variants. */
  readonly fileBytes: number;
  readonly sharedWeightBytes: number;
  readonly runner: RunnerStatus;
  readonly requests: number;
  readonly latency?: { readonly p50Ms: number; readonly p90Ms: number; readonly p99Ms: number };
  readonly fidelity: LiveFidelity;
  readonly retention: LiveRetention;
}

export interface RunnerStatus {
  readonly name: string;
  readonly state: RunnerProcessStatus['state'];
  /** Why it is out of service, where it is. */
  readonly reason?: string;
  readonly pid?: number;
  readonly restarts: number;
  readonly queued: number;
  /** Memory that only its processes have, in sum; mapped weights are not counted. */
  readonly privateBytes?: number;
  /** Memory that a process has in common with others, mapped weights included; of several processes the most. */
  readonly sharedBytes?: number;
  /** Private memory and the proportional share of what is shared, in sum. */
  readonly proportionalBytes?: number;
  /** Mapped weights that are in memory now; of several processes the most. */
  readonly mappedWeightBytes?: number;
  readonly cpuSeconds?: number;
  readonly processes: readonly RunnerProcess[];
}

/** One process of a runner. */
export interface RunnerProcess extends RunnerProcessStatus, ProcessStats {}

export interface ExperimentStatus {
  readonly name: string;
  readonly enabled: boolean;
  readonly salt: string;
  /** Why it takes no traffic although it is enabled: answers cannot be logged now. */
  readonly paused?: string;
  readonly arms: readonly {
    readonly name: string;
    readonly weight: number;
    readonly share: number;
    readonly pipeline: string;
    readonly requests: number;
    readonly users: number;
  }[];
}

/** What a reload did. */
export interface ReloadReport {
  /** `unchanged` where the folder holds what is served already, and nothing was done. */
  readonly outcome: 'swapped' | 'unchanged';
  /** State of the bundle that is served now, and the one before. */
  readonly bundleVersion: string;
  readonly previousVersion: string;
  /** Variants and retrievers whose runners were started anew, and those whose runners went on as they were. */
  readonly started: readonly string[];
  readonly kept: readonly string[];
  /** Time until the new version served, and from then until the old one was freed. */
  readonly loadMs: number;
  readonly drainMs: number;
}

/** The latest reload: what it did, or why the old version still serves. */
export interface LastReload {
  readonly timeMs: number;
  readonly report?: ReloadReport;
  readonly error?: {
    readonly code: string;
    readonly message: string;
    readonly details: Readonly<Record<string, unknown>>;
  };
}

/** The server's own state, for those who run it. */
export interface EngineStatus {
  /** Folder of the bundle as configured, and the state of it that is served. */
  readonly bundle: string;
  readonly bundleVersion: string;
  readonly reloading: boolean;
  readonly lastReload?: LastReload;
  /** Whether the event store takes writes. */
  readonly store: StoreHealth;
  /** Why no experiment assigns anybody; absent while the store takes writes. */
  readonly experimentsPaused?: string;
}

/** What the HTTP layer needs from serving; the command line puts the two together. */
export interface Engine {
  recommend(request: RecommendRequest): Promise<Answer>;
  search(request: SearchRequest): Promise<Answer>;
  rank(request: RankRequest): Promise<Answer>;
  /** As `rank`, in catalogue rows. @throws ITEM_UNKNOWN, INPUT_INVALID where another state of the bundle is served. */
  rankRows(request: RankRowsRequest): Promise<RankedRows>;
  /** Whether a request would be refused for want of room whatever pipeline it meets; known before it is read. */
  saturated(endpoint: Endpoint, forcedPipeline?: string): boolean;
  recordEvents(events: readonly UserEvent[]): Promise<EventsReceipt>;
  variants(): Promise<readonly VariantStatus[]>;
  degradation(): DegradationStatus;
  /** Every runner, rankers first, with its process's cost. */
  runners(): Promise<readonly RunnerStatus[]>;
  experiments(): readonly ExperimentStatus[];
  /** The experiments as they are configured now. */
  experimentConfigs(): readonly ExperimentConfig[];
  /**
   * Replaces all experiments in one step; counters of arms that stay are kept.
   * @throws NOT_FOUND where an arm's pipeline is not served, CONFIG_INVALID; nothing is changed then.
   */
  setExperiments(configs: readonly ExperimentConfig[]): void;
  /** The pipeline of requests outside experiments: the one set, else what the bundle says. */
  defaultPipeline(): string;
  /** @throws NOT_FOUND where it is not served. */
  setDefaultPipeline(name: string): void;
  /** Ids of users whose histories the bundle brings, in its order, at most `limit`; for demos and load tests. */
  knownUsers(limit: number): readonly string[];
  /** How many events the histories of these users hold, in the same order: what their share of traffic is. */
  knownUserEvents(limit: number): readonly number[];
  /** Names of the pipelines that a header may force. */
  pipelines(): readonly string[];
  /** Undefined when ready, else what it waits for. */
  notReadyReason(): string | undefined;
  /** Called after each answer or failure; the HTTP layer feeds its metrics from it. */
  onObservation(listener: (observation: Observation) => void): void;
  /**
   * Reads the bundle again: a changed one is opened beside the one that serves, checked, warmed and switched to between
   * two requests; each request is answered by the version it met. Unchanged variants keep their runners. One at a time:
   * a call during a reload gets one of its own after it.
   * @throws why the new version was refused (files, models, golden requests, a pipeline that traffic needs); the old
   * one serves on.
   */
  reload(): Promise<ReloadReport>;
  status(): EngineStatus;
  close(): Promise<void>;
}

export type Observation =
  | { readonly kind: 'answer'; readonly endpoint: Endpoint; readonly answer: AnswerInfo }
  | {
      readonly kind: 'failure';
      readonly endpoint: Endpoint;
      readonly code: string;
      readonly pipeline?: string;
    }
  | {
      readonly kind: 'batch';
      readonly runner: string;
      readonly jobs: number;
      readonly rows: number;
      readonly runMs: number;
      /** Time its oldest request waited; 0 for a shadow. */
      readonly queueMs: number;
    }
  | {
      readonly kind: 'shadow';
      readonly variant: string;
      readonly overlapAt10: number;
      readonly ndcgAt10: number;
      readonly scoreError: number;
    }
  | { readonly kind: 'shadow_dropped'; readonly variant: string; readonly reason: string }
  /** The store's buffer was full: the answer was given but is missing from the log. */
  | { readonly kind: 'exposure_dropped' };

export type Endpoint = 'recommend' | 'search' | 'rank';

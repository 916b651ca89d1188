export interface ConcurrencyLimitOptions {
  /** Time in queue and run, in ms, that jobs should stay within; asked at each observation. */
  targetMs(): number;
  /** Batches in run at a time; less than 1 while no runner is ready, which counts as 1. */
  lanes(): number;
  /** Highest limit. */
  readonly maximum: number;
}

/** What a finished batch tells of the system it went through. */
export interface BatchSojourn {
  /** Jobs that waited or ran when its newest job had been admitted, that one included. */
  readonly present: number;
  /** Time its oldest job waited and ran. */
  readonly sojournMs: number;
}

const INITIAL_LIMIT = 16;
/** One job in run and one that waits: below that a lane would idle between runs. */
const MIN_JOBS_A_LANE = 2;
/** Share of the target that the limit aims at: room for what varies between batches. */
const AIM = 0.9;
/** Share of the gap between limit and estimate, in logarithms, that one batch closes. */
const STEP = 0.4;
/** Largest change by one batch, as a factor. */
const FASTEST = 2;

/** Runs of one job that must fit in the time wanted, where that is longer than the objective. */
const SMALLEST_TARGET_RUNS = 3;

/**
 * Time in queue and run to aim at: the objective, or for a model that is slower than that (`jobMs`: its run of one job)
 * what lets it be served at full speed all the same, a run to wait for, a run, and some room.
 */
export function targetMs(objectiveMs: number, jobMs: number): number {
  return Math.max(objectiveMs, SMALLEST_TARGET_RUNS * jobMs);
}

/**
 * How many jobs may wait or run, so that those admitted are served in time and the runners never idle. By Little's law
 * jobs present = throughput × time in the system, so each batch measures the throughput, and the limit follows
 * throughput × wanted time: it moves by the gradient of wanted over measured time, as in Netflix's concurrency-limits,
 * where the time without load stands in the place of the wanted one. Because a sample carries the number of jobs that
 * it met, it is right whatever the limit was meanwhile, and the limit does not swing.
 *
 * Larger batches never lower the throughput, so a sample of few jobs is a lower bound: it may raise the limit. It lowers
 * the limit where the limit was reached, or where jobs took too long; not below the initial limit where there were few,
 * so that a slow moment at low load costs nobody an answer.
 */
export class ConcurrencyLimit {
  readonly #options: ConcurrencyLimitOptions;
  #limit: number;
  #sojournMs = 0;

  constructor(options: ConcurrencyLimitOptions) {
    this.#options = options;
    this.#limit = INITIAL_LIMIT;
  }

  /** Jobs that may wait or run: a whole number of at least 1. */
  get limit(): number {
    const minimum = MIN_JOBS_A_LANE * Math.max(1, this.#options.lanes());
    return Math.max(1, Math.min(Math.floor(Math.max(this.#limit, minimum)), this.#options.maximum));
  }

  /** When a refused caller may come back: by then what is in the system is done. */
  get retryAfterSeconds(): number {
    return Math.max(1, Math.ceil(this.#sojournMs / 1000));
  }

  /** Learns from a finished batch. */
  observe({ present, sojournMs }: BatchSojourn): void {
    this.#sojournMs = sojournMs;
    const wantedMs = AIM * this.#options.targetMs();
    const estimate = (present * wantedMs) / Math.max(sojournMs, Number.MIN_VALUE);
    const gap = estimate / this.#limit;
    const factor = Math.min(FASTEST, Math.max(1 / FASTEST, gap ** STEP));
    const moved = Math.max(this.#limit * factor, this.#floor(present, sojournMs > wantedMs));
    this.#limit = Math.max(1, Math.min(moved, this.#options.maximum));
  }

  /** How low a sample may bring the limit. */
  #floor(present: number, isSlow: boolean): number {
    if (present >= this.limit) return 0;
    if (!isSlow) return this.#limit;
    // Half the limit or more may be what made it slow; a few jobs were slow by themselves.
    return present >= this.limit / 2 ? 0 : Math.min(this.#limit, INITIAL_LIMIT);
  }
}

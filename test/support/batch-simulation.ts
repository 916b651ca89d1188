import { createRandom, must } from '../../src/core/index.js';
import type { BatchSojourn } from '../../src/runtime/concurrency-limit.js';
import { RunCost, targetMs } from '../../src/runtime/index.js';

/** What admission needs to answer in a simulation; {@link ConcurrencyLimit} and any fixed limit can. */
export interface Admission {
  readonly limit: number;
  observe(batch: BatchSojourn): void;
}

/** One stretch of time with a load and a speed of its own. */
export interface Phase {
  readonly seconds: number;
  readonly arrivalsPerSecond: number;
  /** Factor on the time of every run. */
  readonly slowness: number;
}

export interface SimulationOptions {
  readonly seed: number;
  readonly lanes: number;
  /** Time of a run: fixed, and of each row. */
  readonly fixedMs: number;
  readonly rowMs: number;
  readonly rowsPerJob: number;
  readonly maxBatchJobs: number;
  readonly objectiveMs: number;
  readonly phases: readonly Phase[];
  /** `cost` is what the simulated ranker has learned of its runs. */
  admission(cost: RunCost): Admission;
}

export interface PhaseResult {
  readonly answered: number;
  readonly refused: number;
  /** Answers within twice the objective. */
  readonly good: number;
  /** Time in the system of answered jobs, by the end of their run in this phase, ascending. */
  readonly sojournsMs: readonly number[];
}

interface Job {
  readonly submittedAt: number;
  /** Jobs that waited or ran once this one was admitted. */
  readonly present: number;
}

interface RunningBatch {
  readonly jobs: readonly Job[];
  readonly startedAt: number;
  readonly finishedAt: number;
}

/** Spread of run times: the logarithm's standard deviation. */
const NOISE = 0.1;

/**
 * A queue, its batches and its lanes under Poisson arrivals, event by event, with the real cost model as its cap on
 * batches and the given admission. Equal options give equal results.
 */
export function simulate(options: SimulationOptions): PhaseResult[] {
  const random = createRandom(options.seed);
  const cost = new RunCost();
  const admission = options.admission(cost);
  const waiting: Job[] = [];
  const running: RunningBatch[] = [];
  let now = 0;

  const take = (slowness: number): void => {
    while (running.length < options.lanes && waiting.length > 0) {
      const rows = cost.rowsWithin(wantedMs(options, cost) / 2);
      const jobs = Math.max(1, Math.min(options.maxBatchJobs, Math.floor(rows / options.rowsPerJob)));
      const batch = waiting.splice(0, jobs);
      const ms = options.fixedMs + options.rowMs * options.rowsPerJob * batch.length;
      const noise = Math.exp(NOISE * random.normal());
      running.push({ jobs: batch, startedAt: now, finishedAt: now + ms * slowness * noise });
    }
  };
  const finish = (
    batch: RunningBatch,
    result: { answered: number; good: number; sojourns: number[] },
  ): void => {
    running.splice(running.indexOf(batch), 1);
    cost.observe(batch.jobs.length * options.rowsPerJob, batch.finishedAt - batch.startedAt);
    const oldest = must(batch.jobs.at(0), 'job');
    const newest = must(batch.jobs.at(-1), 'job');
    admission.observe({ present: newest.present, sojournMs: now - oldest.submittedAt });
    for (const { submittedAt } of batch.jobs) {
      const sojourn = now - submittedAt;
      result.answered += 1;
      if (sojourn <= 2 * options.objectiveMs) result.good += 1;
      result.sojourns.push(sojourn);
    }
  };

  let phaseStart = 0;
  return options.phases.map(({ seconds, arrivalsPerSecond, slowness }) => {
    const result = { answered: 0, good: 0, refused: 0, sojourns: [] as number[] };
    const phaseEnd = phaseStart + seconds * 1000;
    const gapMs = (): number => (-Math.log(1 - random.uniform()) * 1000) / arrivalsPerSecond;
    let nextArrival = phaseStart + gapMs();
    for (;;) {
      const first = running.reduce<RunningBatch | undefined>(
        (best, one) => (best === undefined || one.finishedAt < best.finishedAt ? one : best),
        undefined,
      );
      const finishes = first !== undefined && first.finishedAt <= nextArrival;
      now = finishes ? first.finishedAt : nextArrival;
      if (now >= phaseEnd) break;
      if (finishes) finish(first, result);
      else {
        const present = waiting.length + running.reduce((sum, { jobs }) => sum + jobs.length, 0);
        if (present < admission.limit) waiting.push({ submittedAt: now, present: present + 1 });
        else result.refused += 1;
        nextArrival = now + gapMs();
      }
      take(slowness);
    }
    phaseStart = phaseEnd;
    const { answered, good, refused, sojourns } = result;
    return { answered, good, refused, sojournsMs: sojourns.sort((a, b) => a - b) };
  });
}

/** Time that jobs should stay within, by what has been learned of the cost. */
export function wantedMs(
  { objectiveMs, rowsPerJob }: Pick<SimulationOptions, 'objectiveMs' | 'rowsPerJob'>,
  cost: RunCost,
): number {
  return targetMs(objectiveMs, cost.predictMs(rowsPerJob));
}

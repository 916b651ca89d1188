import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { readProcessStats } from '../runtime/index.js';
import type {
  AnswerInfo,
  Endpoint,
  Engine,
  EngineStatus,
  Observation,
  RunnerStatus,
} from '../serving/index.js';
import { DegradationMetrics } from './degradation-metrics.js';
import { FidelityGauges } from './fidelity-gauges.js';

const STAGE_SECONDS = [
  0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 2.5, 10,
];
const BATCH_ROWS = [1, 10, 50, 100, 200, 400, 800, 1_600, 3_200, 6_400];
const BATCH_JOBS = [1, 2, 4, 8, 16, 32, 64];

type ProcessCost = Pick<RunnerStatus, 'cpuSeconds' | 'privateBytes' | 'proportionalBytes'>;

/**
 * The metrics of one server in a registry of their own. Labels are bounded: they come from the bundle, the
 * configuration and the routes, never from what a client sends.
 */
export class Metrics {
  readonly #engine: Engine;
  readonly #registry = new Registry();
  readonly #fidelity = new FidelityGauges(this.#registry);
  readonly #degradation = new DegradationMetrics(this.#registry);
  readonly #responses = this.#counter('whittle_http_responses_total', 'Responses sent.', ['route', 'status']);
  readonly #requests = this.#counter('whittle_requests_total', 'Ranking requests by what became of them.', [
    'endpoint',
    'pipeline',
    'variant',
    'arm',
    'outcome',
  ]);
  readonly #stages = this.#histogram(
    'whittle_stage_seconds',
    'Time of a stage; queue is part of retrieve and rank, cached is the whole of an answer from the cache.',
    ['pipeline', 'stage'],
    STAGE_SECONDS,
  );
  readonly #batchRows = this.#histogram('whittle_batch_rows', 'Rows of a run.', ['runner'], BATCH_ROWS);
  readonly #batchJobs = this.#histogram(
    'whittle_batch_jobs',
    'Requests that share a run.',
    ['runner'],
    BATCH_JOBS,
  );
  readonly #shadows = this.#counter(
    'whittle_shadow_total',
    'Answers whose candidates the variant and the full model both ranked.',
    ['variant'],
  );
  readonly #shadowsDropped = this.#counter(
    'whittle_shadow_dropped_total',
    'Sampled answers that were not ranked again.',
    ['variant', 'reason'],
  );
  readonly #exposuresDropped = this.#counter(
    'whittle_exposures_dropped_total',
    'Answers missing from the log because its buffer was full.',
    [],
  );
  readonly #experimentsPaused = this.#gauge(
    'whittle_experiments_paused',
    '1 while experiments assign nobody because answers cannot be logged.',
    [],
  );
  readonly #exposuresWaiting = this.#gauge(
    'whittle_exposures_waiting',
    'Answers that wait to be written to the log.',
    [],
  );
  readonly #queueDepth = this.#gauge('whittle_queue_depth', 'Jobs that wait for a runner.', ['runner']);
  readonly #runnerReady = this.#gauge('whittle_runner_ready', '1 while the runner takes jobs.', ['runner']);
  readonly #runners = this.#gauge('whittle_runners', 'Processes of the runner that take jobs.', ['runner']);
  readonly #restarts = this.#counter('whittle_runner_restarts_total', 'Times a runner was replaced.', [
    'runner',
  ]);
  readonly #cpuSeconds = this.#counter('whittle_process_cpu_seconds_total', 'CPU time of a process.', [
    'process',
  ]);
  readonly #privateBytes = this.#gauge('whittle_process_private_bytes', 'Memory that only the process has.', [
    'process',
  ]);
  readonly #proportionalBytes = this.#gauge(
    'whittle_process_proportional_bytes',
    'Private memory and the share of what it shares.',
    ['process'],
  );

  /** Listens to the engine from now on. */
  constructor(engine: Engine) {
    this.#engine = engine;
    collectDefaultMetrics({ register: this.#registry, prefix: 'whittle_gateway_' });
    engine.onObservation((observation) => {
      this.#observe(observation);
    });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** @param route the path of the matched route, undefined where none matched. */
  countResponse(route: string | undefined, status: number): void {
    this.#responses.inc({ route: route ?? 'none', status });
  }

  /** Counts a ranking request that was refused before the engine saw it. */
  readonly countRefusal = (endpoint: Endpoint, code: string): void => {
    this.#requests.inc({ endpoint, pipeline: 'none', variant: 'none', arm: 'none', outcome: code });
  };

  /** Everything in the Prometheus text format; states and processes are read at this moment. */
  async scrape(): Promise<string> {
    await this.#refresh();
    return this.#registry.metrics();
  }

  /** The same as plain data, which can be added up with that of other gateways. */
  async collect(): Promise<readonly object[]> {
    await this.#refresh();
    return this.#registry.getMetricsAsJSON();
  }

  async #refresh(): Promise<void> {
    const [variants, runners, gateway] = await Promise.all([
      this.#engine.variants(),
      this.#engine.runners(),
      readProcessStats(process.pid),
    ]);
    this.#fidelity.set(variants);
    this.#degradation.set(variants, this.#engine.degradation());
    this.#setStore(this.#engine.status());
    this.#setRunners(runners);
    this.#setProcess('gateway', gateway);
  }

  #setStore({ store, experimentsPaused }: EngineStatus): void {
    this.#experimentsPaused.set(experimentsPaused === undefined ? 0 : 1);
    this.#exposuresWaiting.set(store.exposuresWaiting);
  }

  #observe(observation: Observation): void {
    switch (observation.kind) {
      case 'answer':
        this.#countAnswer(observation.endpoint, observation.answer);
        this.#degradation.count(observation.answer);
        break;
      case 'failure': {
        const { endpoint, pipeline = 'none', code } = observation;
        this.#requests.inc({ endpoint, pipeline, variant: 'none', arm: 'none', outcome: code });
        break;
      }
      case 'batch':
        this.#batchRows.observe({ runner: observation.runner }, observation.rows);
        this.#batchJobs.observe({ runner: observation.runner }, observation.jobs);
        break;
      case 'shadow':
        this.#shadows.inc({ variant: observation.variant });
        break;
      case 'exposure_dropped':
        this.#exposuresDropped.inc();
        break;
      case 'shadow_dropped':
        this.#shadowsDropped.inc({ variant: observation.variant, reason: observation.reason });
        break;
    }
  }

  #countAnswer(endpoint: string, answer: AnswerInfo): void {
    const { pipeline, variant, arm = 'none', cached, timings } = answer;
    this.#requests.inc({ endpoint, pipeline, variant, arm, outcome: cached ? 'cached' : 'ok' });
    const { historyMs, retrieveMs, rankMs, queueMs, totalMs } = timings;
    const stages = { history: historyMs, retrieve: retrieveMs, rank: rankMs, queue: queueMs };
    for (const [stage, ms] of Object.entries(stages)) {
      // A stage that did not take place has no time, and must not pull the others' down.
      if (ms > 0) this.#stages.observe({ pipeline, stage }, ms / 1000);
    }
    this.#stages.observe({ pipeline, stage: cached ? 'cached' : 'total' }, totalMs / 1000);
  }

  #setRunners(runners: readonly RunnerStatus[]): void {
    for (const metric of [this.#restarts, this.#cpuSeconds, this.#privateBytes, this.#proportionalBytes])
      metric.reset();
    for (const status of runners) {
      const runner = status.name;
      this.#queueDepth.set({ runner }, status.queued);
      this.#runnerReady.set({ runner }, status.state === 'ready' ? 1 : 0);
      this.#runners.set({ runner }, status.processes.filter(({ state }) => state === 'ready').length);
      this.#restarts.inc({ runner }, status.restarts);
      this.#setProcess(runner, status);
    }
  }

  #setProcess(name: string, { cpuSeconds, privateBytes, proportionalBytes }: ProcessCost): void {
    if (cpuSeconds !== undefined) this.#cpuSeconds.inc({ process: name }, cpuSeconds);
    if (privateBytes !== undefined) this.#privateBytes.set({ process: name }, privateBytes);
    if (proportionalBytes !== undefined) this.#proportionalBytes.set({ process: name }, proportionalBytes);
  }

  #counter(name: string, help: string, labelNames: string[]): Counter {
    return new Counter({ name, help, labelNames, registers: [this.#registry] });
  }

  #gauge(name: string, help: string, labelNames: string[]): Gauge {
    return new Gauge({ name, help, labelNames, registers: [this.#registry] });
  }

  #histogram(name: string, help: string, labelNames: string[], buckets: number[]): Histogram {
    return new Histogram({ name, help, labelNames, buckets, registers: [this.#registry] });
  }
}

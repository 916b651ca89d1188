import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client';
import { readProcessStats } from '../runtime/index.js';
import type {
  AnswerInfo,
  DegradationStatus,
  Endpoint,
  Engine,
  EngineStatus,
  Observation,
  RunnerStatus,
} from '../serving/index.js';
import { DegradationMetrics } from './degradation-metrics.js';
import { FidelityGauges } from './fidelity-gauges.js';
import { OTHER, SeriesBudget } from './series-budget.js';
import { CounterTally, HistogramTally } from './tallies.js';

const STAGE_SECONDS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1];
const ANSWER_SECONDS = [0.01, 0.02, 0.05, 0.1, 0.5];
const BATCH_ROWS = [1, 10, 50, 100, 200, 400, 800, 1_600, 3_200, 6_400];
const BATCH_JOBS = [1, 2, 4, 8, 16, 32, 64];

/** Metrics of Node.js that say little and have a series for each heap space, kind of resource or kind of collection. */
const LEFT_OUT = [
  'nodejs_heap_space_size_total_bytes',
  'nodejs_heap_space_size_used_bytes',
  'nodejs_heap_space_size_available_bytes',
  'nodejs_active_resources',
  'nodejs_active_handles',
  'nodejs_active_requests',
  'nodejs_gc_duration_seconds',
];

type ProcessCost = Pick<RunnerStatus, 'cpuSeconds' | 'privateBytes' | 'proportionalBytes'>;

/**
 * The metrics of one server in a registry of their own, at most {@link MAX_SERIES} series: labels come from the bundle,
 * the configuration and the routes, never from what a client sends, and see {@link SeriesBudget}.
 */
export class Metrics {
  readonly #engine: Engine;
  readonly #registry = new Registry();
  readonly #fidelity = new FidelityGauges(this.#registry);
  readonly #degradation = new DegradationMetrics(this.#registry);
  readonly #budget = new SeriesBudget();
  readonly #responses = this.#tally('whittle_http_responses_total', 'Responses sent.', ['route', 'status']);
  readonly #requests = this.#tally('whittle_requests_total', 'Ranking requests by what became of them.', [
    'endpoint',
    'outcome',
  ]);
  readonly #answers = this.#tally('whittle_answers_total', 'Answers by who gave them.', ['pipeline', 'arm']);
  readonly #failures = this.#tally('whittle_failures_total', 'Requests that a pipeline did not answer.', [
    'pipeline',
  ]);
  readonly #stages = new HistogramTally(
    this.#registry,
    'whittle_stage_seconds',
    'Time of a stage; queue is part of retrieve and rank, cached is the whole of an answer from the cache.',
    STAGE_SECONDS,
    'stage',
  );
  readonly #answerSeconds = new HistogramTally(
    this.#registry,
    'whittle_answer_seconds',
    'Time of a whole answer that did not come from the cache.',
    ANSWER_SECONDS,
    'pipeline',
  );
  readonly #batchRows = new HistogramTally(
    this.#registry,
    'whittle_batch_rows',
    'Rows of a run.',
    BATCH_ROWS,
  );
  readonly #batchJobs = new HistogramTally(
    this.#registry,
    'whittle_batch_jobs',
    'Requests that share a run.',
    BATCH_JOBS,
  );
  readonly #batches = this.#tally('whittle_batches_total', 'Runs of a runner.', ['runner']);
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
    const prefix = 'whittle_gateway_';
    collectDefaultMetrics({ register: this.#registry, prefix });
    for (const name of LEFT_OUT) this.#registry.removeSingleMetric(prefix + name);
    for (const pipeline of engine.pipelines()) this.#budget.label('pipeline', pipeline);
    engine.onObservation((observation) => {
      this.#observe(observation);
    });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** @param route the path of the matched route, undefined where none matched. */
  countResponse(route: string | undefined, status: number): void {
    this.#responses.inc(route ?? 'none', String(status));
  }

  /** Counts a ranking request that was refused before the engine saw it. */
  readonly countRefusal = (endpoint: Endpoint, code: string): void => {
    this.#requests.inc(endpoint, code);
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
    const shown = variants.filter(({ name }) => this.#budget.label('variant', name) !== OTHER);
    this.#fidelity.set(shown);
    this.#degradation.set(shown, this.#degradationShown());
    this.#setStore(this.#engine.status());
    this.#setRunners(runners);
    this.#setProcess('gateway', gateway);
  }

  #degradationShown(): DegradationStatus {
    const status = this.#engine.degradation();
    const shown = ({ pipeline }: { pipeline: string }): boolean =>
      this.#budget.label('pipeline', pipeline) !== OTHER;
    return { ...status, candidates: status.candidates.filter(shown) };
  }

  #setStore({ store, experimentsPaused }: EngineStatus): void {
    this.#experimentsPaused.set(experimentsPaused === undefined ? 0 : 1);
    this.#exposuresWaiting.set(store.exposuresWaiting);
  }

  #observe(observation: Observation): void {
    switch (observation.kind) {
      case 'answer':
        this.#countAnswer(observation.endpoint, observation.answer);
        break;
      case 'failure': {
        const { endpoint, pipeline, code } = observation;
        this.#requests.inc(endpoint, code);
        if (pipeline !== undefined) this.#failures.inc(this.#budget.label('pipeline', pipeline));
        break;
      }
      case 'batch':
        this.#batches.inc(this.#budget.label('runner', observation.runner));
        this.#batchRows.tally(observation.rows);
        this.#batchJobs.tally(observation.jobs);
        break;
      case 'shadow':
        this.#shadows.inc({ variant: this.#budget.label('variant', observation.variant) });
        break;
      case 'exposure_dropped':
        this.#exposuresDropped.inc();
        break;
      case 'shadow_dropped':
        this.#shadowsDropped.inc({
          variant: this.#budget.label('variant', observation.variant),
          reason: observation.reason,
        });
        break;
    }
  }

  #countAnswer(endpoint: string, answer: AnswerInfo): void {
    const { arm = 'none', cached, degradedFrom, timings } = answer;
    const { historyMs, retrieveMs, rankMs, queueMs, totalMs } = timings;
    const pipeline = this.#budget.label('pipeline', answer.pipeline);
    this.#requests.inc(endpoint, cached ? 'cached' : 'ok');
    this.#countArm(pipeline, arm);
    if (degradedFrom !== undefined) this.#degradation.count(pipeline);
    this.#observeStage('history', historyMs);
    this.#observeStage('retrieve', retrieveMs);
    this.#observeStage('rank', rankMs);
    this.#observeStage('queue', queueMs);
    this.#observeStage(cached ? 'cached' : 'total', totalMs);
    if (!cached) this.#answerSeconds.tally(totalMs / 1000, pipeline);
  }

  #countArm(pipeline: string, arm: string): void {
    if (arm === 'none' || this.#budget.label('arm', arm) !== OTHER) this.#answers.inc(pipeline, arm);
    else this.#answers.inc(OTHER, OTHER);
  }

  /** A stage that did not take place has no time, and must not pull the others' down. */
  #observeStage(stage: string, ms: number): void {
    if (ms > 0) this.#stages.tally(ms / 1000, stage);
  }

  #setRunners(runners: readonly RunnerStatus[]): void {
    for (const metric of [this.#restarts, this.#cpuSeconds, this.#privateBytes, this.#proportionalBytes])
      metric.reset();
    for (const status of runners) {
      const runner = this.#budget.label('runner', status.name);
      if (runner === OTHER) continue;
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

  #tally(name: string, help: string, labelNames: string[]): CounterTally {
    return new CounterTally(this.#registry, name, help, labelNames);
  }
}

import {
  toWhittleError,
  WhittleError,
  type ExperimentConfig,
  type Log,
  type ServerConfig,
} from '../core/index.js';
import { createExperiments, runningExperiment, type Experiments } from '../experiments/index.js';
import { openStore, type Store } from '../store/index.js';
import { answerInfo, inItems, inRows, type AnswerForm } from './answer.js';
import type { OpenBundle } from './bundle.js';
import { beforeDeadline } from './deadline.js';
import { Degradation } from './degradation.js';
import type { Fleet } from './fleet.js';
import { Generation } from './generation.js';
import { Observers } from './observers.js';
import {
  recommendWith,
  rankWith,
  searchWith,
  type Pipeline,
  type PipelineRequest,
  type Ranked,
} from './pipeline.js';
import { checkedRows, prepareRequest, rowsOf, type AnyRequest } from './prepare.js';
import { Recorder } from './recorder.js';
import { routeRequest, type Route } from './routing.js';
import type {
  Answer,
  AnswerInfo,
  DegradationStatus,
  Endpoint,
  Engine,
  EngineStatus,
  EventsReceipt,
  ExperimentStatus,
  Observation,
  RankedRows,
  RankRequest,
  RankRowsRequest,
  RecommendRequest,
  ReloadReport,
  RunnerStatus,
  SearchRequest,
  UserEvent,
  VariantStatus,
} from './types.js';
import { pauseWhileFailing, seedHistories } from './store-watch.js';
import { Swapper } from './swapper.js';
import { runnerStatus } from './runner-status.js';
import { variantStatuses } from './variant-status.js';

export interface EngineOptions {
  readonly config: ServerConfig;
  readonly log: Log;
  /** Variants to start; default: all of the bundle. */
  readonly variants?: readonly string[];
}

type RunPipeline = (pipeline: Pipeline, bundle: OpenBundle, prepared: PipelineRequest) => Promise<Ranked>;

/**
 * Opens bundle, store and runners, and answers requests until closed.
 * @throws what {@link Generation.open} and the store throw; nothing is left running then.
 */
export async function openEngine({ config, log, variants }: EngineOptions): Promise<BundleEngine> {
  const experiments = createExperiments(config.experiments);
  const store = openStore(config.store.path, { log, allowUnwritable: true });
  const observers = new Observers();
  try {
    const open = (pipelines: readonly string[], previous?: Generation): Promise<Generation> =>
      Generation.open({
        config,
        log,
        ...(variants === undefined ? {} : { variants }),
        observe: observers.tell,
        pipelines,
        ...(previous === undefined ? {} : { previous }),
      });
    const generation = await open(pipelinesOf(config.experiments));
    await seedHistories(store, generation);
    return new BundleEngine({ config, log, open, experiments, store, observers }, generation);
  } catch (thrown) {
    await store.close();
    throw thrown;
  }
}

/** What an engine is made of, beside the generation that it starts with. */
interface EngineParts {
  readonly config: ServerConfig;
  readonly log: Log;
  readonly open: (pipelines: readonly string[], previous: Generation) => Promise<Generation>;
  readonly experiments: Experiments;
  readonly store: Store;
  readonly observers: Observers;
}

/** The engine over one bundle. See {@link Engine} for what each call does. */
export class BundleEngine implements Engine {
  readonly #config: ServerConfig;
  readonly #experiments: Experiments;
  readonly #store: Store;
  readonly #observers: Observers;
  readonly #recorder: Recorder;
  readonly #degradation: Degradation;
  readonly #swapper: Swapper;
  /** Takes the place of the bundle's. */
  #defaultPipeline: string | undefined;
  #closing = false;

  constructor({ config, log, open, experiments, store, observers }: EngineParts, generation: Generation) {
    this.#config = config;
    this.#swapper = new Swapper(
      {
        folder: config.bundle,
        log,
        open,
        seed: (next) => seedHistories(store, next),
        neededPipelines: () => this.#neededPipelines(),
      },
      generation,
    );
    this.#experiments = experiments;
    this.#store = store;
    this.#observers = observers;
    this.#recorder = new Recorder(store, experiments, observers.tell);
    this.#degradation = new Degradation({
      config: config.overload.degradation,
      log,
      generation: () => this.#generation,
      defaultPipeline: () => this.defaultPipeline(),
    });
    this.#degradation.start(observers);
    pauseWhileFailing(store, experiments, () => {
      seedHistories(store, this.#generation).catch((thrown: unknown) => {
        log.error('histories_not_seeded', { reason: toWhittleError(thrown).message });
      });
    });
  }

  /** What a request that comes now meets. */
  get #generation(): Generation {
    return this.#swapper.generation;
  }

  /** The bundle that is served now. */
  get bundle(): OpenBundle {
    return this.#generation.bundle;
  }

  /** The runners that serve it now. */
  get fleet(): Fleet {
    return this.#generation.fleet;
  }

  recommend(request: RecommendRequest): Promise<Answer> {
    return this.#serve('recommend', request, request.k, recommendWith, inItems);
  }

  search(request: SearchRequest): Promise<Answer> {
    return this.#serve('search', { ...request, includeSeen: true }, request.k, searchWith, inItems);
  }

  rank(request: RankRequest): Promise<Answer> {
    const run: RunPipeline = (pipeline, bundle, prepared) =>
      rankWith(
        pipeline,
        bundle,
        prepared,
        rowsOf(bundle.catalogue, request.items, (place) => `items.${place}`),
      );
    return this.#serve('rank', request, request.items.length, run, inItems);
  }

  rankRows(request: RankRowsRequest): Promise<RankedRows> {
    const run: RunPipeline = (pipeline, bundle, prepared) =>
      rankWith(pipeline, bundle, prepared, checkedRows(bundle.catalogue, request.rows, 'rows'));
    return this.#serve('rank', request, request.rows.length, run, inRows);
  }

  saturated(endpoint: Endpoint, forcedPipeline?: string): boolean {
    const { pipelines } = this.fleet;
    const full = (name: string): boolean => isSaturated(pipelines.get(name), endpoint);
    if (forcedPipeline !== undefined) return full(forcedPipeline);
    const { target } = this.#degradation;
    // The first answers for nearly every request.
    return (
      full(this.defaultPipeline()) &&
      this.#trafficPipelines().every(full) &&
      (target === undefined || isSaturated(target, endpoint))
    );
  }

  async recordEvents(events: readonly UserEvent[]): Promise<EventsReceipt> {
    const items = events.map(({ item }) => item);
    rowsOf(this.bundle.catalogue, items, (place) => `events.${place}.item`);
    const timed = events.map((event) => ({ ...event, timeMs: event.timeMs ?? Date.now() }));
    const receipt = await this.#store.appendEvents(timed);
    for (const event of timed) this.#generation.engage(event);
    return receipt;
  }

  variants(): Promise<readonly VariantStatus[]> {
    return variantStatuses(this.#generation, this.#recorder.traffic);
  }

  degradation(): DegradationStatus {
    return this.#degradation.status();
  }

  runners(): Promise<readonly RunnerStatus[]> {
    const runners = [...this.fleet.rankers.values(), ...this.fleet.retrievers.values()];
    return Promise.all(runners.map((runner) => runnerStatus(runner, this.bundle.directory)));
  }

  knownUsers(limit: number): readonly string[] {
    return this.#generation.users.slice(0, limit).map(({ user }) => user);
  }

  knownUserEvents(limit: number): readonly number[] {
    return this.#generation.users.slice(0, limit).map(({ history }) => history.length);
  }

  experiments(): readonly ExperimentStatus[] {
    return this.#experiments.report();
  }

  experimentConfigs(): readonly ExperimentConfig[] {
    return this.#experiments.configs();
  }

  setExperiments(configs: readonly ExperimentConfig[]): void {
    for (const { arms } of configs) for (const { pipeline } of arms) this.fleet.pipeline(pipeline);
    this.#experiments.replace(configs);
  }

  defaultPipeline(): string {
    return this.#defaultPipeline ?? this.bundle.manifest.defaultPipeline;
  }

  setDefaultPipeline(name: string): void {
    this.#defaultPipeline = this.fleet.pipeline(name).name;
  }

  pipelines(): readonly string[] {
    return [...this.fleet.pipelines.keys()];
  }

  notReadyReason(): string | undefined {
    if (this.#closing) return 'the server is stopping';
    return this.fleet.notReadyReason(this.#trafficPipelines());
  }

  /** Pipelines that unforced requests can meet. A variant that takes no traffic does not make the server unready. */
  #trafficPipelines(): string[] {
    const running = runningExperiment(this.#experiments.configs());
    return [this.defaultPipeline(), ...(running?.arms ?? []).map(({ pipeline }) => pipeline)];
  }

  /** Pipelines that a bundle must have to take the place of the one that serves. */
  #neededPipelines(): string[] {
    const chosen = this.#defaultPipeline === undefined ? [] : [this.#defaultPipeline];
    return [...chosen, ...pipelinesOf(this.#experiments.configs())];
  }

  onObservation(listener: (observation: Observation) => void): void {
    this.#observers.add(listener);
  }

  reload(): Promise<ReloadReport> {
    return this.#swapper.reload();
  }

  status(): EngineStatus {
    const paused = this.#experiments.paused();
    return {
      ...this.#swapper.status(),
      store: this.#store.health(),
      ...(paused === undefined ? {} : { experimentsPaused: paused }),
    };
  }

  async close(): Promise<void> {
    this.#closing = true;
    this.#degradation.stop();
    await this.#swapper.close();
    await this.#store.close();
  }

  /** Routes, prepares, runs or finds in the cache, records. */
  async #serve<A extends AnswerInfo>(
    endpoint: Endpoint,
    request: AnyRequest,
    k: number,
    run: RunPipeline,
    form: AnswerForm<A>,
  ): Promise<A> {
    const startedAt = performance.now();
    let route: Route | undefined;
    try {
      if (this.#closing) throw new WhittleError('NOT_READY', 'The server is stopping');
      const generation = this.#generation;
      checkVersion(generation, request);
      route = routeRequest(
        generation,
        this.#experiments,
        request,
        this.#degradation.takeover,
        this.#defaultPipeline,
      );
      const [info, ranked] = await this.#serveRouted(generation, route, endpoint, request, k, startedAt, run);
      return form(info, ranked, generation);
    } catch (thrown) {
      const { code } = toWhittleError(thrown);
      const pipeline = route?.pipeline.name;
      this.#observers.tell({
        kind: 'failure',
        endpoint,
        code,
        ...(pipeline === undefined ? {} : { pipeline }),
      });
      throw thrown;
    }
  }

  async #serveRouted(
    generation: Generation,
    route: Route,
    endpoint: Endpoint,
    request: AnyRequest,
    k: number,
    startedAt: number,
    run: RunPipeline,
  ): Promise<[AnswerInfo, Ranked]> {
    const deadlineAt = startedAt + this.#config.server.deadlineMs;
    const prepared = prepareRequest(generation.bundle, this.#store, request, k, deadlineAt);
    const historyMs = performance.now() - startedAt;
    const ranking = generation.during(() => cachedRun(generation, route, endpoint, request, prepared, run));
    const { ranked, cached } = await beforeDeadline(ranking, deadlineAt);
    const answer = answerInfo(generation, request, route, { ranked, cached, historyMs, startedAt });
    this.#recorder.record({ endpoint, request, generation, route, ranked, answer });
    return [answer, ranked];
  }
}

/** Whether a part that the pipeline needs for the endpoint takes no more; one that is not there is another error. */
function isSaturated(pipeline: Pipeline | undefined, endpoint: Endpoint): boolean {
  if (pipeline === undefined) return false;
  if (endpoint === 'search') return pipeline.search?.saturated() ?? false;
  const ranker = pipeline.ranker?.runner.saturated() ?? false;
  return ranker || (endpoint === 'recommend' && (pipeline.recommend?.saturated() ?? false));
}

/** @throws INPUT_INVALID where the request's rows are of another state of the bundle. */
function checkVersion({ version }: Generation, request: AnyRequest): void {
  if (!('rows' in request) || request.bundleVersion === undefined || request.bundleVersion === version)
    return;
  throw new WhittleError(
    'INPUT_INVALID',
    `x-whittle-bundle: ${version} is served; read the catalogue again`,
    {
      field: 'x-whittle-bundle',
      value: request.bundleVersion,
      allowed: version,
    },
  );
}

function pipelinesOf(experiments: readonly ExperimentConfig[]): string[] {
  return experiments.flatMap(({ arms }) => arms.map(({ pipeline }) => pipeline));
}

/** Requests of an experiment bypass the cache, so that an arm's latency and exposure are its own. */
async function cachedRun(
  { bundle, cache }: Generation,
  { pipeline, assignment }: Route,
  endpoint: Endpoint,
  request: AnyRequest,
  prepared: PipelineRequest,
  run: RunPipeline,
): Promise<{ ranked: Ranked; cached: boolean }> {
  if (assignment !== undefined || !cache.enabled)
    return { ranked: await run(pipeline, bundle, prepared), cached: false };
  const { history, inputs, query, exclude } = prepared;
  const items = 'items' in request ? request.items : 'rows' in request ? Array.from(request.rows) : [];
  const time = request.timeMs ?? null;
  const input = { k: prepared.k, history, inputs, query, items, time, exclude: exclude.size > 0 };
  const key = cache.key(endpoint, pipeline.name, input);
  const known = cache.get(key);
  if (known !== undefined) return { ranked: known, cached: true };
  const ranked = await run(pipeline, bundle, prepared);
  cache.set(key, ranked);
  return { ranked, cached: false };
}

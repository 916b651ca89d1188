import {
  toWhittleError,
  WhittleError,
  type ExperimentConfig,
  type Log,
  type ServerConfig,
} from '../core/index.js';
import { createExperiments, runningExperiment, type Experiments } from '../experiments/index.js';
import { openStore, type Store } from '../store/index.js';
import { buildAnswer } from './answer.js';
import type { OpenBundle } from './bundle.js';
import { beforeDeadline } from './deadline.js';
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
import { prepareRequest, rowsOf, type AnyRequest } from './prepare.js';
import { Recorder } from './recorder.js';
import { routeRequest, type Route } from './routing.js';
import type {
  Answer,
  Endpoint,
  Engine,
  EventsReceipt,
  ExperimentStatus,
  Observation,
  RankRequest,
  RecommendRequest,
  RunnerStatus,
  SearchRequest,
  UserEvent,
  VariantStatus,
} from './types.js';
import { runnerStatus, variantStatuses } from './variant-status.js';

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
  const store = openStore(config.store.path, { log });
  const observers = new Observers();
  try {
    const generation = await Generation.open({
      config,
      log,
      ...(variants === undefined ? {} : { variants }),
      observe: observers.tell,
    });
    await store.seedHistories(generation.version, generation.users);
    return new BundleEngine(config, generation, experiments, store, observers);
  } catch (thrown) {
    await store.close();
    throw thrown;
  }
}

/** The engine over one bundle. See {@link Engine} for what each call does. */
export class BundleEngine implements Engine {
  readonly #config: ServerConfig;
  readonly #experiments: Experiments;
  readonly #store: Store;
  readonly #observers: Observers;
  readonly #recorder: Recorder;
  #generation: Generation;
  /** Takes the place of the bundle's. */
  #defaultPipeline: string | undefined;
  #closing = false;

  constructor(
    config: ServerConfig,
    generation: Generation,
    experiments: Experiments,
    store: Store,
    observers: Observers,
  ) {
    this.#config = config;
    this.#generation = generation;
    this.#experiments = experiments;
    this.#store = store;
    this.#observers = observers;
    this.#recorder = new Recorder(store, experiments, observers.tell);
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
    return this.#serve('recommend', request, request.k, recommendWith);
  }

  search(request: SearchRequest): Promise<Answer> {
    return this.#serve('search', { ...request, includeSeen: true }, request.k, searchWith);
  }

  rank(request: RankRequest): Promise<Answer> {
    return this.#serve('rank', request, request.items.length, (pipeline, bundle, prepared) =>
      rankWith(
        pipeline,
        bundle,
        prepared,
        rowsOf(bundle.catalogue, request.items, (place) => `items.${place}`),
      ),
    );
  }

  async recordEvents(events: readonly UserEvent[]): Promise<EventsReceipt> {
    const items = events.map(({ item }) => item);
    rowsOf(this.bundle.catalogue, items, (place) => `events.${place}.item`);
    return this.#store.appendEvents(
      events.map((event) => ({ ...event, timeMs: event.timeMs ?? Date.now() })),
    );
  }

  variants(): Promise<readonly VariantStatus[]> {
    return variantStatuses(this.#generation, this.#recorder.traffic);
  }

  runners(): Promise<readonly RunnerStatus[]> {
    const runners = [...this.fleet.rankers.values(), ...this.fleet.retrievers.values()];
    return Promise.all(runners.map(runnerStatus));
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

  onObservation(listener: (observation: Observation) => void): void {
    this.#observers.add(listener);
  }

  async close(): Promise<void> {
    this.#closing = true;
    await this.#generation.close();
    await this.#store.close();
  }

  /** Routes, prepares, runs or finds in the cache, records. */
  async #serve(endpoint: Endpoint, request: AnyRequest, k: number, run: RunPipeline): Promise<Answer> {
    const startedAt = performance.now();
    let route: Route | undefined;
    try {
      if (this.#closing) throw new WhittleError('NOT_READY', 'The server is stopping');
      const generation = this.#generation;
      route = routeRequest(generation, this.#experiments, request, this.#defaultPipeline);
      return await this.#serveRouted(generation, route, endpoint, request, k, startedAt, run);
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
  ): Promise<Answer> {
    const deadlineAt = startedAt + this.#config.server.deadlineMs;
    const prepared = prepareRequest(generation.bundle, this.#store, request, k, deadlineAt);
    const historyMs = performance.now() - startedAt;
    const ranking = generation.during(() => cachedRun(generation, route, endpoint, request, prepared, run));
    const { ranked, cached } = await beforeDeadline(ranking, deadlineAt);
    const answer = buildAnswer(generation, request, route, { ranked, cached, historyMs, startedAt });
    this.#recorder.record({ endpoint, request, generation, route, ranked, answer });
    return answer;
  }
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
  const items = 'items' in request ? request.items : [];
  const time = request.timeMs ?? null;
  const input = { k: prepared.k, history, inputs, query, items, time, exclude: exclude.size > 0 };
  const key = cache.key(endpoint, pipeline.name, input);
  const known = cache.get(key);
  if (known !== undefined) return { ranked: known, cached: true };
  const ranked = await run(pipeline, bundle, prepared);
  cache.set(key, ranked);
  return { ranked, cached: false };
}

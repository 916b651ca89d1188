import { join } from 'node:path';
import { must, toWhittleError, WhittleError, type Log, type ServerConfig } from '../core/index.js';
import { readUsers, type UserHistory } from '../data/index.js';
import { createExperiments, type Assignment, type Experiments } from '../experiments/index.js';
import { openStore, type Store } from '../store/index.js';
import { AnswerCache } from './answer-cache.js';
import { openBundle, type OpenBundle } from './bundle.js';
import { beforeDeadline } from './deadline.js';
import { bundleVersion, Fleet } from './fleet.js';
import {
  recommendWith,
  rankWith,
  searchWith,
  type Pipeline,
  type PipelineRequest,
  type Ranked,
} from './pipeline.js';
import { Shadow } from './shadow.js';
import { Traffic } from './traffic.js';
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

type AnyRequest = RecommendRequest | SearchRequest | RankRequest;

/**
 * Opens bundle, store and runners, and answers requests until closed.
 * @throws what {@link openBundle}, the store and the runners throw; nothing is left running then.
 */
export async function openEngine({ config, log, variants }: EngineOptions): Promise<BundleEngine> {
  const bundle = await openBundle(config.bundle);
  const experiments = createExperiments(config.experiments);
  const store = openStore(config.store.path, { log });
  try {
    const users = await readKnownUsers(bundle);
    await store.seedHistories(bundleVersion(bundle), users);
    const observers: ((observation: Observation) => void)[] = [];
    const observe = (observation: Observation): void => {
      for (const observer of observers) observer(observation);
    };
    const onBatch = (batch: Omit<Extract<Observation, { kind: 'batch' }>, 'kind'>): void => {
      observe({ kind: 'batch', ...batch });
    };
    const fleet = await Fleet.start(bundle, { runners: config.runners, log, onBatch }, variants);
    await checkArms(config, fleet);
    const userIds = users.map(({ user }) => user);
    return new BundleEngine(config, bundle, userIds, experiments, store, fleet, observers, observe);
  } catch (thrown) {
    await store.close();
    throw thrown;
  }
}

function readKnownUsers({ directory, manifest }: OpenBundle): Promise<readonly UserHistory[]> {
  return manifest.users === undefined ? Promise.resolve([]) : readUsers(join(directory, manifest.users.file));
}

/** Every arm must point at a pipeline that is served; where one does not, the runners are stopped. */
async function checkArms({ experiments }: ServerConfig, fleet: Fleet): Promise<void> {
  try {
    for (const { arms } of experiments) for (const { pipeline } of arms) fleet.pipeline(pipeline);
  } catch (thrown) {
    await fleet.close();
    throw thrown;
  }
}

/** The engine over one bundle. See {@link Engine} for what each call does. */
export class BundleEngine implements Engine {
  readonly bundle: OpenBundle;
  readonly fleet: Fleet;
  readonly #config: ServerConfig;
  readonly #userIds: readonly string[];
  readonly #experiments: Experiments;
  readonly #store: Store;
  readonly #observers: ((observation: Observation) => void)[];
  readonly #observe: (observation: Observation) => void;
  readonly #cache: AnswerCache;
  readonly #shadow: Shadow;
  readonly #traffic = new Traffic();
  #closing = false;

  constructor(
    config: ServerConfig,
    bundle: OpenBundle,
    userIds: readonly string[],
    experiments: Experiments,
    store: Store,
    fleet: Fleet,
    observers: ((observation: Observation) => void)[],
    observe: (observation: Observation) => void,
  ) {
    this.#config = config;
    this.bundle = bundle;
    this.#userIds = userIds;
    this.#experiments = experiments;
    this.#store = store;
    this.fleet = fleet;
    this.#observers = observers;
    this.#observe = observe;
    this.#cache = new AnswerCache(config.cache, bundleVersion(bundle));
    this.#shadow = new Shadow(config.shadow, fleet.rankers.get('full'), observe);
  }

  recommend(request: RecommendRequest): Promise<Answer> {
    return this.#serve('recommend', request, request.k, (pipeline, prepared) =>
      recommendWith(pipeline, this.bundle, prepared),
    );
  }

  search(request: SearchRequest): Promise<Answer> {
    return this.#serve('search', { ...request, includeSeen: true }, request.k, (pipeline, prepared) =>
      searchWith(pipeline, this.bundle, prepared),
    );
  }

  rank(request: RankRequest): Promise<Answer> {
    return this.#serve('rank', request, request.items.length, (pipeline, prepared) =>
      rankWith(
        pipeline,
        this.bundle,
        prepared,
        this.#rows((place) => `items.${place}`, request.items),
      ),
    );
  }

  async recordEvents(events: readonly UserEvent[]): Promise<EventsReceipt> {
    const items = events.map(({ item }) => item);
    this.#rows((place) => `events.${place}.item`, items);
    return this.#store.appendEvents(
      events.map((event) => ({ ...event, timeMs: event.timeMs ?? Date.now() })),
    );
  }

  variants(): Promise<readonly VariantStatus[]> {
    return variantStatuses(this.bundle, this.fleet, this.#traffic, this.#shadow);
  }

  runners(): Promise<readonly RunnerStatus[]> {
    const runners = [...this.fleet.rankers.values(), ...this.fleet.retrievers.values()];
    return Promise.all(runners.map(runnerStatus));
  }

  knownUsers(limit: number): readonly string[] {
    return this.#userIds.slice(0, limit);
  }

  experiments(): readonly ExperimentStatus[] {
    return this.#experiments.report();
  }

  pipelines(): readonly string[] {
    return [...this.fleet.pipelines.keys()];
  }

  notReadyReason(): string | undefined {
    if (this.#closing) return 'the server is stopping';
    const waiting = this.fleet.runnersOf(this.#trafficPipelines()).find(({ state }) => state !== 'ready');
    return waiting === undefined ? undefined : `runner ${waiting.name} is ${waiting.state}`;
  }

  /** Pipelines that unforced requests can meet. A variant that takes no traffic does not make the server unready. */
  #trafficPipelines(): string[] {
    const running = this.#config.experiments.find(({ enabled }) => enabled);
    return [this.bundle.manifest.defaultPipeline, ...(running?.arms ?? []).map(({ pipeline }) => pipeline)];
  }

  onObservation(listener: (observation: Observation) => void): void {
    this.#observers.push(listener);
  }

  async close(): Promise<void> {
    this.#closing = true;
    await this.fleet.close();
    await this.#store.close();
  }

  /** Assigns, prepares, runs or finds in the cache, records. */
  async #serve(
    endpoint: Endpoint,
    request: AnyRequest,
    k: number,
    run: (pipeline: Pipeline, prepared: PipelineRequest) => Promise<Ranked>,
  ): Promise<Answer> {
    const startedAt = performance.now();
    let pipelineName: string | undefined;
    try {
      if (this.#closing) throw new WhittleError('NOT_READY', 'The server is stopping');
      const assignment = this.#assign(request);
      const pipeline = this.fleet.pipeline(
        request.forcedPipeline ?? assignment?.pipeline ?? this.bundle.manifest.defaultPipeline,
      );
      pipelineName = pipeline.name;
      const prepared = this.#prepare(request, k, startedAt);
      const historyMs = performance.now() - startedAt;
      const ranking = this.#cachedRun(endpoint, pipeline, request, prepared, assignment, run);
      const { ranked, cached } = await beforeDeadline(ranking, prepared.deadlineAt);
      const answer = this.#answer(request, pipeline, ranked, assignment, cached, historyMs, startedAt);
      this.#record(endpoint, request, answer, ranked, assignment);
      return answer;
    } catch (thrown) {
      const { code } = toWhittleError(thrown);
      this.#observe({
        kind: 'failure',
        endpoint,
        code,
        ...(pipelineName === undefined ? {} : { pipeline: pipelineName }),
      });
      throw thrown;
    }
  }

  /** A forced request takes part in no experiment. */
  #assign(request: AnyRequest): Assignment | undefined {
    if (request.forcedPipeline !== undefined || request.user === undefined) return undefined;
    return this.#experiments.assign(request.user);
  }

  #prepare(request: AnyRequest, k: number, startedAt: number): PipelineRequest {
    const given =
      request.history === undefined ? undefined : this.#rows((place) => `history.${place}`, request.history);
    const history = given ?? this.#storedHistory(request.user);
    const query = 'query' in request ? request.query : undefined;
    const queryVector = 'queryVector' in request ? request.queryVector : undefined;
    return {
      k,
      history,
      timeSeconds: (request.timeMs ?? Date.now()) / 1000,
      inputs: { ...request.inputs, ...(queryVector === undefined ? {} : { query_vector: queryVector }) },
      ...(query === undefined ? {} : { query }),
      deadlineAt: startedAt + this.#config.server.deadlineMs,
      exclude: request.includeSeen === true ? new Set() : new Set(history),
    };
  }

  /** Items that left the catalogue since are passed over. */
  #storedHistory(user: string | undefined): number[] {
    const ids = user === undefined ? [] : (this.#store.history(user) ?? []);
    return ids.map((id) => this.bundle.catalogue.rowOf(id)).filter((row) => row !== undefined);
  }

  /** @param fieldAt names the place of an id in the request. @throws ITEM_UNKNOWN */
  #rows(fieldAt: (place: number) => string, ids: readonly string[]): number[] {
    return ids.map((id, place) => {
      const row = this.bundle.catalogue.rowOf(id);
      if (row !== undefined) return row;
      const field = fieldAt(place);
      throw new WhittleError('ITEM_UNKNOWN', `${field}: item ${id} is not in the catalogue`, {
        field,
        value: id,
        allowed: 'an item id of the catalogue',
      });
    });
  }

  async #cachedRun(
    endpoint: Endpoint,
    pipeline: Pipeline,
    request: AnyRequest,
    prepared: PipelineRequest,
    assignment: Assignment | undefined,
    run: (pipeline: Pipeline, prepared: PipelineRequest) => Promise<Ranked>,
  ): Promise<{ ranked: Ranked; cached: boolean }> {
    if (assignment !== undefined) return { ranked: await run(pipeline, prepared), cached: false };
    const { history, inputs, query, exclude } = prepared;
    const items = 'items' in request ? request.items : [];
    const time = request.timeMs ?? null;
    const input = { k: prepared.k, history, inputs, query, items, time, exclude: exclude.size > 0 };
    const key = this.#cache.key(endpoint, pipeline.name, input);
    const known = this.#cache.get(key);
    if (known !== undefined) return { ranked: known, cached: true };
    const ranked = await run(pipeline, prepared);
    this.#cache.set(key, ranked);
    return { ranked, cached: false };
  }

  #answer(
    request: AnyRequest,
    pipeline: Pipeline,
    ranked: Ranked,
    assignment: Assignment | undefined,
    cached: boolean,
    historyMs: number,
    startedAt: number,
  ): Answer {
    const { ids, titles } = this.bundle.catalogue;
    const { retrieveMs, rankMs, queueMs } = cached ? { retrieveMs: 0, rankMs: 0, queueMs: 0 } : ranked;
    return {
      requestId: request.requestId,
      items: ranked.rows.map((row, place) => ({
        id: must(ids[row], 'id'),
        ...(titles === undefined ? {} : { title: must(titles[row], 'title') }),
        score: must(ranked.scores[place], 'score'),
      })),
      pipeline: pipeline.name,
      variant: ranked.variant,
      ...(assignment === undefined ? {} : { experiment: assignment.experiment, arm: assignment.arm }),
      source: ranked.source,
      forced: request.forcedPipeline !== undefined,
      cached,
      timings: { historyMs, retrieveMs, rankMs, queueMs, totalMs: performance.now() - startedAt },
    };
  }

  /** Everything that happens because an answer was given; none of it holds the answer back. */
  #record(
    endpoint: Endpoint,
    request: AnyRequest,
    answer: Answer,
    ranked: Ranked,
    assignment: Assignment | undefined,
  ): void {
    if (assignment !== undefined) this.#experiments.record(assignment, request.user);
    this.#traffic.record(answer);
    const exposed = this.#store.appendExposure({
      requestId: answer.requestId,
      timeMs: Date.now(),
      ...(request.user === undefined ? {} : { user: request.user }),
      ...(answer.experiment === undefined ? {} : { experiment: answer.experiment }),
      ...(answer.arm === undefined ? {} : { arm: answer.arm }),
      pipeline: answer.pipeline,
      variant: answer.variant,
      forced: answer.forced,
      items: answer.items.map(({ id }) => id),
    });
    if (!exposed) this.#observe({ kind: 'exposure_dropped' });
    if (!answer.cached && ranked.ranking !== undefined) this.#shadow.consider(ranked.ranking);
    this.#observe({ kind: 'answer', endpoint, answer });
  }
}

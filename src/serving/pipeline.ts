import { must, WhittleError, type Contract, type PipelineSpec } from '../core/index.js';
import { topK } from '../evaluation/index.js';
import type { RankJob } from '../runtime/index.js';
import { bindCandidates, bindRequest, type RequestContext } from './binding.js';
import type { OpenBundle } from './bundle.js';
import type { Ranker } from './ranker.js';
import type { Candidates, RetrieveJob, Retriever } from './retriever.js';
import { blend } from './blend.js';

/** A pipeline with the parts that run it. */
export interface Pipeline {
  readonly name: string;
  readonly spec: PipelineSpec;
  readonly recommend: Retriever | undefined;
  readonly search: Retriever | undefined;
  readonly ranker:
    { readonly variant: string; readonly contract: Contract; readonly runner: Ranker } | undefined;
}

/** One request on its way through a pipeline. */
export interface PipelineRequest extends RequestContext {
  readonly k: number;
  readonly query?: string;
  readonly deadlineAt: number;
  /** Rows that must not be answered. */
  readonly exclude: ReadonlySet<number>;
}

/** The candidates as the ranker got them, and the scores it gave. */
export interface Ranking {
  readonly variant: string;
  /** Catalogue rows of the candidates. */
  readonly rows: Int32Array;
  readonly job: RankJob;
  readonly scores: Float32Array;
}

/** What a pipeline answers, with what the shadow needs to rank the same candidates again. */
export interface Ranked {
  readonly rows: readonly number[];
  readonly scores: readonly number[];
  readonly source: 'retrieval' | 'popularity' | 'search' | 'given';
  /** Variant that ranked; `none` where the retrieval's order stands. */
  readonly variant: string;
  /** Present where a ranker scored the candidates. */
  readonly ranking?: Ranking;
  readonly retrieveMs: number;
  readonly rankMs: number;
  readonly queueMs: number;
}

/** Candidates and what it took to find them. */
export interface Found {
  readonly candidates: Candidates;
  readonly retrieveMs: number;
  readonly queueMs: number;
}

/** Retrieve by the history, rank, cut to k; without a history the most popular items are the answer. */
export async function recommendWith(
  pipeline: Pipeline,
  bundle: OpenBundle,
  request: PipelineRequest,
): Promise<Ranked> {
  if (request.history.length === 0) return popular(bundle, request);
  const retriever = pipeline.recommend;
  if (retriever === undefined) throw notOffered(pipeline.name, 'recommend');
  const found = await retrieve(retriever, pipeline.spec.candidates, request);
  return rankFound(pipeline, bundle, request, found, 'retrieval', 1);
}

/** Retrieve by query text or vector; the ranker has the share of the order that the pipeline gives it. */
export async function searchWith(
  pipeline: Pipeline,
  bundle: OpenBundle,
  request: PipelineRequest,
): Promise<Ranked> {
  const retriever = pipeline.search;
  if (retriever === undefined) throw notOffered(pipeline.name, 'search');
  const found = await retrieve(retriever, pipeline.spec.candidates, request);
  const needsHistory =
    pipeline.ranker?.contract.inputs.some(({ source }) => source.from === 'history') ?? false;
  const weight = needsHistory && request.history.length === 0 ? 0 : (pipeline.spec.searchRankerWeight ?? 0);
  return rankFound(pipeline, bundle, request, found, 'search', weight);
}

/** Orders the given rows by the ranker. @throws NOT_FOUND where the pipeline has none. */
export async function rankWith(
  pipeline: Pipeline,
  bundle: OpenBundle,
  request: PipelineRequest,
  rows: readonly number[],
): Promise<Ranked> {
  if (pipeline.ranker === undefined) throw notOffered(pipeline.name, 'rank');
  const candidates = { rows: Int32Array.from(rows), scores: new Float32Array(rows.length) };
  return rankFound(pipeline, bundle, request, { candidates, retrieveMs: 0, queueMs: 0 }, 'given', 1);
}

function popular(bundle: OpenBundle, { k, exclude }: PipelineRequest): Ranked {
  const { popularRows } = bundle.catalogue;
  if (popularRows === undefined) {
    throw new WhittleError(
      'INPUT_INVALID',
      'history: this bundle has no popularity to answer an unknown user from',
      {
        field: 'history',
        allowed: 'at least one item id',
      },
    );
  }
  const rows: number[] = [];
  for (let place = 0; rows.length < k && place < popularRows.length; place++) {
    const row = must(popularRows[place], 'row');
    if (!exclude.has(row)) rows.push(row);
  }
  // The rank is all that popularity says; scores fall with it so that the order is plain.
  return {
    rows,
    scores: rows.map((_, place) => 1 / (place + 1)),
    source: 'popularity',
    variant: 'none',
    retrieveMs: 0,
    rankMs: 0,
    queueMs: 0,
  };
}

/** The `count` best candidates of a request that it does not exclude. */
export async function retrieve(
  retriever: Retriever,
  count: number,
  request: PipelineRequest,
): Promise<Found> {
  const startedAt = performance.now();
  const job = retrieveJob(retriever, count + request.exclude.size, request);
  const { result, queueMs } = await retriever.retrieve(job, request.deadlineAt);
  return {
    candidates: without(result, request.exclude, count),
    retrieveMs: performance.now() - startedAt,
    queueMs,
  };
}

function retrieveJob({ spec }: Retriever, k: number, request: PipelineRequest): RetrieveJob {
  switch (spec.kind) {
    case 'tower':
      return { k, tensors: bindRequest(spec.inputs, request) };
    case 'text':
      if (request.query === undefined) throw wrongQuery('query', 'this bundle searches by text: send query');
      return { k, query: request.query, tensors: {} };
    case 'vector': {
      const vector = request.inputs['query_vector'];
      const { dimensions } = spec.index;
      if (!Array.isArray(vector) || vector.length !== dimensions) {
        throw wrongQuery(
          'queryVector',
          `this bundle searches by vector: send queryVector with ${dimensions} numbers`,
        );
      }
      return {
        k,
        tensors: {
          vector: {
            dtype: 'float32',
            dims: [1, dimensions],
            data: Float32Array.from(vector as readonly number[]),
          },
        },
      };
    }
  }
}

function wrongQuery(field: string, reason: string): WhittleError {
  return new WhittleError('INPUT_INVALID', `${field}: ${reason}`, { field, allowed: reason });
}

/** The first `count` candidates that are not excluded. */
function without({ rows, scores }: Candidates, exclude: ReadonlySet<number>, count: number): Candidates {
  const kept: Candidates = { rows: new Int32Array(count), scores: new Float32Array(count) };
  let size = 0;
  for (let place = 0; place < rows.length && size < count; place++) {
    const row = must(rows[place], 'row');
    if (exclude.has(row)) continue;
    kept.rows[size] = row;
    kept.scores[size++] = must(scores[place], 'score');
  }
  return { rows: kept.rows.subarray(0, size), scores: kept.scores.subarray(0, size) };
}

/** Orders candidates by (1 − weight) × retrieval + weight × ranker; a weight of 1 is the ranker's own scores. */
async function rankFound(
  pipeline: Pipeline,
  bundle: OpenBundle,
  request: PipelineRequest,
  { candidates, retrieveMs, queueMs }: Found,
  source: Ranked['source'],
  weight: number,
): Promise<Ranked> {
  const { ranker } = pipeline;
  if (ranker === undefined || weight === 0 || candidates.rows.length === 0) {
    const order = cut(candidates.rows, candidates.scores, request.k);
    return { ...order, source, variant: 'none', retrieveMs, rankMs: 0, queueMs };
  }
  const startedAt = performance.now();
  const job = rankJob(ranker.contract, bundle, request, candidates);
  const served = await ranker.runner.rank(job, request.deadlineAt);
  const scores = weight === 1 ? served.result : blend(candidates.scores, served.result, weight);
  return {
    ...cut(candidates.rows, scores, request.k),
    source,
    variant: ranker.variant,
    ranking: { variant: ranker.variant, rows: candidates.rows, job, scores: served.result },
    retrieveMs,
    rankMs: performance.now() - startedAt,
    queueMs: queueMs + served.queueMs,
  };
}

/** What a ranker gets to score a request's candidates. */
export function rankJob(
  contract: Contract,
  bundle: OpenBundle,
  request: PipelineRequest,
  candidates: Candidates,
): RankJob {
  const context = { rows: candidates.rows, retrievalScores: candidates.scores };
  const inputs = {
    ...bindRequest(contract.inputs, request),
    ...bindCandidates(contract.inputs, context, bundle.features),
  };
  return { inputs, rows: candidates.rows.length };
}

function cut(rows: Int32Array, scores: Float32Array, k: number): Pick<Ranked, 'rows' | 'scores'> {
  const order = topK(scores, k);
  const best = { rows: new Array<number>(order.length), scores: new Array<number>(order.length) };
  for (let rank = 0; rank < order.length; rank++) {
    const place = must(order[rank], 'place');
    best.rows[rank] = must(rows[place], 'row');
    best.scores[rank] = must(scores[place], 'score');
  }
  return best;
}

function notOffered(pipeline: string, endpoint: string): WhittleError {
  return new WhittleError('NOT_FOUND', `Pipeline ${pipeline} of this bundle does not offer ${endpoint}`, {
    pipeline,
    endpoint,
  });
}

import {
  completeConfig,
  createRandom,
  must,
  silentLog,
  type Contract,
  type Random,
  type TensorMap,
} from '../core/index.js';
import { mergeRankJobs, type RankJob } from '../runtime/index.js';
import { openBundle, type OpenBundle } from './bundle.js';
import { sampleRequests } from './calibration-requests.js';
import { Fleet } from './fleet.js';
import { rankJob, retrieve, type PipelineRequest } from './pipeline.js';
import type { Candidates, Retriever } from './retriever.js';

/** Requests that one feed holds, how many feeds there are, and candidates a request. */
const REQUESTS_PER_FEED = 8;
const FEEDS = 12;
const CANDIDATES = 100;
/** Nobody waits for these runs. */
const HANG_TIMEOUT_MS = 120_000;

/** Batches of {@link calibrationJobs} as one run takes them, eight requests each. @throws as there. */
export async function calibrationFeeds(directory: string, seed: number): Promise<readonly TensorMap[]> {
  const { contract, jobs } = await calibrationJobs(directory, seed);
  const feeds: TensorMap[] = [];
  for (let start = 0; start < jobs.length; start += REQUESTS_PER_FEED) {
    feeds.push(mergeRankJobs(contract, jobs.slice(start, start + REQUESTS_PER_FEED)));
  }
  return feeds;
}

/**
 * Requests as the ranker gets them, with what retrieval brings them: of the bundle's known users, or else with the
 * vectors or titles of its items as queries. Where nothing retrieves, candidates are drawn from all items; numbers that
 * only a client knows are drawn too. The same for the same seed.
 *
 * @throws what opening the bundle and its retrievers throws; BUNDLE_INVALID where there is nothing to make requests of.
 */
export async function calibrationJobs(
  directory: string,
  seed: number,
): Promise<{ readonly contract: Contract; readonly jobs: readonly RankJob[] }> {
  const bundle = await openBundle(directory);
  const { runners, overload } = completeConfig({
    overload: { adaptive: false },
    runners: { hangTimeoutMs: HANG_TIMEOUT_MS },
  });
  const onBatch = (): void => undefined;
  const fleet = await Fleet.start(bundle, { runners, overload, log: silentLog, onBatch }, { variants: [] });
  try {
    const contract = must(bundle.manifest.contract, 'contract');
    const retriever = calibrationRetriever(bundle, fleet);
    const count = REQUESTS_PER_FEED * FEEDS;
    const requests = await sampleRequests(bundle, retriever?.spec, count, seed);
    const find = candidatesFrom(bundle, retriever, createRandom(seed).fork('candidates'));
    return { contract, jobs: await collectJobs(bundle, contract, find, requests) };
  } finally {
    await fleet.close();
  }
}

function calibrationRetriever({ manifest }: OpenBundle, fleet: Fleet): Retriever | undefined {
  const pipeline = must(manifest.pipelines[manifest.defaultPipeline], 'default pipeline');
  return fleet.retrievers.get(pipeline.recommend ?? pipeline.search ?? '');
}

type FindCandidates = (request: PipelineRequest) => Promise<Candidates>;

function candidatesFrom(
  { catalogue }: OpenBundle,
  retriever: Retriever | undefined,
  random: Random,
): FindCandidates {
  if (retriever !== undefined)
    return async (request) => (await retrieve(retriever, CANDIDATES, request)).candidates;
  return () => {
    const rows = Int32Array.from({ length: CANDIDATES }, () => random.integer(catalogue.rows));
    return Promise.resolve({ rows, scores: new Float32Array(CANDIDATES) });
  };
}

async function collectJobs(
  bundle: OpenBundle,
  contract: Contract,
  find: FindCandidates,
  requests: readonly PipelineRequest[],
): Promise<RankJob[]> {
  const jobs: RankJob[] = [];
  // One after the other: graph indexes may answer in another order when searched in other batches.
  for (const request of requests) {
    const candidates = await find(request);
    if (candidates.rows.length > 0) jobs.push(rankJob(contract, bundle, request, candidates));
  }
  return jobs;
}

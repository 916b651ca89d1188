import { join } from 'node:path';
import {
  completeConfig,
  createRandom,
  must,
  shuffle,
  silentLog,
  WhittleError,
  type Contract,
  type TensorMap,
} from '../core/index.js';
import { readUsers } from '../data/index.js';
import { readVectors } from '../retrieval/index.js';
import { mergeRankJobs, type RankJob } from '../runtime/index.js';
import { openBundle, type OpenBundle } from './bundle.js';
import { Fleet } from './fleet.js';
import { rankJob, retrieve, type PipelineRequest } from './pipeline.js';
import type { Retriever } from './retriever.js';

/** Requests that one feed holds, how many feeds there are, and candidates a request. */
const REQUESTS_PER_FEED = 8;
const FEEDS = 12;
const CANDIDATES = 100;
const PATIENCE_MS = 60_000;

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
 * Real requests as the ranker gets them: known users of the bundle with what retrieval brings them. Where a bundle
 * knows no users but takes query vectors, its items' own vectors are the queries. The same for the same seed.
 *
 * @throws what opening the bundle and its retrievers throws; BUNDLE_INVALID where there is nothing to make requests of.
 */
export async function calibrationJobs(
  directory: string,
  seed: number,
): Promise<{ readonly contract: Contract; readonly jobs: readonly RankJob[] }> {
  const bundle = await openBundle(directory);
  const { runners } = completeConfig({});
  const fleet = await Fleet.start(bundle, { runners, log: silentLog, onBatch: () => undefined }, []);
  try {
    const contract = must(bundle.manifest.contract, 'contract');
    const requests = await sampleRequests(bundle, seed);
    const jobs = await collectJobs(bundle, contract, calibrationRetriever(bundle, fleet), requests);
    return { contract, jobs };
  } finally {
    await fleet.close();
  }
}

function calibrationRetriever({ manifest }: OpenBundle, fleet: Fleet): Retriever {
  const pipeline = must(manifest.pipelines[manifest.defaultPipeline], 'default pipeline');
  const retriever = fleet.retrievers.get(pipeline.recommend ?? pipeline.search ?? '');
  if (retriever !== undefined) return retriever;
  throw new WhittleError(
    'BUNDLE_INVALID',
    `Pipeline ${manifest.defaultPipeline} has no retriever to calibrate with`,
    {
      field: `pipelines.${manifest.defaultPipeline}`,
    },
  );
}

async function collectJobs(
  bundle: OpenBundle,
  contract: Contract,
  retriever: Retriever,
  requests: readonly PipelineRequest[],
): Promise<RankJob[]> {
  const jobs: RankJob[] = [];
  // One after the other: graph indexes may answer in another order when searched in other batches.
  for (const request of requests) {
    const { candidates } = await retrieve(retriever, CANDIDATES, request);
    jobs.push(rankJob(contract, bundle, request, candidates));
  }
  return jobs;
}

async function sampleRequests(bundle: OpenBundle, seed: number): Promise<PipelineRequest[]> {
  const sampled = <T>(values: readonly T[]): T[] => {
    const order = shuffle(Int32Array.from(values.keys()), createRandom(seed));
    return Array.from(order.subarray(0, REQUESTS_PER_FEED * FEEDS), (place) => must(values[place], 'value'));
  };
  const base = { k: CANDIDATES, deadlineAt: performance.now() + PATIENCE_MS, timeSeconds: present(bundle) };
  const { directory, manifest, catalogue } = bundle;
  if (manifest.users !== undefined) {
    const users = await readUsers(join(directory, manifest.users.file));
    const histories = users.map(({ history }) =>
      history.map((id) => catalogue.rowOf(id)).filter((row) => row !== undefined),
    );
    return sampled(histories.filter((rows) => rows.length > 0)).map((history) => ({
      ...base,
      history,
      exclude: new Set(history),
      inputs: {},
    }));
  }
  const vectors = await queryVectors(bundle);
  return sampled(vectors).map((vector) => ({
    ...base,
    history: [],
    exclude: new Set<number>(),
    inputs: { query_vector: [...vector] },
  }));
}

/** The vectors of the items that the bundle's vector search looks through. */
async function queryVectors({ directory, manifest, catalogue }: OpenBundle): Promise<Float32Array[]> {
  for (const retriever of Object.values(manifest.retrievers)) {
    if (retriever.kind !== 'vector') continue;
    const { vectors: file, dimensions } = retriever.index;
    const vectors = await readVectors(join(directory, file), catalogue.rows, dimensions);
    return Array.from({ length: catalogue.rows }, (_, row) =>
      vectors.subarray(row * dimensions, (row + 1) * dimensions),
    );
  }
  throw new WhittleError(
    'BUNDLE_INVALID',
    'The bundle has neither users nor item vectors to make calibration requests of',
    {
      field: 'users',
    },
  );
}

/** The moment of the last boundary of the contract's periods: the present of the data. */
function present({ manifest }: OpenBundle): number {
  const boundaries =
    manifest.contract?.inputs.flatMap(({ source }) => (source.from === 'time' ? source.boundaries : [])) ??
    [];
  return boundaries.at(-1) ?? 0;
}

import { setTimeout as delay } from 'node:timers/promises';
import { createRandom, must, toWhittleError, WhittleError } from '../core/index.js';
import type { UserHistory } from '../data/index.js';
import { overlapAtK, topK } from '../evaluation/index.js';
import type { RankJob } from '../runtime/index.js';
import type { OpenBundle } from './bundle.js';
import { sampleRequests } from './calibration-requests.js';
import type { Fleet } from './fleet.js';
import { rankJob, retrieve } from './pipeline.js';
import type { Ranker } from './ranker.js';
import type { Retriever } from './retriever.js';

/** Requests, and candidates of each. Sixteen of them are the largest batch that a runner takes at its start. */
const REQUESTS = 16;
const CANDIDATES = 100;
const SEED = 1;
/** Known users, from the first on, that requests are drawn of. */
const USERS = 512;
/** Requests sent at once after each was sent alone: the shapes that live traffic will bring are then known. */
const WARM_BATCHES = [8, REQUESTS];
/** Depth of the comparison with the full model, and the least mean overlap: chance gives a tenth, 4 bits over 0.8. */
const DEPTH = 10;
const OVERLAP_FLOOR = 0.3;
const PATIENCE_MS = 20_000;
const PAUSE_MS = 50;

/**
 * Asks the runners that a new generation started the requests that its bundle gives by itself: known users or drawn
 * histories, the same ones each time. Every answer is finite; each variant's order has something of the full model's;
 * a retriever finds something. After it the runners are warm.
 * @throws MODEL_INVALID naming the variant or retriever, what was found and what is allowed; what a runner throws.
 */
export async function checkGoldenRequests(
  bundle: OpenBundle,
  fleet: Fleet,
  known: readonly UserHistory[],
): Promise<void> {
  const users = known.slice(0, USERS);
  const checks = [...fleet.retrievers].filter(([, retriever]) => fleet.started.has(retriever));
  await Promise.all([
    checkRankers(bundle, fleet, users),
    ...checks.map(([name, retriever]) => checkRetriever(bundle, name, retriever, users)),
  ]);
}

async function checkRankers(
  bundle: OpenBundle,
  { rankers, started }: Fleet,
  users: readonly UserHistory[],
): Promise<void> {
  const full = rankers.get('full');
  // A new full model is compared with every variant, also those that are as they were.
  const all = full !== undefined && started.has(full);
  const checked = [...rankers].filter(([, ranker]) => all || started.has(ranker));
  if (checked.length === 0) return;
  const jobs = await goldenJobs(bundle, users);
  const reference = full === undefined ? undefined : await scoresOf(full, jobs);
  for (const [name, ranker] of checked) {
    const scores = ranker === full ? must(reference, 'scores of full') : await scoresOf(ranker, jobs);
    if (reference !== undefined) checkOverlap(name, scores, reference);
    if (started.has(ranker)) await warm(ranker, jobs);
  }
}

/** Sampled requests with candidates drawn from the whole catalogue. */
async function goldenJobs(bundle: OpenBundle, users: readonly UserHistory[]): Promise<RankJob[]> {
  const contract = must(bundle.manifest.contract, 'contract');
  const random = createRandom(SEED).fork('candidates');
  const requests = await sampleRequests(bundle, undefined, REQUESTS, SEED, users);
  return requests.map((request) => {
    const rows = Int32Array.from({ length: CANDIDATES }, () => random.integer(bundle.catalogue.rows));
    return rankJob(contract, bundle, request, { rows, scores: new Float32Array(CANDIDATES) });
  });
}

/** One after the other; a score that is not finite is an error of its ranker. */
async function scoresOf(ranker: Ranker, jobs: readonly RankJob[]): Promise<Float32Array[]> {
  const scores: Float32Array[] = [];
  for (const job of jobs) scores.push(await rankPatiently(ranker, job));
  return scores;
}

async function warm(ranker: Ranker, jobs: readonly RankJob[]): Promise<void> {
  for (const count of WARM_BATCHES)
    await Promise.all(jobs.slice(0, count).map((job) => rankPatiently(ranker, job)));
}

function checkOverlap(
  variant: string,
  scores: readonly Float32Array[],
  reference: readonly Float32Array[],
): void {
  const overlaps = scores.map((one, place) =>
    overlapAtK(topK(one, DEPTH), topK(must(reference[place], 'scores'), DEPTH), DEPTH),
  );
  const overlap = overlaps.reduce((sum, one) => sum + one, 0) / overlaps.length;
  if (overlap >= OVERLAP_FLOOR) return;
  throw new WhittleError(
    'MODEL_INVALID',
    `Variant ${variant} hardly ranks like the full model: on ${overlaps.length} golden requests its first ${DEPTH} items overlap by ${overlap.toFixed(2)}; allowed is at least ${OVERLAP_FLOOR}`,
    { variant, value: overlap, allowed: `overlap@${DEPTH} of at least ${OVERLAP_FLOOR}` },
  );
}

async function checkRetriever(
  bundle: OpenBundle,
  name: string,
  retriever: Retriever,
  users: readonly UserHistory[],
): Promise<void> {
  const { kind } = retriever.spec;
  // Without titles there is no text that is known to find something.
  if (kind === 'text' && bundle.catalogue.titles === undefined) return;
  const spec = kind === 'tower' ? undefined : retriever.spec;
  const requests = await sampleRequests(bundle, spec, REQUESTS, SEED, users);
  const found = await Promise.all(
    requests.map((request) => patiently(() => retrieve(retriever, CANDIDATES, request))),
  );
  const scores = found.flatMap(({ candidates }) => [...candidates.scores]);
  if (scores.length > 0 && scores.every(Number.isFinite)) return;
  const what = scores.length === 0 ? 'finds nothing' : 'gives scores that are not finite';
  throw new WhittleError('MODEL_INVALID', `Retriever ${name} ${what} on ${requests.length} golden requests`, {
    retriever: name,
    allowed: 'candidates with finite scores',
  });
}

function rankPatiently(ranker: Ranker, job: RankJob): Promise<Float32Array> {
  return patiently(async () => (await ranker.rank(job, performance.now() + PATIENCE_MS)).result);
}

/** A runner that serves already may be busy with that; other failures are what the check is for. */
async function patiently<T>(ask: () => Promise<T>): Promise<T> {
  const giveUpAt = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await ask();
    } catch (thrown) {
      const { code } = toWhittleError(thrown);
      const isBusy = code === 'OVERLOADED' || code === 'QUEUE_FULL';
      if (!isBusy || performance.now() > giveUpAt) throw thrown;
      await delay(PAUSE_MS);
    }
  }
}

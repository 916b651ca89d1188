/**
 * The floor of what serving can cost: one process that calls `run` on the same model with the same rows, again and
 * again, and does nothing else. Takes JSON ({@link BareLoop}) as its argument, prints {@link BareResult}.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { must } from '../../src/core/index.js';
import { readUsers } from '../../src/data/index.js';
import { mergeRankJobs, openSession } from '../../src/runtime/index.js';
import { openBundle } from '../../src/serving/bundle.js';
import { rankJob } from '../../src/serving/pipeline.js';
import type { RankQuestion } from './bodies.js';

export interface BareLoop {
  readonly bundle: string;
  readonly variant: string;
  /** File of {@link RankQuestion}s. */
  readonly questions: string;
  readonly requestsPerRun: number;
  readonly seconds: number;
}

export interface BareResult {
  readonly runs: number;
  readonly requests: number;
  readonly cpuMicrosPerRequest: number;
  readonly requestsPerSecond: number;
}

const WARM_UP_RUNS = 20;

const given = JSON.parse(process.argv[2] ?? '{}') as BareLoop;
const bundle = await openBundle(given.bundle);
const contract = must(bundle.manifest.contract, 'contract');
const { file } = must(bundle.manifest.variants[given.variant], given.variant);
const session = await openSession(join(given.bundle, file), { threads: 1, flushDenormals: true });
const feeds = await feedsOf(given);

let runs = 0;
const run = async (): Promise<void> => {
  await session.run(must(feeds[runs++ % feeds.length], 'feed'), [contract.output]);
};
while (runs < WARM_UP_RUNS) await run();
const cpuBefore = process.cpuUsage();
const startedAt = performance.now();
const endAt = startedAt + given.seconds * 1_000;
runs = 0;
while (performance.now() < endAt) await run();
const seconds = (performance.now() - startedAt) / 1_000;
const { user, system } = process.cpuUsage(cpuBefore);
const requests = runs * given.requestsPerRun;
const result: BareResult = {
  runs,
  requests,
  cpuMicrosPerRequest: (user + system) / requests,
  requestsPerSecond: requests / seconds,
};
process.stdout.write(JSON.stringify(result));

async function feedsOf({ questions, requestsPerRun }: BareLoop): Promise<ReturnType<typeof mergeRankJobs>[]> {
  const { users } = bundle.manifest;
  const known = await readUsers(join(given.bundle, must(users, 'users').file));
  const histories = new Map(known.map((one) => [one.user, one.history]));
  const rowsOf = (ids: readonly string[]): number[] => ids.map((id) => must(bundle.catalogue.rowOf(id), id));
  const jobs = (JSON.parse(await readFile(questions, 'utf8')) as RankQuestion[]).map(({ user, items }) => {
    const history = rowsOf(histories.get(user) ?? []);
    const request = {
      k: 0,
      history,
      timeSeconds: Date.now() / 1_000,
      inputs: {},
      deadlineAt: 0,
      exclude: new Set<number>(),
    };
    const candidates = { rows: Int32Array.from(rowsOf(items)), scores: new Float32Array(items.length) };
    return rankJob(contract, bundle, request, candidates);
  });
  return jobs.map((_, first) => {
    const batch = Array.from({ length: requestsPerRun }, (_none, place) =>
      must(jobs[(first + place) % jobs.length], 'job'),
    );
    return mergeRankJobs(contract, batch);
  });
}

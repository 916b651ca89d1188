import { join } from 'node:path';
import {
  must,
  type BundleManifest,
  type Contract,
  type Session,
  type Tensor,
  type TensorMap,
} from '../../core/index.js';
import { mergeRankJobs, openSession, type RankJob } from '../../runtime/index.js';
import { calibrationJobs } from '../../serving/index.js';

/** Rows of the runs that are timed. */
export const TIMED_ROWS = [1, 32, 100, 256] as const;

/** Median microseconds of one run by variant, aligned with `TIMED_ROWS`. */
export type RunTimes = ReadonlyMap<string, readonly number[]>;

const ROUNDS = 15;
/** Requests of different users, whose histories differ in length; one sample is the mean over all. */
const REQUESTS = 16;

/**
 * Times runs of each variant, one request a run, one thread, as its runner would: variants in turn within each round,
 * so that what else the machine does meets all alike.
 */
export async function measureRunTimes(directory: string, manifest: BundleManifest): Promise<RunTimes> {
  const { contract, jobs } = await calibrationJobs(directory, 1);
  const sessions = new Map<string, Session>();
  for (const [name, { file }] of Object.entries(manifest.variants))
    sessions.set(name, await openSession(join(directory, file), { flushDenormals: true }));
  const samples = new Map([...sessions.keys()].map((name) => [name, TIMED_ROWS.map((): number[] => [])]));
  for (const [size, rows] of TIMED_ROWS.entries()) {
    const feeds = jobs
      .slice(0, REQUESTS)
      .map((job) => mergeRankJobs(contract, [withRows(contract, job, rows)]));
    for (let round = 0; round < ROUNDS; round++)
      for (const [name, session] of sessions)
        samples.get(name)?.[size]?.push(await meanMicroseconds(session, feeds));
  }
  for (const session of sessions.values()) await session.release();
  return new Map([...samples].map(([name, sizes]) => [name, sizes.map(median)]));
}

async function meanMicroseconds(session: Session, feeds: readonly TensorMap[]): Promise<number> {
  const startedAt = performance.now();
  for (const feed of feeds) await session.run(feed);
  return ((performance.now() - startedAt) * 1000) / feeds.length;
}

/** The job with its candidates repeated or cut to `rows`. */
function withRows(contract: Contract, job: RankJob, rows: number): RankJob {
  const inputs: Record<string, Tensor> = { ...job.inputs };
  for (const { name, per, source } of contract.inputs) {
    if (per === 'candidate' && source.from !== 'request_index')
      inputs[name] = cycled(must(job.inputs[name], name), job.rows, rows);
  }
  return { inputs, rows };
}

function cycled(tensor: Tensor, from: number, rows: number): Tensor {
  const width = tensor.data.length / from;
  const values = Array.from({ length: rows * width }, (_, index) => tensor.data[index % tensor.data.length]);
  const dims = [rows, ...tensor.dims.slice(1)];
  if (tensor.data instanceof BigInt64Array)
    return { dtype: tensor.dtype, dims, data: BigInt64Array.from(values as bigint[]) };
  return { dtype: tensor.dtype, dims, data: Float32Array.from(values as number[]) };
}

function median(values: readonly number[]): number {
  return must([...values].sort((a, b) => a - b)[Math.floor(values.length / 2)], 'a sample');
}

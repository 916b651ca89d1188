import { assert, must, WhittleError } from '../core/index.js';
import type { Contract, InputBinding, Tensor, TensorMap } from '../core/index.js';
import { allFinite, repeatInto } from './rank-batch-kernel.js';
import { bytesOf, viewAs } from './tensor-bytes.js';

/**
 * One request's share of a ranker batch, without `request_index`: per-request inputs have one row, per-candidate
 * inputs have `rows`.
 */
export interface RankJob {
  readonly inputs: TensorMap;
  readonly rows: number;
}

/**
 * The feeds of one run over all jobs: per-candidate inputs `[sum of rows, …]` behind each other; per-request inputs
 * `[jobs, …]` with a generated `request_index` (int64 `[sum of rows]`), or, for a contract that binds none, repeated
 * for each candidate. A feed may share its buffer with the job where nothing had to be copied.
 * @throws CONTRACT_MISMATCH when a job lacks an input, or has it in another type or shape.
 */
export function mergeRankJobs(contract: Contract, jobs: readonly RankJob[]): Record<string, Tensor> {
  const hasRequestIndex = contract.inputs.some(({ source }) => source.from === 'request_index');
  const feeds: Record<string, Tensor> = {};
  for (const binding of contract.inputs) {
    if (binding.source.from === 'request_index') feeds[binding.name] = requestIndex(jobs);
    else feeds[binding.name] = mergeInput(binding, jobs, binding.per === 'request' && !hasRequestIndex);
  }
  return feeds;
}

/**
 * Each job's scores: views of `scores`, which is float32 `[sum of rows]` or `[sum of rows, 1]`. A job with a score that
 * is not finite gets a RUNNER_FAILED error in its place, and its neighbours keep theirs.
 * @throws CONTRACT_MISMATCH when the output has another type or size.
 */
export function splitScores(scores: Tensor, jobs: readonly RankJob[]): (Float32Array | WhittleError)[] {
  const { data } = scores;
  const rows = totalRows(jobs);
  if (!(data instanceof Float32Array) || data.length !== rows)
    throw new WhittleError('CONTRACT_MISMATCH', `The model answers ${rows} rows with ${shapeOf(scores)}`, {
      output: shapeOf(scores),
      allowed: [`float32[${rows}]`, `float32[${rows}, 1]`],
    });
  let start = 0;
  return jobs.map((job) => {
    const end = start + job.rows;
    const share = allFinite(data, start, end) ? data.subarray(start, end) : notFinite(job.rows);
    start = end;
    return share;
  });
}

function requestIndex(jobs: readonly RankJob[]): Tensor {
  const rows = totalRows(jobs);
  const data = new BigInt64Array(rows);
  let start = 0;
  for (const [index, job] of jobs.entries()) {
    data.fill(BigInt(index), start, start + job.rows);
    start += job.rows;
  }
  return { dtype: 'int64', dims: [rows], data };
}

interface Part {
  readonly tensor: Tensor;
  readonly bytes: Uint8Array;
  /** How often the part's rows stand in the merged input. */
  readonly times: number;
}

/** `repeated`: each job's one row stands there for each of its candidates. */
function mergeInput(binding: InputBinding, jobs: readonly RankJob[], repeated: boolean): Tensor {
  const { dtype } = binding;
  assert(dtype !== 'string', 'a contract binds no strings');
  const parts = jobs.map((job) => partOf(binding, job, repeated));
  const first = must(parts[0], 'the first job of a batch');
  const rowDims = first.tensor.dims.slice(1);
  for (const { tensor } of parts)
    if (!sameDims(tensor.dims.slice(1), rowDims)) throw mismatch(binding, tensor, ['n', ...rowDims]);
  if (parts.length === 1 && first.times === 1) return first.tensor;
  let rows = 0;
  let byteLength = 0;
  for (const { tensor, bytes, times } of parts) {
    rows += (tensor.dims[0] ?? 0) * times;
    byteLength += bytes.byteLength * times;
  }
  const merged = new Uint8Array(byteLength);
  let offset = 0;
  for (const { bytes, times } of parts) offset = repeatInto(merged, offset, bytes, times);
  return { dtype, dims: [rows, ...rowDims], data: viewAs(dtype, merged) };
}

function partOf(binding: InputBinding, job: RankJob, repeated: boolean): Part {
  const tensor = job.inputs[binding.name];
  const rows = binding.per === 'request' ? 1 : job.rows;
  const fits = tensor?.dtype === binding.dtype && tensor.dims[0] === rows && ArrayBuffer.isView(tensor.data);
  if (!fits) throw mismatch(binding, tensor, [rows, ...binding.dims.slice(1)]);
  return { tensor, bytes: bytesOf(tensor.data), times: repeated ? job.rows : 1 };
}

function totalRows(jobs: readonly RankJob[]): number {
  let rows = 0;
  for (const job of jobs) rows += job.rows;
  return rows;
}

function sameDims(dims: readonly number[], others: readonly number[]): boolean {
  return dims.length === others.length && dims.every((dim, index) => dim === others[index]);
}

function shapeOf({ dtype, dims }: Tensor): string {
  return `${dtype}[${dims.join(', ')}]`;
}

function mismatch(
  binding: InputBinding,
  tensor: Tensor | undefined,
  dims: readonly (number | string)[],
): WhittleError {
  const allowed = `${binding.dtype}[${dims.join(', ')}]`;
  const value = tensor === undefined ? 'nothing' : shapeOf(tensor);
  return new WhittleError('CONTRACT_MISMATCH', `Input ${binding.name} takes ${allowed}, got ${value}`, {
    input: binding.name,
    value,
    allowed,
  });
}

function notFinite(rows: number): WhittleError {
  return new WhittleError('RUNNER_FAILED', 'The model gave a score that is not finite', { rows });
}

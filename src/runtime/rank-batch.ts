import { assert, must, WhittleError } from '../core/index.js';
import type { Contract, InputBinding, Tensor, TensorMap } from '../core/index.js';
import { allFinite, repeatInto } from './rank-batch-kernel.js';
import { bytesOf, viewAs } from './tensor-bytes.js';

/** Elements that one input of a batch may have: as many of int64 fill a frame. */
const MAX_INPUT_ELEMENTS = 2 ** 25;

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
 * @throws INPUT_TOO_LARGE when an input would have more than 2^25 elements, before it is allocated.
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
 * Tensors of numbers behind each other, of one type and row shape: `[sum of rows, …]`. A single one is answered as it is.
 * @throws INPUT_TOO_LARGE as {@link mergeRankJobs}; INTERNAL where types or shapes differ.
 */
export function stackRows(name: string, tensors: readonly Tensor[]): Tensor {
  const { dtype, dims } = must(tensors[0], 'a tensor to stack');
  const rowDims = dims.slice(1);
  const parts = tensors.map((tensor): Part => {
    const fits = tensor.dtype === dtype && hasRowDims(tensor, rowDims) && ArrayBuffer.isView(tensor.data);
    assert(fits, `${name} is ${shapeOf(tensor)}, the others ${dtype}[n, ${rowDims.join(', ')}]`);
    return { tensor, bytes: bytesOf(tensor.data), times: 1 };
  });
  return join(name, parts, rowDims);
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
  if (rows > MAX_INPUT_ELEMENTS) throw tooLarge('request_index', rows);
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
    if (!hasRowDims(tensor, rowDims)) throw mismatch(binding, tensor, ['n', ...rowDims]);
  return join(binding.name, parts, rowDims);
}

/** The parts' rows behind each other; counted before anything is allocated. */
function join(name: string, parts: readonly Part[], rowDims: readonly number[]): Tensor {
  const { tensor: first, times } = must(parts[0], 'the first part');
  if (parts.length === 1 && times === 1) return first;
  let rows = 0;
  let elements = 0;
  let byteLength = 0;
  for (const { tensor, bytes, times } of parts) {
    rows += (tensor.dims[0] ?? 0) * times;
    elements += tensor.data.length * times;
    byteLength += bytes.byteLength * times;
  }
  if (elements > MAX_INPUT_ELEMENTS) throw tooLarge(name, elements);
  const merged = new Uint8Array(byteLength);
  let offset = 0;
  for (const { bytes, times } of parts) offset = repeatInto(merged, offset, bytes, times);
  assert(first.dtype !== 'string', 'rows of strings are not joined');
  return { dtype: first.dtype, dims: [rows, ...rowDims], data: viewAs(first.dtype, merged) };
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

/** Whether a row of the tensor has the shape `rowDims`. */
function hasRowDims({ dims }: Tensor, rowDims: readonly number[]): boolean {
  return dims.length === rowDims.length + 1 && rowDims.every((dim, index) => dim === dims[index + 1]);
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

function tooLarge(input: string, elements: number): WhittleError {
  return new WhittleError('INPUT_TOO_LARGE', `Input ${input} of a batch would have ${elements} elements`, {
    input,
    elements,
    maxElements: MAX_INPUT_ELEMENTS,
    advice: 'send fewer rows in one batch',
  });
}

function notFinite(rows: number): WhittleError {
  return new WhittleError('RUNNER_FAILED', 'The model gave a score that is not finite', { rows });
}

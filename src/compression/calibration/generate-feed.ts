import { createRandom, elementCount, WhittleError } from '../../core/index.js';
import type { Random, Tensor, TensorMap } from '../../core/index.js';
import { modelInputs } from '../../onnx/index.js';
import type { Model, ValueInfo } from '../../onnx/index.js';
import { inputHints } from './input-hints.js';
import type { InputHints } from './input-hints.js';

/** What is decided where a model's inputs leave it open. */
export interface FeedPlan {
  /** Length of an input's first dynamic dimension. Default 4. */
  readonly rows?: number;
  /** Length of its other dynamic dimensions. Default 4. */
  readonly innerLength?: number;
  /**
   * Settings, that is numbers which come alone: drawn like all others, or (`plain`) 1, or 16 for an integer with "max"
   * in its name. Default `drawn`.
   */
  readonly settings?: 'drawn' | 'plain';
  /** Ids: drawn from the rows of the table they look up, or (`few`) 0 or 1. Default `table`. */
  readonly ids?: 'table' | 'few';
}

const DEFAULTS: Required<FeedPlan> = { rows: 4, innerLength: 4, settings: 'drawn', ids: 'table' };
const MAXIMUM = 16;

/**
 * Random inputs of a model: standard normal floats, ids of rows that a table has, other integers and booleans 0 or 1.
 * Dynamic dimensions of one name have one length. An integer that the model compares with a constant is that constant.
 * @throws GRAPH_UNSUPPORTED for inputs whose type or shape says too little; real requests must be given then.
 */
export function generateFeed(model: Model, seed: number, plan: FeedPlan = {}): TensorMap {
  const settled = { ...DEFAULTS, ...plan };
  const hints = inputHints(model.graph);
  const random = createRandom(seed);
  const lengths = new Map<string, number>();
  const feed: Record<string, Tensor> = {};
  for (const input of modelInputs(model.graph)) {
    const dims = settledDims(input, settled, lengths);
    feed[input.name] = filledTensor(input, dims, chooser(input, dims, settled, hints, random));
  }
  return feed;
}

function settledDims(
  input: ValueInfo,
  { rows, innerLength }: Required<FeedPlan>,
  lengths: Map<string, number>,
): number[] {
  const dims = input.dims ?? refuse(input, 'has no shape');
  const rowAxis = dims.findIndex((dim) => typeof dim === 'string');
  return dims.map((dim, axis) => {
    if (typeof dim === 'number') return dim;
    const length = lengths.get(dim) ?? (axis === rowAxis ? rows : innerLength);
    if (dim !== '') lengths.set(dim, length);
    return length;
  });
}

/** Gives one element after the other. */
interface Chooser {
  readonly real: () => number;
  readonly whole: () => number;
}

function chooser(
  { name, dims: declared = [] }: ValueInfo,
  dims: readonly number[],
  { settings, ids }: Required<FeedPlan>,
  { compared, tableRows }: InputHints,
  random: Random,
): Chooser {
  const alone = elementCount(dims) === 1 && declared.every((dim) => typeof dim === 'number');
  const constant = compared.get(name);
  if (constant !== undefined) return { real: () => constant, whole: () => constant };
  if (alone && settings === 'plain') return { real: () => 1, whole: () => (/max/i.test(name) ? MAXIMUM : 1) };
  const limit = (ids === 'table' ? tableRows.get(name) : undefined) ?? 2;
  return { real: () => random.normal(), whole: () => random.integer(limit) };
}

function filledTensor(input: ValueInfo, dims: readonly number[], { real, whole }: Chooser): Tensor {
  const { dtype } = input;
  const count = elementCount(dims);
  const fill = <A extends { length: number; [index: number]: unknown }>(
    array: A,
    next: () => A[number],
  ): A => {
    for (let i = 0; i < count; i++) array[i] = next();
    return array;
  };
  switch (dtype) {
    case 'float32':
      return { dtype, dims, data: fill(new Float32Array(count), real) };
    case 'float64':
      return { dtype, dims, data: fill(new Float64Array(count), real) };
    case 'int64':
      return { dtype, dims, data: fill(new BigInt64Array(count), () => BigInt(whole())) };
    case 'int32':
      return { dtype, dims, data: fill(new Int32Array(count), whole) };
    case 'int8':
      return { dtype, dims, data: fill(new Int8Array(count), whole) };
    case 'uint8':
    case 'bool':
      return { dtype, dims, data: fill(new Uint8Array(count), whole) };
    default:
      return refuse(input, `is of type ${dtype ?? 'unknown'}`);
  }
}

function refuse(input: ValueInfo, why: string): never {
  throw new WhittleError(
    'GRAPH_UNSUPPORTED',
    `Input ${input.name} ${why}, so no values can be made up for it: give calibration requests`,
    { input: input.name, dtype: input.dtype, dims: input.dims },
  );
}

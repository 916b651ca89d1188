import {
  must,
  WhittleError,
  type DataType,
  type InputBinding,
  type Tensor,
  type TensorMap,
} from '../core/index.js';
import { fillRows, writeRows, type Values } from './rows-kernel.js';

/** What the inputs of one request are made from. */
export interface RequestContext {
  /** Catalogue rows, oldest first. */
  readonly history: readonly number[];
  /** Unix seconds the request stands for. */
  readonly timeSeconds: number;
  /** Values the request carries, by field. */
  readonly inputs: Readonly<Record<string, number | readonly number[]>>;
}

/** What the inputs of a request's candidates are made from. */
export interface CandidateContext {
  /** Catalogue rows. */
  readonly rows: Int32Array;
  /** Score of retrieval, aligned with `rows`. */
  readonly retrievalScores: Float32Array;
}

/** The item columns that candidates read, by column or vector file; made once a bundle. */
export interface ItemFeatures {
  /** float32 `[rows, width]`. */
  table(binding: InputBinding): { readonly values: Float32Array; readonly width: number };
}

/** An empty buffer of an input's element type. */
function allocate(dtype: DataType, length: number): Values {
  switch (dtype) {
    case 'float32':
      return new Float32Array(length);
    case 'float64':
      return new Float64Array(length);
    case 'int32':
      return new Int32Array(length);
    case 'int64':
      return new BigInt64Array(length);
    default:
      throw new WhittleError('BUNDLE_INVALID', `Inputs of type ${dtype} cannot be bound`, {
        field: 'dtype',
        value: dtype,
      });
  }
}

function put(values: Values, index: number, value: number): void {
  if (values instanceof BigInt64Array) values[index] = BigInt(Math.trunc(value));
  else values[index] = value;
}

/** One row of a per-request input, `[1, ...]`. @throws INPUT_INVALID where the request lacks a value or has a wrong size. */
function requestTensor(binding: InputBinding, context: RequestContext): Tensor {
  const { source, dtype, dims } = binding;
  switch (source.from) {
    case 'history': {
      const { maxLength, offset, pad } = source;
      const data = allocate(dtype, maxLength);
      const { history } = context;
      const kept = Math.min(history.length, maxLength);
      if (pad !== 0) fillRows(data, 0, maxLength - kept, pad);
      writeRows(data, maxLength - kept, history, history.length - kept, history.length, offset);
      return { dtype, dims: [1, maxLength], data };
    }
    case 'time': {
      const data = allocate(dtype, 1);
      put(data, 0, source.boundaries.filter((boundary) => boundary <= context.timeSeconds).length);
      return { dtype, dims: [1], data };
    }
    case 'request':
      return carriedTensor(binding, context.inputs[source.field], source.field, dims);
    default:
      throw new WhittleError(
        'BUNDLE_INVALID',
        `Input ${binding.name}: source ${source.from} has no value per request`,
        {
          field: binding.name,
        },
      );
  }
}

function carriedTensor(
  { dtype, name }: InputBinding,
  value: number | readonly number[] | undefined,
  field: string,
  dims: InputBinding['dims'],
): Tensor {
  const width = dims.slice(1).reduce<number>((size, dim) => size * Number(dim), 1);
  const given = typeof value === 'number' ? [value] : value;
  if (given?.length !== width) {
    const found = given === undefined ? 'nothing' : `${given.length} numbers`;
    throw new WhittleError(
      'INPUT_INVALID',
      `inputs.${field}: the model's input ${name} takes ${width} numbers, the request has ${found}`,
      {
        field: `inputs.${field}`,
        value: given?.length,
        allowed: `${width} numbers`,
      },
    );
  }
  const data = allocate(dtype, width);
  given.forEach((one, index) => {
    put(data, index, one);
  });
  return { dtype, dims: [1, ...dims.slice(1).map(Number)], data };
}

/** Rows of a per-candidate input, `[candidates, ...]`. */
function candidateTensor(binding: InputBinding, context: CandidateContext, features: ItemFeatures): Tensor {
  const { source, dtype, dims } = binding;
  const count = context.rows.length;
  if (source.from === 'candidate') {
    const data = allocate(dtype, count);
    writeRows(data, 0, context.rows, 0, count, source.offset);
    return { dtype, dims: [count, ...dims.slice(1).map(Number)], data };
  }
  if (source.from === 'retrieval') {
    const data = allocate(dtype, count);
    copyRow(context.retrievalScores, 0, data, 0, count);
    return { dtype, dims: [count, ...dims.slice(1).map(Number)], data };
  }
  const { values, width } = features.table(binding);
  const data = allocate(dtype, count * width);
  for (let index = 0; index < count; index++)
    copyRow(values, must(context.rows[index], 'row') * width, data, index * width, width);
  return { dtype, dims: [count, ...dims.slice(1).map(Number)], data };
}

function copyRow(from: Float32Array, start: number, to: Values, at: number, width: number): void {
  if (to instanceof Float32Array) to.set(from.subarray(start, start + width), at);
  else
    for (let column = 0; column < width; column++) put(to, at + column, must(from[start + column], 'value'));
}

/**
 * The tensors of all inputs bound per request, one row each. `request_index` is left to the batch.
 * @throws INPUT_INVALID naming the field.
 */
export function bindRequest(bindings: readonly InputBinding[], context: RequestContext): TensorMap {
  const tensors: Record<string, Tensor> = {};
  for (const binding of bindings)
    if (binding.per === 'request') tensors[binding.name] = requestTensor(binding, context);
  return tensors;
}

/** The tensors of all inputs bound per candidate, one row a candidate. `request_index` is left to the batch. */
export function bindCandidates(
  bindings: readonly InputBinding[],
  context: CandidateContext,
  features: ItemFeatures,
): TensorMap {
  const tensors: Record<string, Tensor> = {};
  for (const binding of bindings) {
    if (binding.per === 'candidate' && binding.source.from !== 'request_index')
      tensors[binding.name] = candidateTensor(binding, context, features);
  }
  return tensors;
}

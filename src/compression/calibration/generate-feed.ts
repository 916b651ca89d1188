import { createRandom, elementCount, WhittleError } from '../../core/index.js';
import type { Random, Tensor, TensorMap } from '../../core/index.js';
import { modelInputs } from '../../onnx/index.js';
import type { Model, ValueInfo } from '../../onnx/index.js';

/** Length given to dynamic dimensions that are not the first. */
const INNER_LENGTH = 4;

/**
 * Random inputs of a model: standard normal floats, integers and booleans of 0 and 1 (ids that every table has). Dynamic
 * dimensions of one name have one length: `rows` where the name stands first, else 4.
 * @throws GRAPH_UNSUPPORTED for inputs whose type or shape says too little; real requests must be given then.
 */
export function generateFeed(model: Model, seed: number, rows = INNER_LENGTH): TensorMap {
  const random = createRandom(seed);
  const lengths = new Map<string, number>();
  const feed: Record<string, Tensor> = {};
  for (const input of modelInputs(model.graph)) {
    const dims = (input.dims ?? refuse(input, 'has no shape')).map((dim, axis) => {
      if (typeof dim === 'number') return dim;
      const length = lengths.get(dim) ?? (axis === 0 ? rows : INNER_LENGTH);
      if (dim !== '') lengths.set(dim, length);
      return length;
    });
    feed[input.name] = randomTensor(input, dims, random);
  }
  return feed;
}

function randomTensor(input: ValueInfo, dims: readonly number[], random: Random): Tensor {
  const { dtype } = input;
  const count = elementCount(dims);
  const fill = <A extends { length: number; [index: number]: unknown }>(
    array: A,
    next: () => A[number],
  ): A => {
    for (let i = 0; i < count; i++) array[i] = next();
    return array;
  };
  const bit = (): number => random.integer(2);
  switch (dtype) {
    case 'float32':
      return { dtype, dims, data: fill(new Float32Array(count), () => random.normal()) };
    case 'float64':
      return { dtype, dims, data: fill(new Float64Array(count), () => random.normal()) };
    case 'int64':
      return { dtype, dims, data: fill(new BigInt64Array(count), () => BigInt(bit())) };
    case 'int32':
      return { dtype, dims, data: fill(new Int32Array(count), bit) };
    case 'int8':
      return { dtype, dims, data: fill(new Int8Array(count), bit) };
    case 'uint8':
    case 'bool':
      return { dtype, dims, data: fill(new Uint8Array(count), bit) };
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

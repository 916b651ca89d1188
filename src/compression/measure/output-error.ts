import { must, WhittleError } from '../../core/index.js';
import type { Tensor, TensorMap } from '../../core/index.js';

/** How far one output of a model is from another model's, over all elements of all feeds. */
export interface OutputError {
  readonly maxAbsolute: number;
  /** Root mean square of the difference over that of the reference; undefined where the reference is all zero. */
  readonly relativeRms: number | undefined;
  /** Cosine of the angle between the two; undefined where one is all zero. */
  readonly cosine: number | undefined;
}

/** One model's outputs on each feed. */
export type Outputs = readonly TensorMap[];

/**
 * Error of every numeric output.
 * @throws GRAPH_UNSUPPORTED where a shape differs, or a number is not finite that was so in the reference.
 */
export function outputErrors(reference: Outputs, actual: Outputs): Readonly<Record<string, OutputError>> {
  const names = Object.keys(reference[0] ?? {}).filter((name) => reference[0]?.[name]?.dtype !== 'string');
  const errors = names.map((name) => {
    const sums = { difference: 0, reference: 0, actual: 0, product: 0, maxAbsolute: 0 };
    reference.forEach((wanted, index) => {
      addTensor(sums, name, must(wanted[name], name), must(actual[index]?.[name], name));
    });
    return [name, errorOf(sums)] as const;
  });
  return Object.fromEntries(errors);
}

interface Sums {
  difference: number;
  reference: number;
  actual: number;
  product: number;
  maxAbsolute: number;
}

function addTensor(sums: Sums, name: string, wanted: Tensor, got: Tensor): void {
  if (wanted.dims.join() !== got.dims.join())
    throw new WhittleError(
      'GRAPH_UNSUPPORTED',
      `Output ${name} has shape [${got.dims.join(', ')}], before it was [${wanted.dims.join(', ')}]`,
      { output: name, dims: got.dims, before: wanted.dims },
    );
  for (let i = 0; i < wanted.data.length; i++) {
    const a = Number(wanted.data[i]);
    const b = Number(got.data[i]);
    // Masked scores are often minus infinity; there is no distance to measure.
    if (!Number.isFinite(a)) continue;
    if (!Number.isFinite(b))
      throw new WhittleError('GRAPH_UNSUPPORTED', `Output ${name} is ${b} where it was ${a}`, {
        output: name,
        element: i,
      });
    sums.maxAbsolute = Math.max(sums.maxAbsolute, Math.abs(b - a));
    sums.difference += (b - a) ** 2;
    sums.reference += a ** 2;
    sums.actual += b ** 2;
    sums.product += a * b;
  }
}

function errorOf({ difference, reference, actual, product, maxAbsolute }: Sums): OutputError {
  return {
    maxAbsolute,
    relativeRms: reference === 0 ? undefined : Math.sqrt(difference / reference),
    cosine: reference * actual === 0 ? undefined : product / Math.sqrt(reference * actual),
  };
}

import { assert, must } from '../src/core/index.js';

/**
 * Quantile by nearest rank: the smallest value that at least the share `probability` of the values do not exceed.
 * `ascending` is sorted; undefined where it is empty.
 */
export function quantile(ascending: Float64Array, probability: number): number | undefined {
  assert(probability > 0 && probability <= 1, `probability ${probability} is not in (0, 1]`);
  return ascending[Math.ceil(probability * ascending.length) - 1];
}

/** Median of the values that are there, the mean of the middle two for an even number; undefined without any. */
export function median(values: readonly (number | undefined)[]): number | undefined {
  const ascending = values.filter((value) => value !== undefined).sort((a, b) => a - b);
  if (ascending.length === 0) return undefined;
  const middle = (ascending.length - 1) / 2;
  return (must(ascending[Math.floor(middle)], 'value') + must(ascending[Math.ceil(middle)], 'value')) / 2;
}

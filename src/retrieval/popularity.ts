import { TopK } from './top-k-kernel.js';

/**
 * The k most popular rows that are not excluded, best first; of equal ones the lower row stands first. Rows whose
 * popularity is not a number are never answered. Fewer than k where there are not so many.
 */
export function topByPopularity(
  popularity: ArrayLike<number>,
  exclude: ReadonlySet<number>,
  k: number,
): { readonly rows: Int32Array; readonly scores: Float32Array } {
  const top = new TopK(k);
  for (let row = 0; row < popularity.length; row++) {
    const value = popularity[row] ?? Number.NaN;
    if (!Number.isNaN(value) && !exclude.has(row)) top.offer(row, value);
  }
  return top.drain();
}

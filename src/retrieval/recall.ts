import type { VectorIndex } from './vector-index.js';

/**
 * Mean share of the k exactly nearest rows that an approximate index finds: |found ∩ exact| / min(k, size), over
 * `queries` `[count, dimensions]`. This is recall against exact search, not against what people chose.
 */
export async function annRecallAtK(
  index: VectorIndex,
  exact: VectorIndex,
  queries: Float32Array,
  k: number,
): Promise<number> {
  const count = queries.length / exact.dimensions;
  const [found, truth] = await Promise.all([
    index.search(queries, count, k),
    exact.search(queries, count, k),
  ]);
  let shared = 0;
  for (let query = 0; query < count; query++) {
    const wanted = new Set(truth.rows.subarray(query * k, (query + 1) * k));
    wanted.delete(-1);
    for (const row of found.rows.subarray(query * k, (query + 1) * k)) if (wanted.has(row)) shared += 1;
  }
  return shared / (count * Math.min(k, exact.size));
}

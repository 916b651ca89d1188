import { createRandom } from '../../src/core/index.js';
import type { Metric } from '../../src/retrieval/index.js';

/** Vectors `[rows, dimensions]` around random centres, with unequal lengths, as towers learn them. */
export function clusteredVectors(rows: number, dimensions: number, seed: number): Float32Array {
  const random = createRandom(seed);
  const clusters = Math.ceil(rows / 50);
  const centres = Float32Array.from({ length: clusters * dimensions }, () => random.normal());
  const vectors = new Float32Array(rows * dimensions);
  for (let row = 0; row < rows; row++) {
    const centre = random.integer(clusters) * dimensions;
    const length = 0.7 + 0.6 * random.uniform();
    for (let d = 0; d < dimensions; d++)
      vectors[row * dimensions + d] = length * ((centres[centre + d] ?? 0) + 0.5 * random.normal());
  }
  return vectors;
}

/** Score of every row for every query in double precision, `[count][rows]`. */
export function bruteForceScores(
  vectors: Float32Array,
  queries: Float32Array,
  dimensions: number,
  metric: Metric,
): number[][] {
  const rowsOf = (table: Float32Array): number[][] =>
    Array.from({ length: table.length / dimensions }, (_, row) => [
      ...table.subarray(row * dimensions, (row + 1) * dimensions),
    ]);
  const dot = (a: number[], b: number[]): number =>
    a.reduce((sum, value, at) => sum + value * (b[at] ?? 0), 0);
  const items = rowsOf(vectors);
  return rowsOf(queries).map((query) =>
    items.map((item) => {
      if (metric === 'dot') return dot(query, item);
      const norms = Math.sqrt(dot(query, query) * dot(item, item));
      return norms === 0 ? 0 : dot(query, item) / norms;
    }),
  );
}

/** The k best rows of one query: larger score first, of equal scores the lower row. */
export function bestRows(scores: readonly number[], k: number): number[] {
  return scores
    .map((score, row) => ({ score, row }))
    .sort((a, b) => b.score - a.score || a.row - b.row)
    .slice(0, k)
    .map(({ row }) => row);
}

import { WhittleError } from '../core/index.js';

/** Similarity of a query and an item; larger is closer. Cosine with a zero vector is 0. */
export type Metric = 'dot' | 'cosine';

/** The k best rows of each query, best first; of equal scores the lower row stands first where the search is exact. */
export interface SearchResult {
  /** `[count, k]`; -1 pads where an index has fewer than k rows. */
  readonly rows: Int32Array;
  /** `[count, k]`, dot or cosine, larger is better; -Infinity beside a padded row. */
  readonly scores: Float32Array;
}

/** Finds the item vectors closest to query vectors. */
export interface VectorIndex {
  /** Number of item vectors. */
  readonly size: number;
  readonly dimensions: number;
  /**
   * Searches for `count` queries, `queries` is `[count, dimensions]`. The caller owns the result.
   * @throws INPUT_INVALID when the queries have another shape, a value that is not finite, or k is not positive.
   */
  search(queries: Float32Array, count: number, k: number): Promise<SearchResult>;
  /** Frees the index; it must not be searched afterwards. */
  release(): Promise<void>;
}

/** The shape of an index. */
export interface IndexShape {
  readonly size: number;
  readonly dimensions: number;
}

/** @throws INPUT_INVALID as {@link VectorIndex.search} says. */
export function checkQueries(shape: IndexShape, queries: Float32Array, count: number, k: number): void {
  const { dimensions } = shape;
  if (queries.length !== count * dimensions)
    throw new WhittleError(
      'INPUT_INVALID',
      `${count} query vectors of this index have ${count * dimensions} numbers, not ${queries.length}`,
      { field: 'queries', length: queries.length, count, dimensions },
    );
  if (!Number.isInteger(k) || k < 1)
    throw new WhittleError('INPUT_INVALID', `k must be a positive integer, not ${k}`, {
      field: 'k',
      value: k,
    });
  checkFinite(queries, dimensions, 'queries');
}

/**
 * Shape of a table of item vectors.
 * @throws INPUT_INVALID when it is empty, is no whole number of rows, or holds a number that is not finite.
 */
export function shapeOf(vectors: Float32Array, dimensions: number): IndexShape {
  const size = vectors.length / dimensions;
  if (!Number.isInteger(size) || size < 1)
    throw new WhittleError(
      'INPUT_INVALID',
      `${vectors.length} numbers are not one or more vectors of ${dimensions} dimensions`,
      { field: 'vectors', length: vectors.length, dimensions },
    );
  checkFinite(vectors, dimensions, 'vectors');
  return { size, dimensions };
}

/** A result with nothing found yet: every row is -1. */
export function emptyResult(count: number, k: number): SearchResult {
  return {
    rows: new Int32Array(count * k).fill(-1),
    scores: new Float32Array(count * k).fill(Number.NEGATIVE_INFINITY),
  };
}

function checkFinite(values: Float32Array, dimensions: number, field: string): void {
  const index = values.findIndex((value) => !Number.isFinite(value));
  if (index < 0) return;
  const row = Math.floor(index / dimensions);
  throw new WhittleError('INPUT_INVALID', `Row ${row} of ${field} holds ${values[index]}`, {
    field,
    row,
    allowed: 'finite numbers',
  });
}

import { rename, rm } from 'node:fs/promises';
import type { HierarchicalNSW } from 'hnswlib-node';
import { must, toWhittleError, WhittleError } from '../core/index.js';
import { checkHnswFile } from './hnsw-file.js';
import { inverseNorms } from './norms-kernel.js';
import { checkQueries, emptyResult, shapeOf } from './vector-index.js';
import type { IndexShape, Metric, VectorIndex } from './vector-index.js';

export interface HnswBuildOptions {
  readonly dimensions: number;
  readonly metric: Metric;
  /** Links of a vector on each level (twice as many on the lowest); default 16. */
  readonly m?: number;
  /** Candidates looked at when a vector is linked; default 200. */
  readonly efConstruction?: number;
  /** Candidates looked at by a search, at least k; default 400. */
  readonly efSearch?: number;
  /** Default `ip`. */
  readonly space?: HnswSpace;
}

/**
 * Distance by which the graph is linked. `ip`: 1 − dot. `l2`, for the metric dot only: Euclidean between items made
 * equally long by one more coordinate, √(longest² − length²), which a query has as 0; the order is that of the dot
 * products (Bachrach et al. 2014). Which finds more depends on the vectors: measure (docs/decisions/002).
 */
export type HnswSpace = 'ip' | 'l2';

export interface HnswLoadOptions extends IndexShape {
  readonly metric: Metric;
  readonly efSearch?: number;
  readonly space?: HnswSpace;
}

/** An approximate index that can be kept in a file. */
export interface HnswIndex extends VectorIndex {
  /** Writes the index to a file; an older file is replaced in one step. @throws FILE_MISSING where it cannot be written. */
  save(path: string): Promise<void>;
}

const DEFAULT_EF_SEARCH = 400;
// Any fixed number: the levels of the vectors are drawn from it, so that a rebuild is equal to the byte.
const LEVEL_SEED = 100;

/**
 * Builds a hierarchical navigable small world graph over `vectors` `[rows, dimensions]`, deterministically: equal
 * vectors and options give equal files.
 * @throws PACKAGE_MISSING where hnswlib-node is not installed, INPUT_INVALID for unusable vectors.
 */
export async function buildHnswIndex(vectors: Float32Array, options: HnswBuildOptions): Promise<HnswIndex> {
  const { dimensions, metric, m = 16, efConstruction = 200, efSearch, space = 'ip' } = options;
  const shape = shapeOf(vectors, dimensions);
  const graph = await createGraph(space, dimensions);
  graph.initIndex(shape.size, m, efConstruction, LEVEL_SEED);
  const norms = metric === 'cosine' ? inverseNorms(vectors, dimensions) : undefined;
  const longest = space === 'l2' ? longestSquare(vectors, dimensions) : undefined;
  for (let row = 0; row < shape.size; row++) {
    const point = pointOf(vectors, dimensions, row, norms);
    if (longest !== undefined) point.push(Math.sqrt(Math.max(0, longest - squareOf(point))));
    graph.addPoint(point, row);
  }
  return wrap(graph, shape, metric, space, efSearch);
}

/**
 * Loads an index that {@link HnswIndex.save} wrote. The file is checked first, since the library trusts it blindly.
 * @throws PACKAGE_MISSING, FILE_MISSING, FILE_CORRUPT; BUNDLE_INVALID where size or dimensions are not as expected.
 */
export async function loadHnswIndex(path: string, options: HnswLoadOptions): Promise<HnswIndex> {
  const { space = 'ip' } = options;
  const graph = await createGraph(space, options.dimensions);
  const stored = await checkHnswFile(path);
  const found = { ...stored, dimensions: stored.dimensions - (space === 'l2' ? 1 : 0) };
  if (found.size !== options.size || found.dimensions !== options.dimensions)
    throw new WhittleError(
      'BUNDLE_INVALID',
      `${path} holds ${shapeText(found)}; the bundle has ${shapeText(options)}. Build the index again`,
      { path, found, expected: { size: options.size, dimensions: options.dimensions } },
    );
  try {
    await graph.readIndex(path);
  } catch (error) {
    throw toWhittleError(error, 'FILE_CORRUPT');
  }
  return wrap(graph, found, options.metric, space, options.efSearch);
}

async function createGraph(space: HnswSpace, dimensions: number): Promise<HierarchicalNSW> {
  try {
    const library = await import('hnswlib-node');
    // Cosine is the inner product of vectors that are normalised here.
    return new library.default.HierarchicalNSW(space, space === 'l2' ? dimensions + 1 : dimensions);
  } catch (error) {
    throw new WhittleError(
      'PACKAGE_MISSING',
      'hnswlib-node is not installed or was not compiled for this machine; use exact retrieval (index kind "flat")',
      { package: 'hnswlib-node' },
      error,
    );
  }
}

function wrap(
  built: HierarchicalNSW,
  shape: IndexShape,
  metric: Metric,
  space: HnswSpace,
  efSearch = DEFAULT_EF_SEARCH,
): HnswIndex {
  let graph: HierarchicalNSW | undefined = built;
  built.setEf(efSearch);
  return {
    size: shape.size,
    dimensions: shape.dimensions,
    search: (queries, count, k) =>
      Promise.resolve().then(() => {
        checkQueries(shape, queries, count, k);
        return searchAll(must(graph, 'released index'), shape, metric, space, queries, count, k);
      }),
    save: (path) => saveGraph(must(graph, 'released index'), path),
    // The library frees its memory when the object is collected.
    release: () => {
      graph = undefined;
      return Promise.resolve();
    },
  };
}

function searchAll(
  graph: HierarchicalNSW,
  shape: IndexShape,
  metric: Metric,
  space: HnswSpace,
  queries: Float32Array,
  count: number,
  k: number,
): { rows: Int32Array; scores: Float32Array } {
  const { size, dimensions } = shape;
  const norms = metric === 'cosine' ? inverseNorms(queries, dimensions) : undefined;
  const result = emptyResult(count, k);
  const longest = space === 'l2' ? squareOf(graph.getPoint(0)) : 0;
  for (let query = 0; query < count; query++) {
    const point = pointOf(queries, dimensions, query, norms);
    const length = squareOf(point);
    if (space === 'l2') point.push(0);
    const { neighbors, distances } = graph.searchKnn(point, Math.min(k, size));
    result.rows.set(neighbors, query * k);
    distances.forEach((distance, index) => {
      // The library's distances: 1 − dot; length² + longest² − 2 dot.
      const dot = space === 'ip' ? 1 - distance : (length + longest - distance) / 2;
      result.scores[query * k + index] = dot;
    });
  }
  return result;
}

/** One row as the plain array that the library takes, normalised where `norms` are given. */
function pointOf(vectors: Float32Array, dimensions: number, row: number, norms?: Float32Array): number[] {
  const scale = norms?.[row] ?? 1;
  return Array.from(vectors.subarray(row * dimensions, (row + 1) * dimensions), (value) => value * scale);
}

function squareOf(point: readonly number[]): number {
  return point.reduce((sum, value) => sum + value * value, 0);
}

/** Square of the longest row's length. */
function longestSquare(vectors: Float32Array, dimensions: number): number {
  let longest = 0;
  for (let start = 0; start < vectors.length; start += dimensions) {
    longest = Math.max(longest, squareOf(Array.from(vectors.subarray(start, start + dimensions))));
  }
  return longest;
}

async function saveGraph(graph: HierarchicalNSW, path: string): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await graph.writeIndex(temporary);
    // The library does not report a full disk or a folder that is missing: look at what it wrote.
    await checkHnswFile(temporary);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw new WhittleError('FILE_MISSING', `The index could not be written to ${path}`, { path }, error);
  }
}

function shapeText(shape: IndexShape): string {
  return `${shape.size} vectors of ${shape.dimensions} dimensions`;
}

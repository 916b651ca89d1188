import { float32, float32Data, int64, must, WhittleError } from '../core/index.js';
import type { OpenSession, Session, Tensor, TensorMap } from '../core/index.js';
import { encodeModel, GraphBuilder } from '../onnx/index.js';
import type { Model } from '../onnx/index.js';
import { inverseNorms } from './norms-kernel.js';
import { checkQueries, emptyResult, shapeOf } from './vector-index.js';
import type { IndexShape, Metric, SearchResult, VectorIndex } from './vector-index.js';

const TABLE = 'vectors';

/**
 * Exact search as a model that can be written, mapped and compressed like any other: `queries`
 * `[requests, dimensions] float32` and `k` `[1] int64` in, `scores` `[requests, k] float32` and `rows`
 * `[requests, k] int32` out, best first, of equal scores the lower row first. `vectors` `[rows, dimensions]` is shared
 * with the model, not copied.
 * @throws INPUT_INVALID for unusable vectors.
 */
export function buildFlatModel(vectors: Float32Array, dimensions: number, metric: Metric): Model {
  const shape = shapeOf(vectors, dimensions);
  return searchGraph(vectors, shape, metric, (builder, table) => builder.initializer(TABLE, table));
}

/**
 * Exact index over `vectors` `[rows, dimensions]`. They stay where they are and are read in place by every search: they
 * must not change before the index is released.
 * @throws INPUT_INVALID for unusable vectors.
 */
export async function openFlatIndex(
  vectors: Float32Array,
  dimensions: number,
  metric: Metric,
  openSession: OpenSession,
): Promise<VectorIndex> {
  const shape = shapeOf(vectors, dimensions);
  const dims = [shape.size, dimensions];
  const model = searchGraph(vectors, shape, metric, (builder) => builder.input(TABLE, 'float32', dims));
  const session = await openSession(encodeModel(model));
  return wrap(session, shape, { [TABLE]: float32(vectors, dims) });
}

/**
 * Exact index from a model of {@link buildFlatModel}, as it was or compressed: its bytes, or its path where weights are
 * external.
 * @throws MODEL_INVALID where ONNX Runtime does not load it, BUNDLE_INVALID where it takes other queries.
 */
export async function openFlatModel(
  model: Uint8Array | string,
  shape: IndexShape,
  openSession: OpenSession,
): Promise<VectorIndex> {
  const session = await openSession(model);
  const dims = session.inputs.find((input) => input.name === 'queries')?.dims;
  if (dims?.[1] === shape.dimensions) return wrap(session, shape, {});
  await session.release();
  throw new WhittleError(
    'BUNDLE_INVALID',
    `The flat index takes queries of shape [${dims?.join(', ') ?? ''}]; the bundle has ${shape.dimensions} dimensions`,
    { found: dims ?? null, expected: shape.dimensions },
  );
}

function searchGraph(
  vectors: Float32Array,
  shape: IndexShape,
  metric: Metric,
  addTable: (builder: GraphBuilder, table: Tensor) => string,
): Model {
  const { size, dimensions } = shape;
  const builder = new GraphBuilder({ name: 'flat_index' });
  const { op } = builder;
  const queries = builder.input('queries', 'float32', ['requests', dimensions]);
  const k = builder.input('k', 'int64', [1]);
  const table = addTable(builder, float32(vectors, [size, dimensions]));
  const scores =
    metric === 'dot'
      ? op.Gemm(queries, table, { transB: 1 })
      : cosines(builder, queries, table, inverseNorms(vectors, dimensions));
  const [best, places] = builder.node('TopK', [scores, k], { axis: -1 }, ['scores', 'places']);
  const [rows] = builder.node('Cast', [must(places, 'places')], { to: 6 /* int32 */ }, ['rows']);
  builder.output(must(best, 'scores'), 'float32', ['requests', 'k']);
  builder.output(must(rows, 'rows'), 'int32', ['requests', 'k']);
  return builder.build();
}

// The table stays as it is in its file: its norms are a vector of their own.
function cosines(builder: GraphBuilder, queries: string, table: string, inverse: Float32Array): string {
  const { op } = builder;
  const [unit] = builder.node('LpNormalization', [queries], { axis: -1, p: 2 });
  const dots = op.Gemm(must(unit, 'unit'), table, { transB: 1 });
  return op.Mul(dots, builder.initializer('inverse_norms', float32(inverse)));
}

function wrap(session: Session, shape: IndexShape, fixed: TensorMap): VectorIndex {
  const { size, dimensions } = shape;
  return {
    size,
    dimensions,
    search: async (queries, count, k) => {
      checkQueries(shape, queries, count, k);
      if (count === 0) return emptyResult(0, k);
      const found = Math.min(k, size);
      const output = await session.run({
        ...fixed,
        queries: float32(queries, [count, dimensions]),
        k: int64([found]),
      });
      return padded(output, count, found, k);
    },
    release: () => session.release(),
  };
}

/** The outputs `[count, found]` as `[count, k]`. */
function padded(output: TensorMap, count: number, found: number, k: number): SearchResult {
  const rows = must(output['rows'], 'rows').data as Int32Array;
  const scores = float32Data(must(output['scores'], 'scores'));
  if (found === k) return { rows, scores };
  const result = emptyResult(count, k);
  for (let query = 0; query < count; query++) {
    result.rows.set(rows.subarray(query * found, (query + 1) * found), query * k);
    result.scores.set(scores.subarray(query * found, (query + 1) * found), query * k);
  }
  return result;
}

import type { OpenSession } from '../../core/index.js';
import type { Float64Products, Matrix } from '../calibration/float64-products.js';
import { GramAccumulator } from '../calibration/gram-accumulator.js';
import { withoutOnes } from '../calibration/second-moments.js';
import { symmetricEigen } from '../kernels/eigen-kernel.js';
import { scaledColumns, singularValues, weightedRows, widened } from '../kernels/low-rank-kernel.js';
import type { Spectrum } from './spectrum.js';

/** Rows that are worked on at once. */
const CHUNK_ROWS = 4096;

/** How much rows and columns of a table count. */
export interface TableWeights {
  /** `[rows]`: how often a row is looked up. */
  readonly rows: Float64Array;
  /** `[width]`, above zero: how much outputs move with a column. */
  readonly columns: Float64Array;
}

/**
 * Decomposes `√R · table[rows, width] · C` for the diagonal matrices of the row and column weights, so that cutting the
 * last singular values moves the outputs of the lookups least in mean square. The factors `[rows, rank]` and
 * `[rank, width]` are of the table itself, without the weights. Undefined where the table is not finite.
 * @param read gives the table; called again for factors, so that a spectrum does not keep its table in memory.
 */
export async function tableSpectrum(
  read: () => Float32Array,
  weights: TableWeights,
  products: Float64Products,
  openSession: OpenSession,
): Promise<Spectrum | undefined> {
  const { columns } = weights;
  const width = columns.length;
  const eigen = symmetricEigen(await weightedGram(read(), weights, openSession), width);
  return (
    eigen && {
      values: singularValues(eigen.values),
      factors: async (rank) => {
        const vectors = eigen.vectors(rank);
        const basis = { rows: rank, columns: width, data: scaledColumns(vectors, columns, 1) };
        const first = await project(read(), basis, products);
        return { first, second: Float32Array.from(scaledColumns(vectors, columns, -1)) };
      },
    }
  );
}

async function weightedGram(
  table: Float32Array,
  { rows, columns }: TableWeights,
  openSession: OpenSession,
): Promise<Float64Array> {
  const width = columns.length;
  const accumulator = await GramAccumulator.open(width, openSession);
  try {
    for (let row = 0; row < rows.length; row += CHUNK_ROWS)
      await accumulator.add(weightedRows(table, row, rows.subarray(row, row + CHUNK_ROWS), columns));
    await accumulator.flush();
    return withoutOnes({ width, rows: rows.length, gram: accumulator.sum });
  } finally {
    await accumulator.close();
  }
}

/** `table · basisᵀ`, `[rows, rank]`. */
async function project(table: Float32Array, basis: Matrix, products: Float64Products): Promise<Float32Array> {
  const { rows: rank, columns: width } = basis;
  const rows = table.length / width;
  const projected = new Float32Array(rows * rank);
  for (let row = 0; row < rows; row += CHUNK_ROWS) {
    const part = table.subarray(row * width, (row + CHUNK_ROWS) * width);
    const count = part.length / width;
    const chunk = { rows: count, columns: width, data: widened(part, count, width, 1, false) };
    projected.set((await products.multiplyRightTransposed(chunk, basis)).data, row * rank);
  }
  return projected;
}

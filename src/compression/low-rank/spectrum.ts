import type { Float64Products, Matrix } from '../calibration/float64-products.js';
import { symmetricEigen } from '../kernels/eigen-kernel.js';
import { choleskyInPlace } from '../kernels/linear-algebra-kernel.js';
import { normalizeRows, singularValues } from '../kernels/low-rank-kernel.js';

/** `W[inputs, outputs] ≈ first[inputs, rank] · second[rank, outputs]`. */
export interface Factors {
  readonly first: Float32Array;
  readonly second: Float32Array;
}

/** Singular values of a weight matrix under its inputs, and the best factors of any rank. */
export interface Spectrum {
  /** Largest first, as many as the smaller side: the sizes of the outputs' principal parts on the inputs. */
  readonly values: Float64Array;
  /** `first = W V`, `second = Vᵀ` for the first `rank` right singular vectors `V`. */
  factors(rank: number): Promise<Factors>;
}

/** Singular values below this share of the largest have directions of rounding noise, for a Gram matrix is of squares. */
const NOISE = 1e-7;

/**
 * Decomposes `Lᵀ W`, where `L Lᵀ = gram[inputs, inputs]` is the second moment of the inputs: cutting its last singular
 * values costs least on these inputs (as SVD-LLM, Wang et al. 2024, truncates after whitening). It works on the smaller
 * of `Wᵀ G W` and `Lᵀ W Wᵀ L`, whose eigenvalues are the squares. Overwrites `gram`, and keeps `weight`; undefined
 * where they are not finite or `gram` is not positive definite.
 */
export function whitenedSpectrum(
  weight: Matrix,
  gram: Matrix,
  products: Float64Products,
): Promise<Spectrum | undefined> {
  return weight.columns <= weight.rows
    ? spectrumOfOutputs(weight, gram, products)
    : spectrumOfInputs(weight, gram, products);
}

async function spectrumOfOutputs(
  weight: Matrix,
  gram: Matrix,
  products: Float64Products,
): Promise<Spectrum | undefined> {
  const side = weight.columns;
  const outputs = await products.multiplyLeftTransposed(weight, await products.multiply(gram, weight));
  const eigen = symmetricEigen(outputs.data, side);
  return (
    eigen && {
      values: singularValues(eigen.values),
      factors: (rank) => project(weight, { rows: rank, columns: side, data: eigen.vectors(rank) }, products),
    }
  );
}

async function spectrumOfInputs(
  weight: Matrix,
  gram: Matrix,
  products: Float64Products,
): Promise<Spectrum | undefined> {
  const side = weight.rows;
  if (!choleskyInPlace(gram.data, side)) return undefined;
  const whitened = await products.multiplyLeftTransposed(gram, weight);
  const eigen = symmetricEigen((await products.multiplyRightTransposed(whitened, whitened)).data, side);
  if (eigen === undefined) return undefined;
  const values = singularValues(eigen.values);
  return {
    values,
    factors: async (rank) => {
      const left = { rows: rank, columns: side, data: eigen.vectors(rank) };
      const right = await products.multiply(left, whitened);
      normalizeRows(right.data, rank, right.columns, NOISE * (values[0] ?? 0));
      return project(weight, right, products);
    },
  };
}

async function project(weight: Matrix, second: Matrix, products: Float64Products): Promise<Factors> {
  const first = await products.multiplyRightTransposed(weight, second);
  return { first: Float32Array.from(first.data), second: Float32Array.from(second.data) };
}

import { must, WhittleError } from '../core/index.js';
import { svd } from './kernels/svd-kernel.js';

// The exercises of the field's textbooks, on matrices that fit on a page. The passes have kernels of their own.

/** Rows of equal length, of finite numbers. */
export type Matrix = readonly (readonly number[])[];

export interface UniformQuantization {
  /** Whole numbers: 0 to `2^bits − 1`, or within ±(2^(bits − 1) − 1) where symmetric. */
  readonly values: number[][];
  /** What one step stands for. */
  readonly scale: number;
  /** The whole number that stands for 0; 0 where symmetric. */
  readonly zeroPoint: number;
  /** `(values − zeroPoint) · scale`. */
  readonly dequantized: number[][];
  /** Largest `|dequantized − matrix|`: at most half a step. */
  readonly maxError: number;
}

/**
 * Uniform quantization of a matrix with one scale: `value = round(x / scale) + zeroPoint`. The range is that of the
 * elements with 0 in it, as in ONNX's QuantizeLinear, so that 0 stays exact; symmetric: as far below 0 as above.
 * @param bits 2 to 16.
 * @throws INPUT_INVALID for a matrix that is none, or other bits.
 */
export function quantizeUniform(
  matrix: Matrix,
  bits: number,
  { symmetric = false }: { readonly symmetric?: boolean } = {},
): UniformQuantization {
  checkMatrix(matrix);
  checkWhole('bits', bits, 2, 16);
  const [least, most] = symmetric ? [-(2 ** (bits - 1) - 1), 2 ** (bits - 1) - 1] : [0, 2 ** bits - 1];
  const elements = matrix.flat();
  const low = elements.reduce((smallest, x) => Math.min(smallest, x), 0);
  const high = elements.reduce((largest, x) => Math.max(largest, x), 0);
  const scale = (symmetric ? Math.max(-low, high) / most : (high - low) / most) || 1;
  // `+ 0` turns −0 into 0.
  const zeroPoint = symmetric ? 0 : Math.round(-low / scale) + 0;
  const quantize = (x: number): number =>
    Math.min(most, Math.max(least, Math.round(x / scale) + zeroPoint)) + 0;
  const values = matrix.map((row) => row.map(quantize));
  const dequantized = values.map((row) => row.map((value) => (value - zeroPoint) * scale));
  const errors = dequantized.flat().map((x, index) => Math.abs(x - must(elements[index], 'element')));
  const maxError = errors.reduce((largest, error) => Math.max(largest, error), 0);
  return { values, scale, zeroPoint, dequantized, maxError };
}

/**
 * Magnitude pruning: the matrix with zeros in place of elements whose magnitude is below `threshold`.
 * @throws INPUT_INVALID for a matrix that is none, or a threshold that is negative or no number.
 */
export function pruneByMagnitude(matrix: Matrix, threshold: number): number[][] {
  checkMatrix(matrix);
  if (!(threshold >= 0)) throw invalid('threshold', threshold, 'a number of 0 or more');
  return matrix.map((row) => row.map((x) => (Math.abs(x) >= threshold ? x : 0)));
}

/** `matrix ≈ left · right`, the best there is of this rank in the sum of squares (Eckart and Young 1936). */
export interface TruncatedSvd {
  /** Left singular vectors times their values, `[rows, rank]`. */
  readonly left: number[][];
  /** Right singular vectors, `[rank, columns]`. */
  readonly right: number[][];
  /** All singular values, largest first: those from `rank` on are dropped. */
  readonly singularValues: number[];
}

/**
 * Singular value decomposition of a matrix, cut at a rank.
 * @param rank 1 to the smaller of rows and columns.
 * @throws INPUT_INVALID for a matrix that is none, or another rank.
 */
export function truncatedSvd(matrix: Matrix, rank: number): TruncatedSvd {
  const [rows, columns] = checkMatrix(matrix);
  checkWhole('rank', rank, 1, Math.min(rows, columns));
  const { values, left, right } = must(svd(Float64Array.from(matrix.flat()), rows, columns), 'decomposition');
  const kept = Array.from({ length: rank }, (_, index) => index);
  return {
    left: matrix.map((_, row) =>
      kept.map((index) => (left[index * rows + row] ?? NaN) * (values[index] ?? NaN)),
    ),
    right: kept.map((index) => Array.from(right.subarray(index * columns, (index + 1) * columns))),
    singularValues: Array.from(values),
  };
}

function checkMatrix(matrix: Matrix): readonly [rows: number, columns: number] {
  const columns = matrix[0]?.length ?? 0;
  const whole = columns > 0 && matrix.every((row) => row.length === columns && row.every(Number.isFinite));
  if (!whole) throw invalid('matrix', matrix, 'rows of equal length, at least one, of finite numbers');
  return [matrix.length, columns];
}

function checkWhole(field: string, value: number, least: number, most: number): void {
  if (!Number.isInteger(value) || value < least || value > most)
    throw invalid(field, value, `a whole number from ${least} to ${most}`);
}

function invalid(field: string, value: unknown, allowed: string): WhittleError {
  return new WhittleError('INPUT_INVALID', `${field} must be ${allowed}`, { field, value, allowed });
}

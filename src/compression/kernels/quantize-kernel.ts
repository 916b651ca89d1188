/** Sums of squares over the elements of a matrix. Not finite where the matrix holds NaN or infinity. */
interface SquaredSums {
  /** Of what quantization changed. */
  readonly error: number;
  /** Of the elements themselves. */
  readonly total: number;
}

/** Columns that are written at once where rows become columns: one cache line of bytes. */
const STRIPE = 64;

/** Smallest float32 with full precision; below it a scale would be too coarse a number itself. */
const MIN_SCALE = 2 ** -126;

/** Raises `largest[c]` to the largest magnitude in column `c` of `weight[rows, columns]`. NaN counts for nothing. */
function raiseByColumns(weight: Float32Array, rows: number, columns: number, largest: Float32Array): void {
  for (let r = 0; r < rows; r++) {
    const from = r * columns;
    for (let c = 0; c < columns; c++) {
      const size = Math.abs(weight[from + c] as number);
      if (size > (largest[c] as number)) largest[c] = size;
    }
  }
}

/** Raises `largest[r]` to the largest magnitude in row `r` of `weight[rows, columns]`. NaN counts for nothing. */
function raiseByRows(weight: Float32Array, rows: number, columns: number, largest: Float32Array): void {
  for (let r = 0; r < rows; r++) {
    let most = largest[r] as number;
    for (let at = r * columns; at < (r + 1) * columns; at++) {
      const size = Math.abs(weight[at] as number);
      if (size > most) most = size;
    }
    largest[r] = most;
  }
}

/** Turns the largest magnitudes into scales, in place: `limit` steps reach them. Zeros get the scale 1. */
function magnitudesToScales(largest: Float32Array, limit: number): void {
  for (let i = 0; i < largest.length; i++) {
    const scale = Math.fround((largest[i] as number) / limit);
    largest[i] = scale >= MIN_SCALE ? scale : 1;
  }
}

/**
 * Rounds `weight[rows, columns] / scales[column]` to the nearest whole number. The scales must be those of
 * {@link magnitudesToScales}, so that every number fits. `values[rows, columns]` is the caller's and is overwritten.
 */
function roundByColumns(
  weight: Float32Array,
  rows: number,
  columns: number,
  scales: Float32Array,
  values: Int8Array,
): SquaredSums {
  const inverses = Float64Array.from(scales, (scale) => 1 / scale);
  let error = 0;
  let total = 0;
  for (let r = 0; r < rows; r++) {
    const from = r * columns;
    for (let c = 0; c < columns; c++) {
      const exact = weight[from + c] as number;
      const value = Math.round(exact * (inverses[c] as number));
      values[from + c] = value;
      const difference = value * (scales[c] as number) - exact;
      error += difference * difference;
      total += exact * exact;
    }
  }
  return { error, total };
}

/** As {@link roundByColumns} for `weight[rows, columns]` with scales by row, and `values[columns, rows]`. */
function roundByRowsTransposed(
  weight: Float32Array,
  rows: number,
  columns: number,
  scales: Float32Array,
  values: Int8Array,
): SquaredSums {
  const inverses = Float64Array.from(scales, (scale) => 1 / scale);
  let error = 0;
  let total = 0;
  for (let start = 0; start < rows; start += STRIPE) {
    const end = Math.min(rows, start + STRIPE);
    for (let c = 0; c < columns; c++) {
      for (let r = start; r < end; r++) {
        const exact = weight[r * columns + c] as number;
        const value = Math.round(exact * (inverses[r] as number));
        values[c * rows + r] = value;
        const difference = value * (scales[r] as number) - exact;
        error += difference * difference;
        total += exact * exact;
      }
    }
  }
  return { error, total };
}

/** `count` matrices one after the other: each `[inputs, outputs]`, or `[outputs, inputs]` where transposed. */
export interface MatrixShape {
  readonly count: number;
  readonly inputs: number;
  readonly outputs: number;
  readonly transposed: boolean;
}

/** Matrices in 8 bits: `W[i, inputs, outputs] ≈ values[i, inputs, outputs] · scales`. */
export interface QuantizedMatrix {
  readonly values: Int8Array;
  /** `[outputs]`, or `[1]` where there is one for all. */
  readonly scales: Float32Array;
  /** Root mean square of the error over that of the weights, 0 for zeros; not finite where the weights are not. */
  readonly relativeError: number;
}

/**
 * Symmetric quantization of matrices to whole numbers within ±limit, with one scale for an output of all of them, or
 * one for everything. Each element comes back within half a scale. The weights are read where they lie.
 */
export function quantizeMatrix(
  weight: Float32Array,
  { count, inputs, outputs, transposed }: MatrixShape,
  limit: number,
  perChannel: boolean,
): QuantizedMatrix {
  const size = inputs * outputs;
  const scales = new Float32Array(outputs);
  for (let i = 0; i < count; i++) {
    const part = weight.subarray(i * size, (i + 1) * size);
    if (transposed) raiseByRows(part, outputs, inputs, scales);
    else raiseByColumns(part, inputs, outputs, scales);
  }
  if (!perChannel) scales.fill(scales.reduce((most, value) => Math.max(most, value), 0));
  magnitudesToScales(scales, limit);
  const values = new Int8Array(count * size);
  let error = 0;
  let total = 0;
  for (let i = 0; i < count; i++) {
    const part = weight.subarray(i * size, (i + 1) * size);
    const target = values.subarray(i * size, (i + 1) * size);
    const sums = transposed
      ? roundByRowsTransposed(part, outputs, inputs, scales, target)
      : roundByColumns(part, inputs, outputs, scales, target);
    error += sums.error;
    total += sums.total;
  }
  const relativeError = total === 0 ? 0 : Math.sqrt(error / total);
  return { values, scales: perChannel ? scales : scales.slice(0, 1), relativeError };
}

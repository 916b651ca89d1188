// Rows are walked by index up to a length read once: iterating them takes twice as long.

/** A row's step and first value: `x ≈ code · fit[0] + fit[1]`. The caller owns it; functions here write into it. */
export type RowFit = Float64Array;

/** Shares of the row's range that the search for the best step starts from, and refits from each. */
const STARTS = Float64Array.of(1, 0.9, 0.8, 0.7);
const REFITS = 2;

/**
 * Mean and standard deviation of each column of `table[rows, width]`, into the caller's `means[width]` and
 * `deviations[width]`. Answers the largest absolute value; not finite where the table is not.
 */
export function columnMoments(
  table: Float32Array,
  rows: number,
  width: number,
  means: Float64Array,
  deviations: Float64Array,
): number {
  means.fill(0);
  deviations.fill(0);
  let largest = 0;
  let sum = 0;
  for (let row = 0, at = 0; row < rows; row++)
    for (let column = 0; column < width; column++, at++) {
      const value = table[at] as number;
      means[column] = (means[column] as number) + value;
      deviations[column] = (deviations[column] as number) + value * value;
      sum += value;
      if (value > largest) largest = value;
      else if (-value > largest) largest = -value;
    }
  for (let column = 0; column < width; column++) {
    const mean = (means[column] as number) / rows;
    means[column] = mean;
    const variance = (deviations[column] as number) / rows - mean * mean;
    // What is left of a constant column by rounding is no deviation.
    deviations[column] = variance > 1e-12 * mean * mean ? Math.sqrt(variance) : 0;
  }
  // A NaN is larger than nothing, but it stays in a sum.
  return Number.isFinite(sum) ? largest : NaN;
}

/**
 * One row less the columns' means, in units of their deviations, into the caller's `values[width]`; 0 in a column
 * whose deviation is 0.
 */
export function standardizeRow(
  table: Float32Array,
  at: number,
  means: Float64Array,
  deviations: Float64Array,
  values: Float64Array,
): void {
  for (let column = 0; column < values.length; column++) {
    const deviation = deviations[column] as number;
    const centred = (table[at + column] as number) - (means[column] as number);
    values[column] = deviation === 0 ? 0 : centred / deviation;
  }
}

/** Symmetric: the largest absolute value becomes `limit`; 0 maps to 0. */
export function fitSymmetric(values: Float64Array, limit: number, fit: RowFit): void {
  const { length } = values;
  let largest = 0;
  for (let i = 0; i < length; i++) {
    const size = Math.abs(values[i] as number);
    if (size > largest) largest = size;
  }
  fit[0] = largest / limit;
  fit[1] = 0;
}

/** Asymmetric: the range from the smallest to the largest value becomes 0 to `levels`. */
export function fitRange(values: Float64Array, levels: number, fit: RowFit): void {
  const { length } = values;
  let low = Infinity;
  let high = -Infinity;
  for (let i = 0; i < length; i++) {
    const value = values[i] as number;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  fit[0] = (high - low) / levels;
  fit[1] = low;
}

/**
 * Asymmetric with the least squared error found: from several shares of the range (values beyond are clipped), codes
 * and the line through them are fitted in turns. After the row-wise search of Guan et al., "Post-Training 4-bit
 * Quantization on Embedding Tables" (2019), with least squares in the place of their grid.
 */
export function fitLeastSquares(values: Float64Array, levels: number, fit: RowFit): void {
  fitRange(values, levels, fit);
  const unit = fit[0] as number;
  const low = fit[1] as number;
  const count = values.length;
  const sum = sumOf(values, low, unit, 1);
  const squares = sumOf(values, low, unit, 2);
  let best = Infinity;
  // In units of the range's step, counted from its low end: all sums are of small positive numbers.
  for (let start = 0; start < STARTS.length && unit > 0; start++) {
    let step = STARTS[start] as number;
    let first = ((1 - step) * levels) / 2;
    for (let turn = 0; turn <= REFITS; turn++) {
      addLineSums(values, low + first * unit, 1 / (step * unit), levels);
      const codes = lineSums[0] as number;
      const codeSquares = lineSums[1] as number;
      const products = (lineSums[2] as number) * step + first * codes;
      const error =
        squares -
        2 * (step * products + first * sum) +
        step * step * codeSquares +
        first * (2 * step * codes + first * count);
      if (error < best) {
        best = error;
        fit[0] = step * unit;
        fit[1] = low + first * unit;
      }
      const spread = count * codeSquares - codes * codes;
      if (spread <= 0) break;
      step = (count * products - codes * sum) / spread;
      first = (sum - step * codes) / count;
      if (step <= 0) break;
    }
  }
}

/** Of codes, their squares, and code times position. */
const lineSums = new Float64Array(3);

/** Rounds to the nearest whole number when added to and taken off a number below 2⁵¹. */
const ROUNDER = 1.5 * 2 ** 52;

/** Sums, into {@link lineSums}, over positions `(value − first) · inverse` and their codes within 0 to `levels`. */
function addLineSums(values: Float64Array, first: number, inverse: number, levels: number): void {
  let codes = 0;
  let squares = 0;
  let products = 0;
  const { length } = values;
  for (let i = 0; i < length; i++) {
    const position = ((values[i] as number) - first) * inverse;
    const rounded = position + ROUNDER - ROUNDER;
    const code = rounded < 0 ? 0 : rounded > levels ? levels : rounded;
    codes += code;
    squares += code * code;
    products += code * position;
  }
  lineSums[0] = codes;
  lineSums[1] = squares;
  lineSums[2] = products;
}

/** Sum of the positions `(value − low) / unit`, or of their squares. */
function sumOf(values: Float64Array, low: number, unit: number, power: 1 | 2): number {
  const { length } = values;
  let sum = 0;
  for (let i = 0; i < length; i++) {
    const position = unit === 0 ? 0 : ((values[i] as number) - low) / unit;
    sum += power === 1 ? position : position * position;
  }
  return sum;
}

/** Nearest codes of a row within `low` to `high`, into the caller's `codes`. A step of 0 has the code 0 only. */
export function encodeRow(
  values: Float64Array,
  fit: RowFit,
  low: number,
  high: number,
  codes: Int16Array,
): void {
  const step = fit[0] as number;
  const first = fit[1] as number;
  const inverse = step === 0 ? 0 : 1 / step;
  for (let i = 0; i < values.length; i++) {
    const code = ((values[i] as number) - first) * inverse + ROUNDER - ROUNDER;
    codes[i] = code < low ? low : code > high ? high : code;
  }
}

/**
 * Packs 4-bit codes along the last axis of length `inner`: byte `j` holds element `j` in its low half and element
 * `ceil(inner / 2) + j`, or 0 past the end, in its high half. So both halves unpack side by side.
 */
export function packHalves(codes: Int16Array, inner: number, packed: Uint8Array, at: number): void {
  const half = Math.ceil(inner / 2);
  let to = at;
  for (let start = 0; start < codes.length; start += inner)
    for (let j = 0; j < half; j++, to++) {
      const high = half + j < inner ? (codes[start + half + j] as number) : 0;
      packed[to] = (codes[start + j] as number) | (high << 4);
    }
}

/**
 * Adds each element's squared error to its column's sum in the caller's `errors[width]`, where the row's codes stand
 * for `(code · fit[0] + fit[1]) · deviation + mean`. Answers the row's sum of squares.
 */
export function addRowErrors(
  table: Float32Array,
  at: number,
  codes: Int16Array,
  fit: RowFit,
  means: Float64Array,
  deviations: Float64Array,
  errors: Float64Array,
): number {
  let total = 0;
  for (let column = 0; column < errors.length; column++) {
    const exact = table[at + column] as number;
    const standard = (codes[column] as number) * (fit[0] as number) + (fit[1] as number);
    const error = standard * (deviations[column] as number) + (means[column] as number) - exact;
    errors[column] = (errors[column] as number) + error * error;
    total += exact * exact;
  }
  return total;
}

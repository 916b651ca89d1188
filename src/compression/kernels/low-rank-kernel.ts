/** Numbers of rank and energy. Singular values come largest first; energy is the sum of their squares. */

/** Least rank whose squared singular values hold the share `retainedEnergy` of all. */
export function rankForEnergy(values: Float64Array, retainedEnergy: number): number {
  const total = energyBetween(values, 0, values.length);
  let held = 0;
  for (let rank = 0; rank < values.length; rank++) {
    if (held >= retainedEnergy * total) return Math.max(1, rank);
    held += (values[rank] as number) ** 2;
  }
  return values.length;
}

/** Root mean square of what a cut at `rank` drops, over that of all. */
export function droppedShare(values: Float64Array, rank: number): number {
  const total = energyBetween(values, 0, values.length);
  return total === 0 ? 0 : Math.sqrt(energyBetween(values, rank, values.length) / total);
}

/** Energy of the values from `from` up to `to`. */
export function energyBetween(values: Float64Array, from: number, to: number): number {
  let sum = 0;
  for (let i = from; i < Math.min(to, values.length); i++) sum += (values[i] as number) ** 2;
  return sum;
}

/** Square roots of eigenvalues, in place; below zero they are rounding noise. */
export function singularValues(eigenvalues: Float64Array): Float64Array {
  for (let i = 0; i < eigenvalues.length; i++)
    eigenvalues[i] = Math.sqrt(Math.max(0, eigenvalues[i] as number));
  return eigenvalues;
}

/**
 * Scales each row of `a[rows, width]` to length 1, in place; one shorter than `floor` becomes zero, for its direction is
 * rounding noise.
 */
export function normalizeRows(a: Float64Array, rows: number, width: number, floor: number): void {
  for (let i = 0; i < rows; i++) {
    let square = 0;
    for (let j = i * width; j < (i + 1) * width; j++) square += (a[j] as number) ** 2;
    const factor = square > floor * floor ? 1 / Math.sqrt(square) : 0;
    for (let j = i * width; j < (i + 1) * width; j++) a[j] = (a[j] as number) * factor;
  }
}

/** Float64 copy of the float32 `source`, times `factor`; turned from `[columns, rows]` where `transposed`. */
export function widened(
  source: Float32Array,
  rows: number,
  columns: number,
  factor: number,
  transposed: boolean,
): Float64Array {
  const out = new Float64Array(rows * columns);
  const [rowStep, columnStep] = transposed ? [1, rows] : [columns, 1];
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++)
      out[i * columns + j] = factor * (source[i * rowStep + j * columnStep] as number);
  return out;
}

/**
 * Rows `row`, `row + 1`, … of `table[…, width]`, each times the square root of its weight, columns times their weights;
 * a new array.
 */
export function weightedRows(
  table: Float32Array,
  row: number,
  rowWeights: Float64Array,
  columnWeights: Float64Array,
): Float32Array {
  const width = columnWeights.length;
  const out = new Float32Array(rowWeights.length * width);
  for (let i = 0; i < rowWeights.length; i++) {
    const factor = Math.sqrt(rowWeights[i] as number);
    const from = (row + i) * width;
    for (let j = 0; j < width; j++)
      out[i * width + j] = factor * (table[from + j] as number) * (columnWeights[j] as number);
  }
  return out;
}

/** Row-major `a[rows, width]` with columns multiplied by `factors[width]` to the power 1 or −1; a new array. */
export function scaledColumns(a: Float64Array, factors: Float64Array, power: 1 | -1): Float64Array {
  const width = factors.length;
  const out = new Float64Array(a.length);
  for (let from = 0; from < a.length; from += width)
    for (let j = 0; j < width; j++)
      out[from + j] =
        (a[from + j] as number) * (power === 1 ? (factors[j] as number) : 1 / (factors[j] as number));
  return out;
}

/** Root mean square of each column of `table[rows, width]`; where that is zero, of all of it, or 1. */
export function columnSizes(table: Float32Array, width: number): Float64Array {
  const sizes = new Float64Array(width);
  let total = 0;
  for (let from = 0; from < table.length; from += width)
    for (let j = 0; j < width; j++) sizes[j] = (sizes[j] as number) + (table[from + j] as number) ** 2;
  for (let j = 0; j < width; j++) total += sizes[j] as number;
  const whole = Math.sqrt(total / table.length) || 1;
  for (let j = 0; j < width; j++)
    sizes[j] = Math.sqrt(((sizes[j] as number) * width) / table.length) || whole;
  return sizes;
}

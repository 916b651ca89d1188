/** out[columns[at]] += factor · values[at] for `start` ≤ at < `end`. */
export function addSparse(
  out: Float32Array,
  columns: Int32Array,
  values: Float32Array,
  start: number,
  end: number,
  factor: number,
): void {
  for (let at = start; at < end; at++) {
    const column = columns[at] as number;
    out[column] = (out[column] as number) + factor * (values[at] as number);
  }
}

/**
 * Adds to `counts` how often each value of `values` occurs from `start` to `end`. Values whose count was 0 are written
 * to `found` from `size` on; returns the new size.
 */
export function countInto(
  counts: Int32Array,
  found: Int32Array,
  size: number,
  values: Int32Array,
  start: number,
  end: number,
): number {
  let filled = size;
  for (let at = start; at < end; at++) {
    const value = values[at] as number;
    const count = counts[value] as number;
    if (count === 0) found[filled++] = value;
    counts[value] = count + 1;
  }
  return filled;
}

/** out = matrix · vector for a row-major matrix `[size, size]`. */
export function multiplySquare(
  matrix: Float64Array,
  vector: Float64Array,
  size: number,
  out: Float64Array,
): void {
  for (let row = 0; row < size; row++) {
    let sum = 0;
    for (let column = 0; column < size; column++)
      sum += (matrix[row * size + column] as number) * (vector[column] as number);
    out[row] = sum;
  }
}

/** Sum of matrix[a, b] over all pairs of `members`, for a row-major matrix `[size, size]`. */
export function sumSubmatrix(matrix: Float64Array, members: Int32Array, size: number): number {
  let sum = 0;
  for (const a of members) for (const b of members) sum += matrix[a * size + b] as number;
  return sum;
}

/** Adds 1 to matrix[a, b] for all pairs of `members`, for a row-major matrix `[size, size]`. */
export function countPairs(matrix: Float64Array, members: Int32Array, size: number): void {
  for (const a of members)
    for (const b of members) matrix[a * size + b] = (matrix[a * size + b] as number) + 1;
}

/** weights[i, j] = −inverse[i, j] / inverse[j, j], both row-major `[size, size]`. */
export function scaleColumns(inverse: Float64Array, size: number, weights: Float32Array): void {
  for (let row = 0; row < size; row++)
    for (let column = 0; column < size; column++)
      weights[row * size + column] =
        -(inverse[row * size + column] as number) / (inverse[column * size + column] as number);
}

/** out[j] += matrix[row, j] for a row-major matrix `[size, size]`. */
export function addRow(out: Float32Array, matrix: Float32Array, row: number, size: number): void {
  const offset = row * size;
  for (let column = 0; column < size; column++)
    out[column] = (out[column] as number) + (matrix[offset + column] as number);
}

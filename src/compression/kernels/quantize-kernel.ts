/**
 * Symmetric quantization with one scale a column: `weight[r, c] ≈ values[r, c] · scales[c]`, values within ±limit.
 * `values[rows · columns]` and `scales[columns]` are the caller's and are overwritten. Answers the root mean square of
 * the error over that of the weights, 0 for weights that are all zero.
 */
export function quantizeColumns(
  weight: Float64Array,
  rows: number,
  columns: number,
  limit: number,
  values: Int8Array,
  scales: Float32Array,
): number {
  let error = 0;
  let total = 0;
  for (let c = 0; c < columns; c++) {
    // Rounded to float32 first, so that the values fit the scale that is stored. A column of zeros gets any scale.
    const scale = Math.fround(largestInColumn(weight, rows, columns, c) / limit) || 1;
    scales[c] = scale;
    for (let at = c; at < rows * columns; at += columns) {
      const exact = weight[at] as number;
      const value = Math.max(-limit, Math.min(limit, Math.round(exact / scale)));
      values[at] = value;
      error += (value * scale - exact) ** 2;
      total += exact ** 2;
    }
  }
  return total === 0 ? 0 : Math.sqrt(error / total);
}

function largestInColumn(weight: Float64Array, rows: number, columns: number, column: number): number {
  let largest = 0;
  for (let at = column; at < rows * columns; at += columns)
    largest = Math.max(largest, Math.abs(weight[at] as number));
  return largest;
}

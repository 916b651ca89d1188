/** Smallest float32 with full precision. */
const MIN_SCALE = 2 ** -126;

/**
 * Symmetric quantization of `weight[rows, columns]` with one scale a row, or one for all: into the caller's
 * `values[rows, columns]` within ±limit and `scales[rows]`. A scale is at least `least[row]`. Answers the root mean
 * square of the error over that of the weights; NaN where a weight is not finite, 0 for weights that are all zero.
 */
export function quantizeByRows(
  weight: Float32Array,
  rows: number,
  limit: number,
  perChannel: boolean,
  least: Float64Array,
  values: Int8Array,
  scales: Float32Array,
): number {
  const columns = weight.length / rows;
  for (let r = 0; r < rows; r++)
    scales[r] = Math.max(least[r] as number, largestOf(weight, r * columns, columns) / limit);
  if (!perChannel) scales.fill(scales.reduce((most, scale) => Math.max(most, scale), 0));
  // As float32, so that the values fit the scale that is stored. Zeros get any scale.
  for (let r = 0; r < rows; r++) if (!((scales[r] as number) >= MIN_SCALE)) scales[r] = 1;
  let error = 0;
  let total = 0;
  for (let r = 0; r < rows; r++) {
    const scale = scales[r] as number;
    for (let at = r * columns; at < (r + 1) * columns; at++) {
      const exact = weight[at] as number;
      const value = Math.max(-limit, Math.min(limit, Math.round(exact / scale)));
      values[at] = value;
      error += (value * scale - exact) ** 2;
      total += exact * exact;
    }
  }
  return total === 0 ? 0 : Math.sqrt(error / total);
}

function largestOf(weight: Float32Array, start: number, count: number): number {
  let largest = 0;
  for (let at = start; at < start + count; at++) largest = Math.max(largest, Math.abs(weight[at] as number));
  return largest;
}

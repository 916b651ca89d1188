/**
 * Copies the kept rows of `table[rows, width]` to the front of the caller's `merged[kept + 1, width]` in their order,
 * and puts the mean of all others, weighted by `weights[rows]`, behind them; `map[rows]` gets each row's new place.
 * Weights that are all 0 count as equal.
 */
export function mergeRows(
  table: Float32Array,
  width: number,
  isKept: Uint8Array,
  weights: Float64Array,
  merged: Float32Array,
  map: Int32Array,
): void {
  const mean = new Float64Array(width);
  const total = sumOfMerged(isKept, weights);
  const equal = total === 0;
  let kept = 0;
  let others = 0;
  for (let row = 0; row < isKept.length; row++)
    if (isKept[row] === 1) {
      merged.set(table.subarray(row * width, (row + 1) * width), kept * width);
      map[row] = kept++;
    } else {
      const weight = equal ? 1 : (weights[row] as number);
      for (let column = 0; column < width; column++)
        mean[column] = (mean[column] as number) + weight * (table[row * width + column] as number);
      others++;
    }
  for (let row = 0; row < isKept.length; row++) if (isKept[row] === 0) map[row] = kept;
  for (let column = 0; column < width; column++)
    merged[kept * width + column] = (mean[column] as number) / (equal ? others : total);
}

/**
 * Root mean square of what merging changes over that of the table, each row as often as it was looked up; 0 where none
 * was looked up.
 */
export function mergeError(
  table: Float32Array,
  width: number,
  merged: Float32Array,
  map: Int32Array,
  counts: Float64Array,
): number {
  let changed = 0;
  let total = 0;
  for (let row = 0; row < map.length; row++) {
    const count = counts[row] as number;
    if (count === 0) continue;
    const to = (map[row] as number) * width;
    for (let column = 0; column < width; column++) {
      const exact = table[row * width + column] as number;
      const off = (merged[to + column] as number) - exact;
      changed += count * off * off;
      total += count * exact * exact;
    }
  }
  return total === 0 ? 0 : Math.sqrt(changed / total);
}

function sumOfMerged(isKept: Uint8Array, weights: Float64Array): number {
  let sum = 0;
  for (let row = 0; row < isKept.length; row++) if (isKept[row] === 0) sum += weights[row] as number;
  return sum;
}

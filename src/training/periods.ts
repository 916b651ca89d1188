import { must } from '../core/index.js';

/**
 * Boundaries (unix seconds, ascending) that split the interactions into `count` periods of equal size. The period of a
 * time is the number of boundaries at or before it. Fewer where times repeat.
 */
export function periodBoundaries(timesSeconds: readonly number[], count: number): number[] {
  const sorted = Float64Array.from(timesSeconds).sort();
  const boundaries = new Set<number>();
  for (let period = 1; period < count && sorted.length > 0; period++) {
    boundaries.add(must(sorted[Math.floor((period * sorted.length) / count)], 'time'));
  }
  return [...boundaries];
}

/** The period of a time, 0 to `boundaries.length`. */
export function periodOf(boundaries: readonly number[], timeSeconds: number): number {
  let low = 0;
  let high = boundaries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (must(boundaries[middle], 'boundary') <= timeSeconds) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Periods before a period whose interactions say what was popular then. */
const TREND_PERIODS = 2;

/**
 * How popular each item was shortly before each period: log(1 + interactions in the two periods before it). The period
 * itself stays out, for its interactions are what is to be predicted.
 *
 * @returns float32 `[items + 1, periods]`; row 0 is padding.
 */
export function itemTrends(
  sequences: readonly { readonly items: Int32Array; readonly timesSeconds: ArrayLike<number> }[],
  items: number,
  boundaries: readonly number[],
): Float32Array {
  const periods = boundaries.length + 1;
  const counts = new Float32Array((items + 1) * periods);
  for (const sequence of sequences) {
    sequence.items.forEach((item, place) => {
      const period = periodOf(boundaries, must(sequence.timesSeconds[place], 'time'));
      for (let later = period + 1; later <= Math.min(periods - 1, period + TREND_PERIODS); later++) {
        const at = item * periods + later;
        counts[at] = must(counts[at], 'count') + 1;
      }
    });
  }
  return counts.map((count) => Math.log(1 + count));
}

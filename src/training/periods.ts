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

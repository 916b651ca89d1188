import { clippedDivergence } from '../kernels/calibration-kernel.js';
import type { Histogram, ValueRange } from './ranges.js';

/** How the range that 8 bits cover is chosen from what was observed. */
export type CalibrationMethod = 'min-max' | 'percentile' | 'entropy' | 'mse';

/** Steps of uint8. */
const LEVELS = 256;

/** Limits that the MSE search tries on each side of zero. */
const LIMITS = 64;

/**
 * Cuts off what is rare at both ends: half of what `percentile` (of 100) leaves out below, half above, at most up to
 * zero. Inside a bin the values count as spread evenly.
 */
export function percentileRange(histogram: Histogram, percentile: number): ValueRange {
  const { counts, zeros, low, high } = histogram;
  const total = counts.reduce((sum, count) => sum + count, zeros);
  const cut = (total * (1 - percentile / 100)) / 2;
  const width = (high - low) / counts.length;
  const binsCut = (at: (index: number) => number): number => {
    let left = cut;
    for (let index = 0; index < counts.length; index++) {
      const count = at(index);
      if (count > left) return index + left / count;
      left -= count;
    }
    return counts.length;
  };
  return {
    min: Math.min(0, low + width * binsCut((index) => counts[index] ?? 0)),
    max: Math.max(0, high - width * binsCut((index) => counts[counts.length - 1 - index] ?? 0)),
  };
}

/**
 * The range, symmetric around zero as far as values reach, whose 256 levels keep most of the distribution: least
 * Kullback-Leibler divergence ({@link clippedDivergence}); of equal ones the widest.
 */
export function entropyRange({ counts, low, high }: Histogram, levels = LEVELS): ValueRange {
  const bins = counts.length;
  const width = (high - low) / bins;
  const zero = -low / width;
  const reach = Math.ceil(Math.max(zero, bins - zero));
  let best: ValueRange = { min: low, max: high };
  let least = Infinity;
  for (let distance = reach; distance > 0; distance--) {
    const start = Math.max(0, Math.floor(zero) - distance);
    const end = Math.min(bins, Math.ceil(zero) + distance);
    if (end - start < Math.min(levels, bins)) break;
    const divergence = clippedDivergence(counts, start, end, levels);
    if (divergence >= least) continue;
    least = divergence;
    best = { min: start === 0 ? low : low + width * start, max: end === bins ? high : low + width * end };
  }
  return best;
}

/**
 * The range with the least mean squared error. Rounding inside the range costs step² / 12 a value, as for any uniform
 * quantization; a value outside costs the square of its distance to the range. Each end is tried at 64 places between
 * zero and the furthest value; with `symmetric` both are equally far.
 */
export function mseRange(histogram: Histogram, symmetric: boolean, levels = LEVELS): ValueRange {
  const { low, high, counts } = histogram;
  const filled = counts.reduce((sum, count) => sum + count, 0);
  let best: ValueRange = { min: low, max: high };
  let least = Infinity;
  const consider = (lower: Tail, upper: Tail): void => {
    const step = (upper.limit - lower.limit) / (levels - 1);
    const inside = filled - lower.clipped - upper.clipped;
    const cost = (inside * step * step) / 12 + lower.cost + upper.cost;
    if (cost >= least) return;
    least = cost;
    best = { min: lower.limit, max: upper.limit };
  };
  const mirrored = symmetric && low < 0;
  const furthest = Math.max(-low, high);
  const below = tailCosts(histogram, mirrored ? -furthest : Math.min(0, low));
  const above = tailCosts(histogram, mirrored ? furthest : Math.max(0, high));
  below.forEach((lower, index) => {
    for (const upper of mirrored ? above.slice(index, index + 1) : above) consider(lower, upper);
  });
  return best;
}

interface Tail {
  readonly limit: number;
  /** Values beyond the limit, and the sum of their squared distances to it. */
  readonly clipped: number;
  readonly cost: number;
}

/** What clipping at 64 limits from `furthest` inwards costs; one limit, zero, where nothing lies on that side. */
function tailCosts({ counts, low, high }: Histogram, furthest: number): Tail[] {
  if (furthest === 0) return [{ limit: 0, clipped: 0, cost: 0 }];
  const width = (high - low) / counts.length;
  const sign = Math.sign(furthest);
  return Array.from({ length: LIMITS }, (_, index) => {
    const limit = (furthest * (LIMITS - index)) / LIMITS;
    let clipped = 0;
    let cost = 0;
    counts.forEach((count, bin) => {
      const beyond = sign * (low + width * (bin + 0.5) - limit);
      if (beyond <= 0) return;
      clipped += count;
      cost += count * beyond * beyond;
    });
    return { limit, clipped, cost };
  });
}

/** Scale and zero point of a value in uint8: `real ≈ (stored − zeroPoint) · scale`. */
export interface ActivationScale {
  readonly scale: number;
  readonly zeroPoint: number;
}

/**
 * Scale and zero point that cover a range and zero, which is kept exactly. With `symmetric` the zero point is 128, the
 * same as int8 around 0; for values that are never negative it is 0.
 */
export function activationScale({ min, max }: ValueRange, symmetric: boolean): ActivationScale {
  const low = Math.min(0, min);
  const high = Math.max(0, max);
  if (symmetric && low < 0) return { scale: positive(Math.max(-low, high) / 127), zeroPoint: 128 };
  const scale = positive((high - low) / 255);
  return { scale, zeroPoint: Math.round((0 - low) / scale) };
}

/** Rounded to float32, as it is stored. A value that is always zero gets any scale. */
function positive(scale: number): number {
  return Math.max(Math.fround(scale), 2 ** -126);
}

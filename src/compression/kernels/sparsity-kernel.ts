/**
 * Choosing which weights become zero. A weight's score is its magnitude times the size of the input it meets, rounded
 * to float32. The bits of a float32 that is not negative order as the number does, so that scores are counted and
 * compared as integers. Of equal scores the one that stands first in memory is the smaller.
 */

/** Where a weight tensor has its input axis: `[any, length, stride]`. */
export interface InputAxis {
  readonly length: number;
  readonly stride: number;
}

/** A share of some scores: all below `bits`, and the first `ties` of those equal to it. */
export interface Threshold {
  readonly bits: number;
  readonly ties: number;
}

const HALF = 2 ** 16;

const score = new Float32Array(1);
const scoreBits = new Uint32Array(score.buffer);

function bitsOf(weight: number, size: number): number {
  score[0] = Math.abs(weight) * size;
  return scoreBits[0] as number;
}

/**
 * Adds the scores of `weight` to `histogram[65536]` by their upper 16 bits, or, of those whose upper bits are `upper`,
 * by their lower 16 bits. `inputSizes[axis.length]`.
 */
export function countScores(
  weight: Float32Array,
  axis: InputAxis,
  inputSizes: Float64Array,
  histogram: Float64Array,
  upper?: number,
): void {
  for (let at = 0; at < weight.length;) {
    const size = inputSizes[Math.floor(at / axis.stride) % axis.length] as number;
    for (const end = at + axis.stride; at < end; at++) {
      const bits = bitsOf(weight[at] as number, size);
      if (upper === undefined) addOne(histogram, bits >>> 16);
      else if (bits >>> 16 === upper) addOne(histogram, bits & (HALF - 1));
    }
  }
}

function addOne(histogram: Float64Array, bin: number): void {
  histogram[bin] = (histogram[bin] as number) + 1;
}

/** A histogram for {@link countScores}. */
export function scoreHistogram(): Float64Array {
  return new Float64Array(HALF);
}

/** The bin with the `count`-th smallest entry, and how many of the `count` lie in it. `count` is at least 1. */
export function binOf(
  histogram: Float64Array,
  count: number,
): { readonly bin: number; readonly left: number } {
  let left = count;
  let bin = 0;
  while (left > (histogram[bin] as number)) left -= histogram[bin++] as number;
  return { bin, left };
}

/** What two rounds of {@link countScores} found. */
export function thresholdOf(
  upper: number,
  lower: { readonly bin: number; readonly left: number },
): Threshold {
  return { bits: upper * HALF + lower.bin, ties: lower.left };
}

/** Zeroes the weights under the threshold, in place. Answers the threshold with the ties that remain. */
export function zeroBelow(
  weight: Float32Array,
  axis: InputAxis,
  inputSizes: Float64Array,
  { bits, ties }: Threshold,
): Threshold {
  let left = ties;
  for (let at = 0; at < weight.length;) {
    const size = inputSizes[Math.floor(at / axis.stride) % axis.length] as number;
    for (const end = at + axis.stride; at < end; at++) {
      const own = bitsOf(weight[at] as number, size);
      if (own > bits || (own === bits && left === 0)) continue;
      if (own === bits) left--;
      weight[at] = 0;
    }
  }
  return { bits, ties: left };
}

/** Zeroes the `count` smallest weights of each output, in place. */
export function zeroPerOutput(
  weight: Float32Array,
  axis: InputAxis,
  inputSizes: Float64Array,
  count: number,
): void {
  const { length, stride } = axis;
  const sorted = new Uint32Array(length);
  for (let lane = 0; lane < weight.length / length; lane++) {
    const from = laneStart(lane, axis);
    for (let i = 0; i < length; i++)
      sorted[i] = bitsOf(weight[from + i * stride] as number, inputSizes[i] as number);
    sorted.sort();
    zeroLane(weight, from, axis, inputSizes, sorted, count);
  }
}

/** First element of the `lane`-th output's weights, which follow each other at the stride. */
function laneStart(lane: number, { length, stride }: InputAxis): number {
  return Math.floor(lane / stride) * length * stride + (lane % stride);
}

function zeroLane(
  weight: Float32Array,
  from: number,
  { length, stride }: InputAxis,
  inputSizes: Float64Array,
  sorted: Uint32Array,
  count: number,
): void {
  if (count === 0) return;
  const bits = sorted[count - 1] as number;
  let ties = 0;
  for (let i = count - 1; i >= 0 && sorted[i] === bits; i--) ties++;
  for (let i = 0; i < length; i++) {
    const at = from + i * stride;
    const own = bitsOf(weight[at] as number, inputSizes[i] as number);
    if (own > bits || (own === bits && ties === 0)) continue;
    if (own === bits) ties--;
    weight[at] = 0;
  }
}

/**
 * Keeps the `kept` largest of each `group` weights that follow each other on the input axis, in place; of a shorter last
 * group at most as many.
 */
export function zeroGroups(
  weight: Float32Array,
  axis: InputAxis,
  inputSizes: Float64Array,
  kept: number,
  group: number,
): void {
  const { length, stride } = axis;
  const scores = new Float64Array(group);
  for (let lane = 0; lane < weight.length / length; lane++)
    for (let first = 0; first < length; first += group) {
      const members = Math.min(group, length - first);
      const from = laneStart(lane, axis) + first * stride;
      for (let i = 0; i < members; i++)
        scores[i] = bitsOf(weight[from + i * stride] as number, inputSizes[first + i] as number);
      for (let gone = kept; gone < members; gone++) {
        const smallest = smallestOf(scores, members);
        scores[smallest] = Infinity;
        weight[from + smallest * stride] = 0;
      }
    }
}

function smallestOf(scores: Float64Array, members: number): number {
  let smallest = 0;
  for (let i = 1; i < members; i++) if ((scores[i] as number) < (scores[smallest] as number)) smallest = i;
  return smallest;
}

/**
 * Root mean square of `after − before` over that of `before`, each weight times the size of its input; 0 where all are
 * zero, NaN where a weight is not finite.
 */
export function weightedChange(
  before: Float32Array,
  after: Float32Array,
  axis: InputAxis,
  inputSizes: Float64Array,
): number {
  let change = 0;
  let total = 0;
  for (let at = 0; at < before.length;) {
    const square = (inputSizes[Math.floor(at / axis.stride) % axis.length] as number) ** 2;
    for (const end = at + axis.stride; at < end; at++) {
      const value = before[at] as number;
      change += square * ((after[at] as number) - value) ** 2;
      total += square * value ** 2;
    }
  }
  return total === 0 ? 0 : Math.sqrt(change / total);
}

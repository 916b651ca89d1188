/**
 * Widens `range` = [least, greatest], which is the caller's, to hold `values`. Answers false where one of them is NaN or
 * infinite; the range means nothing then.
 */
export function widenRange(values: Float32Array, range: Float64Array): boolean {
  let least = range[0] as number;
  let greatest = range[1] as number;
  // NaN loses every comparison, but makes a sum of differences NaN, as infinities do.
  let check = 0;
  for (const value of values) {
    if (value < least) least = value;
    if (value > greatest) greatest = value;
    check += value - value;
  }
  range[0] = least;
  range[1] = greatest;
  return check === 0;
}

/**
 * Counts `values` into the bins of equal width between `low` and `high`; what lies outside goes to the outermost bins.
 * `counts[bins]` is the caller's and is added to. Answers how many values were exactly zero: those are in no bin.
 */
export function countIntoBins(values: Float32Array, low: number, high: number, counts: Float64Array): number {
  const last = counts.length - 1;
  const perUnit = counts.length / (high - low);
  let zeros = 0;
  for (const value of values) {
    if (value === 0) {
      zeros++;
      continue;
    }
    const bin = Math.max(0, Math.min(last, Math.floor((value - low) * perUnit)));
    counts[bin] = (counts[bin] as number) + 1;
  }
  return zeros;
}

/**
 * Kullback-Leibler divergence of a distribution from what is left of it when the bins outside [start, end) are clipped
 * and those inside are merged into `levels` levels. As in TensorRT's calibration (Migacz, 8-bit inference with TensorRT,
 * GTC 2017): the clipped counts go to the outermost bins of the reference alone, and a level's count is spread evenly
 * over those of its bins that are not empty. Empty bins are smoothed as in onnxruntime.quantization: each gets 0.0001
 * counts, which the others give.
 */
export function clippedDivergence(counts: Float64Array, start: number, end: number, levels: number): number {
  const size = end - start;
  const reference = referenceBuffer(size);
  const coarse = coarseBuffer(size);
  reference.set(counts.subarray(start, end));
  coarse.fill(0);
  for (let level = 0; level < levels; level++) {
    const from = Math.ceil((level * size) / levels);
    const to = Math.ceil(((level + 1) * size) / levels);
    spreadLevel(counts, start, from, to, coarse);
  }
  for (let i = 0; i < start; i++) reference[0] = (reference[0] as number) + (counts[i] as number);
  for (let i = end; i < counts.length; i++)
    reference[size - 1] = (reference[size - 1] as number) + (counts[i] as number);
  return smooth(reference) && smooth(coarse) ? divergence(reference, coarse) : Infinity;
}

/** A buffer that is used again by the next call: thousands of ranges are tried for each value. */
function reusedBuffer(): (size: number) => Float64Array {
  let buffer = new Float64Array(0);
  return (size) => {
    if (buffer.length < size) buffer = new Float64Array(size);
    return buffer.subarray(0, size);
  };
}

const referenceBuffer = reusedBuffer();
const coarseBuffer = reusedBuffer();

/** The level's count spread over its bins; which are empty the clipped distribution says. */
function spreadLevel(
  counts: Float64Array,
  start: number,
  from: number,
  to: number,
  coarse: Float64Array,
): void {
  let sum = 0;
  let filled = 0;
  for (let i = from; i < to; i++) {
    const count = counts[start + i] as number;
    sum += count;
    if (count > 0) filled++;
  }
  for (let i = from; i < to; i++) if ((counts[start + i] as number) > 0) coarse[i] = sum / filled;
}

const SMOOTHING = 1e-4;

/** False where nothing is left to take from. */
function smooth(counts: Float64Array): boolean {
  let empty = 0;
  for (const count of counts) if (count === 0) empty++;
  const given = (SMOOTHING * empty) / (counts.length - empty);
  if (!(given < 1)) return false;
  for (let i = 0; i < counts.length; i++)
    counts[i] = counts[i] === 0 ? SMOOTHING : (counts[i] as number) - given;
  return true;
}

function divergence(reference: Float64Array, other: Float64Array): number {
  let referenceSum = 0;
  let otherSum = 0;
  for (let i = 0; i < reference.length; i++) {
    referenceSum += reference[i] as number;
    otherSum += other[i] as number;
  }
  let sum = 0;
  for (let i = 0; i < reference.length; i++) {
    const p = (reference[i] as number) / referenceSum;
    sum += p * Math.log((p * otherSum) / (other[i] as number));
  }
  return sum;
}

import type { Random } from '../core/index.js';

/** Draws an index at random. */
export type Sampler = (random: Random) => number;

/** Draws 0 … weights.length − 1 with probability proportional to the weight, by bisection. */
export function weightedSampler(weights: ArrayLike<number>): Sampler {
  const sums = new Float64Array(weights.length);
  let total = 0;
  for (let index = 0; index < weights.length; index++) sums[index] = total += weights[index] ?? 0;
  return (random) => {
    const wanted = random.uniform() * total;
    let [low, high] = [0, weights.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((sums[middle] ?? 0) > wanted) high = middle;
      else low = middle + 1;
    }
    return low;
  };
}

/** Draws a rank, 0 the most often: weight (rank + 1)^−exponent. */
export function zipfSampler(count: number, exponent: number): Sampler {
  return weightedSampler(Float64Array.from({ length: count }, (_, rank) => (rank + 1) ** -exponent));
}

import { assert, must, type Random } from '../../src/core/index.js';

/** Answers places of `weights`, each as often as its weight is of the sum; independent draws. */
export function weightedDraw(weights: readonly number[], random: Random): () => number {
  const cumulative = new Float64Array(weights.length);
  let total = 0;
  for (const [place, weight] of weights.entries()) {
    assert(weight >= 0 && Number.isFinite(weight), `weight ${weight} is not a number of at least 0`);
    total += weight;
    cumulative[place] = total;
  }
  assert(total > 0, 'every weight is 0');
  return () => firstAbove(cumulative, random.uniform() * total);
}

/** Place of the first value above `target`, by bisection; the last value is. */
function firstAbove(ascending: Float64Array, target: number): number {
  let low = 0;
  let high = ascending.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (must(ascending[middle], 'weight') > target) high = middle;
    else low = middle + 1;
  }
  return low;
}

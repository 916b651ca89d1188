import { must } from '../core/index.js';

/** Positions of the `k` largest scores, best first; ties: the earlier position first. */
export function topK(scores: Float32Array, k: number): number[] {
  const order = Array.from(scores.keys());
  order.sort((a, b) => must(scores[b], 'score') - must(scores[a], 'score') || a - b);
  return order.slice(0, k);
}

/** (1 − weight) × standardised `base` + weight × standardised `other`, elementwise. */
export function blend(base: Float32Array, other: Float32Array, weight: number): Float32Array {
  const [a, b] = [standardise(base), standardise(other)];
  return a.map((value, index) => (1 - weight) * value + weight * must(b[index], 'score'));
}

/** Zero mean and unit variance; all zero where the scores are all equal. */
function standardise(scores: Float32Array): Float32Array {
  const mean = scores.reduce((sum, score) => sum + score, 0) / scores.length;
  const deviation = standardDeviation(scores);
  return scores.map((score) => (deviation === 0 ? 0 : (score - mean) / deviation));
}

/** Population standard deviation. */
export function standardDeviation(scores: Float32Array): number {
  const mean = scores.reduce((sum, score) => sum + score, 0) / scores.length;
  return Math.sqrt(scores.reduce((sum, score) => sum + (score - mean) ** 2, 0) / scores.length);
}

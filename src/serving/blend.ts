import { must } from '../core/index.js';

/** (1 − weight) × standardised `base` + weight × standardised `other`, elementwise. */
export function blend(base: Float32Array, other: Float32Array, weight: number): Float32Array {
  const [a, b] = [standardise(base), standardise(other)];
  return a.map((value, index) => (1 - weight) * value + weight * must(b[index], 'score'));
}

/** Zero mean and unit variance; all zero where the scores are all equal. */
function standardise(scores: Float32Array): Float32Array {
  const mean = scores.reduce((sum, score) => sum + score, 0) / scores.length;
  const deviation = Math.sqrt(scores.reduce((sum, score) => sum + (score - mean) ** 2, 0) / scores.length);
  return scores.map((score) => (deviation === 0 ? 0 : (score - mean) / deviation));
}

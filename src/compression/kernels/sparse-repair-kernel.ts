import { addRidge, dot, multiply } from './linear-algebra-kernel.js';

/** Rows that are worked on together, so that the others are read once for all of them. */
const BLOCK = 64;
const MAX_SWEEPS = 10;
/** A sweep that gains less than this share of all gains so far is the last. */
const LEAST_GAIN = 0.01;

/**
 * Lets the weights that stay make up for those that are zero: `weight[inputs, outputs]` (what it was before) is
 * overwritten with zeros where `zero[inputs, outputs]` is 1, and elsewhere with the least-squares fit
 * `argmin tr(Dᵀ (G + λ I) D)`, `D = after − before`, with `λ = ridge · mean diagonal of G`. It is found input after input,
 * each weight by its own best value given all others (block coordinate descent), in a few sweeps, each of which lessens
 * the error. One sweep fits already better than SparseGPT (Frantar and Alistarh 2023), which never goes back to an input.
 * `gram[inputs, inputs] = Xᵀ X` is overwritten.
 *
 * Answers `sqrt(tr(Dᵀ G D) / tr(Wᵀ G W))`, the change of the outputs on the rows behind `gram` over the outputs; undefined
 * where a number is not finite, and then nothing is written.
 */
export function repairZeros(
  gram: Float64Array,
  weight: Float64Array,
  zero: Uint8Array,
  inputs: number,
  outputs: number,
  ridge: number,
): number | undefined {
  const total = energy(gram, weight, inputs, outputs);
  if (!Number.isFinite(total)) return undefined;
  const mean = gram[0] as number;
  addRidge(gram, inputs, ridge);
  const added = (gram[0] as number) - mean;
  const difference = weight.map((value, at) => (zero[at] === 1 ? -value : 0));
  let gained = 0;
  for (let sweep = 0; sweep < MAX_SWEEPS; sweep++) {
    const gain = sweepOnce(gram, difference, zero, inputs, outputs);
    gained += gain;
    if (gain <= LEAST_GAIN * gained) break;
  }
  for (let at = 0; at < weight.length; at++)
    weight[at] = zero[at] === 1 ? 0 : (weight[at] as number) + (difference[at] as number);
  const change =
    energy(gram, difference, inputs, outputs) - added * dot(difference, 0, difference, 0, difference.length);
  return total === 0 ? 0 : Math.sqrt(Math.max(0, change) / total);
}

/** `tr(Wᵀ G W)`. */
function energy(gram: Float64Array, weight: Float64Array, inputs: number, outputs: number): number {
  const product = new Float64Array(inputs * outputs);
  multiply(gram, weight, product, inputs, inputs, outputs);
  return dot(weight, 0, product, 0, product.length);
}

/** Gives every weight that stays its best value; answers by how much `tr(Dᵀ G D)` became less. */
function sweepOnce(
  gram: Float64Array,
  difference: Float64Array,
  zero: Uint8Array,
  inputs: number,
  outputs: number,
): number {
  const slopes = new Float64Array(Math.min(BLOCK, inputs) * outputs);
  const steps = new Float64Array(outputs);
  let gain = 0;
  for (let start = 0; start < inputs; start += BLOCK) {
    const end = Math.min(inputs, start + BLOCK);
    const rows = gram.subarray(start * inputs, end * inputs);
    multiply(rows, difference, slopes.subarray(0, (end - start) * outputs), end - start, inputs, outputs);
    for (let i = start; i < end; i++) {
      const pivot = gram[i * inputs + i] as number;
      for (let j = 0; j < outputs; j++) {
        const step = zero[i * outputs + j] === 1 ? 0 : -(slopes[(i - start) * outputs + j] as number) / pivot;
        steps[j] = step;
        difference[i * outputs + j] = (difference[i * outputs + j] as number) + step;
      }
      gain += pivot * dot(steps, 0, steps, 0, outputs);
      for (let l = i + 1; l < end; l++)
        addScaled(steps, gram[l * inputs + i] as number, slopes, (l - start) * outputs);
    }
  }
  return gain;
}

/** `target[to …] += factor · source`. */
function addScaled(source: Float64Array, factor: number, target: Float64Array, to: number): void {
  for (let j = 0; j < source.length; j++)
    target[to + j] = (target[to + j] as number) + factor * (source[j] as number);
}

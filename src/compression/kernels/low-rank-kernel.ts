import { choleskyInPlace, multiply, multiplyTransposed } from './linear-algebra-kernel.js';
import type { Svd } from './svd-kernel.js';
import { svd } from './svd-kernel.js';

/** `W[inputs, outputs] ≈ first[inputs, rank] · second[rank, outputs]`. */
export interface Factors {
  readonly first: Float32Array;
  readonly second: Float32Array;
}

/**
 * Singular value decomposition of `Lᵀ W`, where `L Lᵀ = gram` is the second moment of the layer's inputs: its values are
 * the sizes of the outputs' principal parts, so that cutting the last ones costs least on these inputs. Overwrites
 * `gram[inputs, inputs]`; undefined where `gram` is not positive definite or holds NaN.
 */
export function whitenedSvd(
  weight: Float64Array,
  gram: Float64Array,
  inputs: number,
  outputs: number,
): Svd | undefined {
  if (!choleskyInPlace(gram, inputs)) return undefined;
  const whitened = new Float64Array(inputs * outputs);
  multiplyTransposed(gram, weight, whitened, inputs, inputs, outputs);
  return svd(whitened, inputs, outputs);
}

/**
 * The best factors of a rank: `second = Vᵀ` cut to `rank` rows, `first = W V`. This is `L⁻ᵀ U S Vᵀ` without the solve.
 */
export function factorsOf(
  weight: Float64Array,
  { right }: Svd,
  rank: number,
  inputs: number,
  outputs: number,
): Factors {
  const basis = right.subarray(0, rank * outputs);
  const turned = new Float64Array(outputs * rank);
  for (let i = 0; i < rank; i++)
    for (let j = 0; j < outputs; j++) turned[j * rank + i] = basis[i * outputs + j] as number;
  const first = new Float64Array(inputs * rank);
  multiply(weight, turned, first, inputs, outputs, rank);
  return { first: Float32Array.from(first), second: Float32Array.from(basis) };
}

/** Least rank whose squared singular values hold the share `retainedEnergy` of all. */
export function rankForEnergy(values: Float64Array, retainedEnergy: number): number {
  let total = 0;
  for (const value of values) total += value ** 2;
  let held = 0;
  for (let rank = 0; rank < values.length; rank++) {
    if (held >= retainedEnergy * total) return Math.max(1, rank);
    held += (values[rank] as number) ** 2;
  }
  return values.length;
}

/** Root mean square of what a cut at `rank` drops, over that of all. */
export function droppedShare(values: Float64Array, rank: number): number {
  let total = 0;
  let dropped = 0;
  values.forEach((value, index) => {
    total += value ** 2;
    if (index >= rank) dropped += value ** 2;
  });
  return total === 0 ? 0 : Math.sqrt(dropped / total);
}

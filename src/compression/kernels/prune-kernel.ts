import { addRidge, dot, invertPositiveDefinite, multiply } from './linear-algebra-kernel.js';

/** Rows `[start, end)` of a weight matrix. */
export interface RowRange {
  readonly start: number;
  readonly end: number;
}

/** What is left of `W[inputs, outputs]` when some of its inputs are no longer there. */
export interface Repair {
  /** 1 for each input that is gone. */
  readonly removed: Uint8Array;
  /** `[inputs, outputs]`; rows of removed inputs are zero. */
  readonly weight: Float64Array;
  /** Root mean square of the outputs' change over that of the outputs, on the rows behind `gram`. */
  readonly relativeError: number;
}

/**
 * Removes `count` inputs among `candidates` one by one, each time the one whose loss costs least after all other
 * inputs' weights have been refitted: input `j` costs `|w_j|² / [G⁻¹]_jj`, and its part is taken over by
 * `W ← W − G⁻¹_·j w_j / [G⁻¹]_jj` (Optimal Brain Surgeon, Hassibi and Stork 1993, for rows in place of single weights).
 * The result is the least-squares fit `argmin |X W' − X W|² + λ |W' − W|²` with `λ = ridge · mean diagonal of G`.
 * `gram[inputs, inputs] = Xᵀ X` is only read. Undefined where it is not finite.
 */
export function removeInputs(
  gram: Float64Array,
  original: Float64Array,
  inputs: number,
  outputs: number,
  candidates: RowRange,
  count: number,
  ridge: number,
): Repair | undefined {
  const damped = gram.slice();
  addRidge(damped, inputs, ridge);
  const inverse = invertPositiveDefinite(damped, inputs);
  if (inverse === undefined) return undefined;
  const weight = original.slice();
  const removed = new Uint8Array(inputs);
  for (let step = 0; step < count; step++) {
    const cheapest = cheapestRow(inverse, weight, removed, inputs, outputs, candidates);
    removed[cheapest] = 1;
    takeOver(inverse, weight, cheapest, inputs, outputs);
  }
  return { removed, weight, relativeError: outputChange(gram, original, weight, inputs, outputs) };
}

function cheapestRow(
  inverse: Float64Array,
  weight: Float64Array,
  removed: Uint8Array,
  inputs: number,
  outputs: number,
  candidates: RowRange,
): number {
  let cheapest = -1;
  let least = Infinity;
  for (let j = candidates.start; j < candidates.end; j++) {
    if (removed[j] === 1) continue;
    const square = dot(weight, j * outputs, weight, j * outputs, outputs);
    const cost = square / (inverse[j * inputs + j] as number);
    if (cheapest === -1 || cost < least) {
      cheapest = j;
      least = cost;
    }
  }
  return cheapest;
}

/** Refits all other rows for the loss of row `gone`, and takes it out of the inverse. */
function takeOver(
  inverse: Float64Array,
  weight: Float64Array,
  gone: number,
  inputs: number,
  outputs: number,
): void {
  const pivot = inverse[gone * inputs + gone] as number;
  for (let j = 0; j < inputs; j++) {
    const factor = (inverse[j * inputs + gone] as number) / pivot;
    if (j === gone || factor === 0) continue;
    for (let c = 0; c < outputs; c++)
      weight[j * outputs + c] =
        (weight[j * outputs + c] as number) - factor * (weight[gone * outputs + c] as number);
    for (let c = 0; c < inputs; c++)
      inverse[j * inputs + c] =
        (inverse[j * inputs + c] as number) - factor * (inverse[gone * inputs + c] as number);
    // Exactly zero, so that rounding cannot bring the row back.
    inverse[j * inputs + gone] = 0;
  }
  weight.fill(0, gone * outputs, (gone + 1) * outputs);
  inverse.fill(0, gone * inputs, (gone + 1) * inputs);
}

/** `sqrt(tr(Dᵀ G D) / tr(Wᵀ G W))` with `D = after − before`. */
function outputChange(
  gram: Float64Array,
  before: Float64Array,
  after: Float64Array,
  inputs: number,
  outputs: number,
): number {
  const difference = after.map((value, at) => value - (before[at] as number));
  const total = energy(gram, before, inputs, outputs);
  return total === 0 ? 0 : Math.sqrt(Math.max(0, energy(gram, difference, inputs, outputs)) / total);
}

function energy(gram: Float64Array, weight: Float64Array, inputs: number, outputs: number): number {
  const product = new Float64Array(inputs * outputs);
  multiply(gram, weight, product, inputs, inputs, outputs);
  return dot(weight, 0, product, 0, inputs * outputs);
}

/**
 * The `count` rows among `candidates` with the smallest `incoming[row − start] · |weight row|`: 1 for each. Ties go to
 * the earlier row. `incoming` holds the norms of what feeds each candidate.
 */
export function smallestRows(
  weight: Float64Array,
  outputs: number,
  incoming: Float64Array,
  candidates: RowRange,
  count: number,
): Uint8Array {
  const sizes = Array.from({ length: candidates.end - candidates.start }, (_, index) => {
    const at = (candidates.start + index) * outputs;
    return (incoming[index] as number) * Math.sqrt(dot(weight, at, weight, at, outputs));
  });
  const order = sizes.map((_, index) => index).sort((a, b) => (sizes[a] as number) - (sizes[b] as number));
  const removed = new Uint8Array(weight.length / outputs);
  for (const index of order.slice(0, count)) removed[candidates.start + index] = 1;
  return removed;
}

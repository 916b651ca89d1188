import { describe, expect, it } from 'vitest';
import { createRandom, must } from '../../../src/core/index.js';
import {
  addRidge,
  choleskyInPlace,
  multiplyTransposed,
  solveLower,
  solveLowerTransposed,
} from '../../../src/compression/kernels/linear-algebra-kernel.js';
import { removeInputs, smallestRows } from '../../../src/compression/kernels/prune-kernel.js';

const INPUTS = 9;
const OUTPUTS = 3;
const RIDGE = 1e-3;

function problem(seed: number): { gram: Float64Array; weight: Float64Array } {
  const random = createRandom(seed);
  const rows = 40;
  const x = Float64Array.from({ length: rows * INPUTS }, () => random.normal());
  // Correlated inputs, so that others can take over.
  for (let r = 0; r < rows; r++) x[r * INPUTS + 4] = (x[r * INPUTS] ?? 0) + 0.3 * (x[r * INPUTS + 4] ?? 0);
  const gram = new Float64Array(INPUTS * INPUTS);
  multiplyTransposed(x, x, gram, rows, INPUTS, INPUTS);
  return { gram, weight: Float64Array.from({ length: INPUTS * OUTPUTS }, () => random.normal()) };
}

/** The fit by its definition: `(G_SS + λ I)⁻¹ (G_S· W + λ W_S)` for the kept set S. */
function directFit(gram: Float64Array, weight: Float64Array, kept: readonly number[]): Float64Array {
  const damped = gram.slice();
  addRidge(damped, INPUTS, RIDGE);
  const n = kept.length;
  const inner = Float64Array.from({ length: n * n }, (_, at) => {
    const [i, j] = [kept[Math.floor(at / n)] ?? 0, kept[at % n] ?? 0];
    return damped[i * INPUTS + j] ?? NaN;
  });
  const right = new Float64Array(n * OUTPUTS);
  kept.forEach((i, at) => {
    for (let c = 0; c < OUTPUTS; c++)
      for (let p = 0; p < INPUTS; p++)
        right[at * OUTPUTS + c] =
          (right[at * OUTPUTS + c] ?? 0) + (damped[i * INPUTS + p] ?? 0) * (weight[p * OUTPUTS + c] ?? 0);
  });
  expect(choleskyInPlace(inner, n)).toBe(true);
  solveLower(inner, right, n, OUTPUTS);
  solveLowerTransposed(inner, right, n, OUTPUTS);
  return right;
}

function keptOf(removed: Uint8Array): number[] {
  return Array.from(removed.keys()).filter((i) => removed[i] === 0);
}

/** `|X W' − X W|² + λ |W' − W|²` of the best fit on `kept`. */
function costOf(gram: Float64Array, weight: Float64Array, kept: readonly number[]): number {
  const damped = gram.slice();
  addRidge(damped, INPUTS, RIDGE);
  const fit = directFit(gram, weight, kept);
  const difference = weight.map((value) => -value);
  kept.forEach((row, at) => {
    for (let c = 0; c < OUTPUTS; c++)
      difference[row * OUTPUTS + c] = (difference[row * OUTPUTS + c] ?? 0) + (fit[at * OUTPUTS + c] ?? 0);
  });
  let cost = 0;
  for (let i = 0; i < INPUTS; i++)
    for (let j = 0; j < INPUTS; j++)
      for (let c = 0; c < OUTPUTS; c++)
        cost +=
          (difference[i * OUTPUTS + c] ?? 0) *
          (damped[i * INPUTS + j] ?? 0) *
          (difference[j * OUTPUTS + c] ?? 0);
  return cost;
}

describe('removeInputs', () => {
  it.each([1, 2, 3, 4, 5])('leaves the least-squares fit on the inputs that stay (seed %i)', (seed) => {
    const { gram, weight } = problem(seed);
    const repair = must(
      removeInputs(gram, weight, INPUTS, OUTPUTS, { start: 0, end: INPUTS }, 4, RIDGE),
      'repair',
    );
    const kept = keptOf(repair.removed);
    expect(kept).toHaveLength(5);
    const fit = directFit(gram, weight, kept);
    kept.forEach((row, at) => {
      for (let c = 0; c < OUTPUTS; c++)
        expect(repair.weight[row * OUTPUTS + c]).toBeCloseTo(fit[at * OUTPUTS + c] ?? NaN, 9);
    });
    for (let row = 0; row < INPUTS; row++)
      if (repair.removed[row] === 1)
        expect([...repair.weight.subarray(row * OUTPUTS, (row + 1) * OUTPUTS)]).toEqual([0, 0, 0]);
  });

  it.each([1, 2, 3, 4, 5])('removes the input whose loss costs least after the refit (seed %i)', (seed) => {
    const { gram, weight } = problem(seed);
    const { removed } = must(
      removeInputs(gram, weight, INPUTS, OUTPUTS, { start: 0, end: INPUTS }, 1, RIDGE),
      'repair',
    );
    const all = Array.from({ length: INPUTS }, (_, i) => i);
    const costs = all.map((gone) =>
      costOf(
        gram,
        weight,
        all.filter((i) => i !== gone),
      ),
    );
    expect(removed[costs.indexOf(Math.min(...costs))]).toBe(1);
  });

  it('only removes candidates and reads its arguments only', () => {
    const { gram, weight } = problem(7);
    const copies = [gram.slice(), weight.slice()];
    const repair = must(
      removeInputs(gram, weight, INPUTS, OUTPUTS, { start: 2, end: 5 }, 2, RIDGE),
      'repair',
    );
    expect(keptOf(repair.removed)).toEqual(expect.arrayContaining([0, 1, 5, 6, 7, 8]));
    expect(repair.removed.reduce((sum, value) => sum + value, 0)).toBe(2);
    expect([gram, weight]).toEqual(copies);
  });

  it('gives nothing where the moments are not finite', () => {
    const { gram, weight } = problem(1);
    gram[0] = NaN;
    expect(removeInputs(gram, weight, INPUTS, OUTPUTS, { start: 0, end: 2 }, 1, RIDGE)).toBeUndefined();
  });
});

describe('smallestRows', () => {
  it('weighs what comes in and what goes out', () => {
    // Incoming × outgoing: 1·5, 4·1, 0.5·20, 2·3.
    const weight = Float64Array.of(9, 9, 3, 4, 1, 0, 0, 20, 3, 0);
    const removed = smallestRows(weight, 2, Float64Array.of(1, 4, 0.5, 2), { start: 1, end: 5 }, 2);
    expect([...removed]).toEqual([0, 1, 1, 0, 0]);
  });
});

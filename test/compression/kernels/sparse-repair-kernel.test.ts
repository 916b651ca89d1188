import { describe, expect, it } from 'vitest';
import { createRandom, must } from '../../../src/core/index.js';
import {
  addRidge,
  dot,
  invertPositiveDefinite,
  multiply,
  multiplyTransposed,
} from '../../../src/compression/kernels/linear-algebra-kernel.js';
import { repairZeros } from '../../../src/compression/kernels/sparse-repair-kernel.js';

/** Rows that a few factors and some noise make, their Gram matrix, weights, and which of them go. */
function problem(
  rows: number,
  inputs: number,
  outputs: number,
): Record<'x' | 'gram' | 'weight', Float64Array> & { zero: Uint8Array } {
  const random = createRandom(3);
  const normal = (length: number): Float64Array => Float64Array.from({ length }, () => random.normal());
  const factors = Math.ceil(inputs / 3);
  const x = new Float64Array(rows * inputs);
  multiply(normal(rows * factors), normal(factors * inputs), x, rows, factors, inputs);
  normal(rows * inputs).forEach((noise, at) => {
    x[at] = (x[at] ?? 0) + 0.5 * noise;
  });
  const gram = new Float64Array(inputs * inputs);
  multiplyTransposed(x, x, gram, rows, inputs, inputs);
  const weight = normal(inputs * outputs);
  return { x, gram, weight, zero: Uint8Array.from(weight, (value) => (Math.abs(value) < 0.6 ? 1 : 0)) };
}

function outputChange(
  x: Float64Array,
  before: Float64Array,
  after: Float64Array,
  sizes: readonly [number, number, number],
): number {
  const [wanted, got] = [before, after].map((weight) => {
    const out = new Float64Array(sizes[0] * sizes[2]);
    multiply(x, weight, out, ...sizes);
    return out;
  });
  const reference = must(wanted, 'outputs');
  const difference = reference.reduce((sum, value, i) => sum + (value - (got?.[i] ?? NaN)) ** 2, 0);
  return Math.sqrt(difference / reference.reduce((sum, value) => sum + value ** 2, 0));
}

/** The fit of one output as a system of equations over the weights that stay. */
function solved(gram: Float64Array, weight: Float64Array, zero: Uint8Array, ridge: number): number[] {
  const inputs = weight.length;
  const damped = gram.slice();
  addRidge(damped, inputs, ridge);
  const kept = Array.from(weight.keys()).filter((i) => zero[i] === 0);
  const inner = Float64Array.from(kept.flatMap((i) => kept.map((j) => damped[i * inputs + j] ?? NaN)));
  const right = Float64Array.from(kept, (i) => dot(damped, i * inputs, weight, 0, inputs));
  const solution = new Float64Array(kept.length);
  const inverse = must(invertPositiveDefinite(inner, kept.length), 'inverse');
  multiply(inverse, right, solution, kept.length, kept.length, 1);
  return Array.from(weight, (_, i) => solution[kept.indexOf(i)] ?? 0);
}

describe('repairZeros', () => {
  it('comes near the least-squares fit', () => {
    const { x, gram, weight, zero } = problem(300, 40, 1);
    const fitted = weight.slice();
    const said = must(repairZeros(gram.slice(), fitted, zero, 40, 1, 0.01), 'error');
    const best = outputChange(x, weight, Float64Array.from(solved(gram, weight, zero, 0.01)), [300, 40, 1]);
    expect(said).toBeGreaterThan(0.99 * best);
    expect(said).toBeLessThan(1.2 * best);
  });

  it.each([
    [300, 20, 7],
    [300, 130, 3],
    [40, 65, 1],
  ])('%i rows, %i × %i: less error than zeros alone, and the error it says', (...sizes) => {
    const { x, gram, weight, zero } = problem(...sizes);
    const pruned = weight.map((value, at) => (zero[at] === 1 ? 0 : value));
    const fitted = weight.slice();
    const said = repairZeros(gram.slice(), fitted, zero, sizes[1], sizes[2], 0.01);
    expect([...fitted].every((value, at) => (zero[at] === 1) === (value === 0))).toBe(true);
    const actual = outputChange(x, weight, fitted, sizes);
    expect(said).toBeCloseTo(actual, 6);
    expect(actual).toBeLessThan(0.5 * outputChange(x, weight, pruned, sizes));
  });

  it('moves a lost weight to an input that is the same', () => {
    // x1 = x2, so that w2 can do the work of w1.
    const gram = Float64Array.of(5, 5, 5, 5 + 1e-9);
    const weight = Float64Array.of(2, 3);
    expect(repairZeros(gram, weight, Uint8Array.of(1, 0), 2, 1, 1e-9)).toBeLessThan(1e-4);
    expect(weight[0]).toBe(0);
    expect(weight[1]).toBeCloseTo(5, 4);
  });

  it('changes nothing where nothing is lost, or nothing can be fitted', () => {
    const weight = Float64Array.of(1, 2);
    expect(repairZeros(Float64Array.of(2, 1, 1, 2), weight, new Uint8Array(2), 2, 1, 0.01)).toBe(0);
    expect(
      repairZeros(new Float64Array(4).fill(NaN), weight, Uint8Array.of(1, 0), 2, 1, 0.01),
    ).toBeUndefined();
    expect([...weight]).toEqual([1, 2]);
  });
});

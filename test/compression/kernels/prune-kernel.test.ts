import { describe, expect, it } from 'vitest';
import { createRandom, must } from '../../../src/core/index.js';
import {
  addRidge,
  choleskyInPlace,
  invertPositiveDefinite,
  multiplyTransposed,
  solveLower,
  solveLowerTransposed,
} from '../../../src/compression/kernels/linear-algebra-kernel.js';
import {
  addTaylorScores,
  eliminationOrder,
  outputChange,
  refitWeights,
  takeAlong,
  unitCost,
} from '../../../src/compression/kernels/prune-kernel.js';
import type { Elimination, RefitProblem } from '../../../src/compression/kernels/prune-kernel.js';

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

/** All inputs of one layer as units of `size` neighbours. */
function layerOf(gram: Float64Array, weight: Float64Array, size: number): Elimination {
  const damped = gram.slice();
  addRidge(damped, INPUTS, RIDGE);
  const rows = Array.from({ length: INPUTS / size }, (_, unit) =>
    Int32Array.from({ length: size }, (__, at) => unit * size + at),
  );
  const inverse = must(invertPositiveDefinite(damped, INPUTS), 'inverse');
  return { inverse, weight: weight.slice(), inputs: INPUTS, outputs: OUTPUTS, rows, scale: 1 };
}

const ALL = Array.from({ length: INPUTS }, (_, i) => i);

describe('eliminationOrder', () => {
  it.each([
    [1, 1],
    [2, 1],
    [3, 3],
    [4, 3],
  ])(
    'takes the cheapest unit each time, at what its loss costs after the refit (seed %i, %i inputs)',
    (seed, size) => {
      const { gram, weight } = problem(seed);
      const count = size === 1 ? 4 : 2;
      const { units, costs } = eliminationOrder([layerOf(gram, weight, size)], INPUTS / size, count);
      let kept = ALL;
      let before = 0;
      for (const [step, unit] of units.entries()) {
        const without = (gone: number): number[] => kept.filter((row) => Math.floor(row / size) !== gone);
        const present = [...new Set(kept.map((row) => Math.floor(row / size)))];
        const all = present.map((gone) => costOf(gram, weight, without(gone)));
        expect(unit).toBe(present[all.indexOf(Math.min(...all))]);
        expect((costs[step] ?? NaN) / (Math.min(...all) - before)).toBeCloseTo(1, 6);
        before = Math.min(...all);
        kept = without(unit);
      }
      expect(units).toHaveLength(count);
    },
  );

  it('adds up the costs of several layers by their scales', () => {
    const { gram, weight } = problem(5);
    const other = problem(6);
    const both = [layerOf(gram, weight, 1), { ...layerOf(other.gram, other.weight, 1), scale: 0.5 }];
    const expected = ALL.map(
      (unit) =>
        costOf(
          gram,
          weight,
          ALL.filter((row) => row !== unit),
        ) +
        0.5 *
          costOf(
            other.gram,
            other.weight,
            ALL.filter((row) => row !== unit),
          ),
    );
    expected.forEach((cost, unit) => {
      expect(unitCost(both, unit) / cost).toBeCloseTo(1, 6);
    });
    expect(eliminationOrder(both, INPUTS, 1).units[0]).toBe(expected.indexOf(Math.min(...expected)));
  });
});

describe('refitWeights', () => {
  const kept = [0, 2, 3, 5, 8];
  const problemFor = (seed: number): RefitProblem => ({
    moment: problem(seed).gram,
    width: INPUTS,
    before: Int32Array.from(ALL),
    after: Int32Array.from(kept),
    weight: problem(seed).weight,
    outputs: OUTPUTS,
  });
  const startOf = ({ weight }: RefitProblem): Float64Array =>
    Float64Array.from(kept.flatMap((row) => [...weight.subarray(row * OUTPUTS, (row + 1) * OUTPUTS)]));

  it.each([1, 2, 3])('is the damped least-squares fit on the inputs that stay (seed %i)', (seed) => {
    const each = problemFor(seed);
    const fitted = must(refitWeights(each, startOf(each), RIDGE), 'fit');
    const expected = directFit(each.moment, each.weight, kept);
    fitted.forEach((value, at) => {
      expect(value).toBeCloseTo(expected[at] ?? NaN, 9);
    });
  });

  it('gives nothing where the moments are not finite', () => {
    const each = problemFor(1);
    each.moment[0] = NaN;
    expect(refitWeights(each, startOf(each), RIDGE)).toBeUndefined();
  });

  it('measures the change of the outputs over the outputs', () => {
    const each = problemFor(4);
    // Rows whose second moment is that of the problem: the columns of its Cholesky factor.
    const rows = each.moment.slice();
    expect(choleskyInPlace(rows, INPUTS)).toBe(true);
    const fitted = startOf(each);
    let [change, total] = [0, 0];
    for (const column of ALL)
      for (let c = 0; c < OUTPUTS; c++) {
        const x = (row: number): number => rows[row * INPUTS + column] ?? 0;
        const old = ALL.reduce((sum, row) => sum + x(row) * (each.weight[row * OUTPUTS + c] ?? 0), 0);
        const now = kept.reduce((sum, row, at) => sum + x(row) * (fitted[at * OUTPUTS + c] ?? 0), 0);
        change += (now - old) ** 2;
        total += old ** 2;
      }
    expect(outputChange(each, fitted)).toBeCloseTo(Math.sqrt(change / total), 9);
  });
});

describe('addTaylorScores', () => {
  it('adds up within a unit before it takes the size, row by row', () => {
    const scores = new Float64Array(2);
    // Units: 0, 0, none, 1. Rows: |1 - 3| and |5|; |2 + 2| and |-1|.
    const products = Float32Array.of(1, -3, 9, 5, 2, 2, 9, -1);
    addTaylorScores(products, 4, Int32Array.of(0, 0, -1, 1), scores);
    expect([...scores]).toEqual([6, 6]);
  });
});

describe('takeAlong', () => {
  it.each([
    [0, [1], 4, [4, 5, 6, 7]],
    [1, [1], 4, [2, 3, 6, 7]],
    [2, [0], 4, [0, 2, 4, 6]],
  ])('takes slices along axis %i', (axis, kept, count, expected) => {
    const source = Float32Array.of(0, 1, 2, 3, 4, 5, 6, 7);
    const taken = takeAlong(source, [2, 2, 2], axis, Int32Array.from(kept));
    expect(taken).toHaveLength(count);
    expect([...taken]).toEqual(expected);
  });
});

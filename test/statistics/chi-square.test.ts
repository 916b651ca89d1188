import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chiSquareUpperTail, sampleRatio, type SampleRatio } from '../../src/statistics/index.js';
import { errorCode } from '../support/error-code.js';

describe('chiSquareUpperTail', () => {
  // Printed tables of critical values.
  it.each([
    [3.841459, 1, 0.05],
    [10.827566, 1, 0.001],
    [13.815511, 2, 0.001],
    [18.307038, 10, 0.05],
    [29.588298, 10, 0.001],
    [124.342113, 100, 0.05],
  ])('of %d with %d degrees of freedom is %d', (chiSquare, degrees, expected) => {
    expect(chiSquareUpperTail(chiSquare, degrees) / expected).toBeCloseTo(1, 5);
  });

  it('equals the Poisson sum that even degrees of freedom have', () => {
    const property = fc.property(
      fc.double({ min: 0, max: 200, noNaN: true }),
      fc.integer({ min: 1, max: 40 }),
      (chiSquare, half) => {
        let term = Math.exp(-chiSquare / 2);
        let sum = term;
        for (let k = 1; k < half; k++) sum += term *= chiSquare / 2 / k;
        expect(Math.abs(chiSquareUpperTail(chiSquare, 2 * half) - sum)).toBeLessThan(1e-12 * sum + 1e-14);
      },
    );
    fc.assert(property);
  });

  it('falls as χ² grows and joins its two expansions without a step', () => {
    for (const degrees of [1, 3, 7, 51]) {
      const edge = degrees + 2;
      const [below, above] = [
        chiSquareUpperTail(edge - 1e-9, degrees),
        chiSquareUpperTail(edge + 1e-9, degrees),
      ];
      expect(below).toBeGreaterThan(above);
      expect(below - above).toBeLessThan(1e-8);
    }
  });

  it('keeps its relative precision far out', () => {
    // The asymptotic bounds of erfc: √(2/π)·e^(−x/2)/√x·(1 − 1/x) < Q < √(2/π)·e^(−x/2)/√x.
    const tail = chiSquareUpperTail(1000, 1);
    const bound = (Math.sqrt(2 / Math.PI) * Math.exp(-500)) / Math.sqrt(1000);
    expect(tail).toBeLessThan(bound);
    expect(tail).toBeGreaterThan(bound * (1 - 1 / 1000));
  });

  it('is undefined outside its domain', () => {
    for (const [chiSquare, degrees] of [
      [-1, 1],
      [Number.NaN, 1],
      [1, 0],
      [1, 1.5],
    ] as const)
      expect(errorCode(() => chiSquareUpperTail(chiSquare, degrees))).toBe('STATISTIC_UNDEFINED');
  });
});

function ratioOf(users: readonly number[], weights: readonly number[]): SampleRatio {
  return sampleRatio(users.map((count, index) => ({ users: count, weight: weights[index] ?? 0 })));
}

describe('sampleRatio', () => {
  it.each([
    [[1000, 1200], [1, 1], 0.000020079, true],
    [[310, 98], [3, 1], 0.647434186, false],
    [[500, 500, 600], [0.34, 0.33, 0.33], 0.000592638, true],
  ])('of users %j at weights %j', (users, weights, pValue, mismatch) => {
    const ratio = ratioOf(users, weights);
    expect(ratio.pValue).toBeCloseTo(pValue, 9);
    expect(ratio.mismatch).toBe(mismatch);
    expect(ratio.degreesOfFreedom).toBe(users.length - 1);
  });

  it('leaves out arms of weight 0', () => {
    expect(ratioOf([310, 7, 98], [3, 0, 1])).toEqual(ratioOf([310, 98], [3, 1]));
  });

  it('is undefined with one arm, and with too few users', () => {
    expect(errorCode(() => ratioOf([10], [1]))).toBe('STATISTIC_UNDEFINED');
    expect(errorCode(() => ratioOf([10, 20], [1, 0]))).toBe('STATISTIC_UNDEFINED');
    expect(errorCode(() => ratioOf([0, 0], [1, 1]))).toBe('STATISTIC_UNDEFINED');
    expect(errorCode(() => ratioOf([9, 0], [1, 1]))).toBe('STATISTIC_UNDEFINED');
    expect(ratioOf([10, 0], [1, 1]).pValue).toBeCloseTo(0.0015654, 7);
  });
});

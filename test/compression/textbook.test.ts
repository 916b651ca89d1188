import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { pruneByMagnitude, quantizeUniform, truncatedSvd } from '../../src/compression/textbook.js';
import type { Matrix } from '../../src/compression/textbook.js';
import { errorCode } from '../support/error-code.js';

const NINE = [
  [1, 2, 3],
  [4, 5, 6],
  [7, 8, 9],
];

const matrices = fc
  .tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 6 }))
  .chain(([rows, columns]) =>
    fc.array(
      fc.array(
        fc.integer({ min: -8000, max: 8000 }).map((x) => x / 8),
        { minLength: columns, maxLength: columns },
      ),
      { minLength: rows, maxLength: rows },
    ),
  );

function product(left: Matrix, right: Matrix): number[][] {
  return left.map((row) =>
    (right[0] ?? []).map((_, column) =>
      row.reduce((sum, x, index) => sum + x * (right[index]?.[column] ?? NaN), 0),
    ),
  );
}

describe('quantizeUniform', () => {
  it('brings every element back within half a step', () => {
    fc.assert(
      fc.property(matrices, fc.integer({ min: 2, max: 16 }), fc.boolean(), (matrix, bits, symmetric) => {
        const result = quantizeUniform(matrix, bits, { symmetric });
        expect(result.maxError).toBeLessThanOrEqual(0.5 * result.scale * (1 + 1e-9));
        const limit = 2 ** (bits - 1) - 1;
        for (const value of result.values.flat()) {
          expect(Number.isInteger(value)).toBe(true);
          expect(value).toBeGreaterThanOrEqual(symmetric ? -limit : 0);
          expect(value).toBeLessThanOrEqual(symmetric ? limit : 2 ** bits - 1);
        }
      }),
    );
  });

  it('gives 1 to 9 in 8 bits', () => {
    const { values, scale, zeroPoint, dequantized, maxError } = quantizeUniform(NINE, 8);
    expect(scale).toBeCloseTo(9 / 255, 12);
    expect(zeroPoint).toBe(0);
    // 255 / 9 = 28.33 steps for each whole number.
    expect(values).toEqual([
      [28, 57, 85],
      [113, 142, 170],
      [198, 227, 255],
    ]);
    expect(dequantized[1]?.[1]).toBeCloseTo((142 * 9) / 255, 12);
    // 1 is 28 and a third of a step.
    expect(maxError).toBeCloseTo(3 / 255, 12);
    expect(maxError).toBeLessThanOrEqual(scale / 2);
  });

  it('gives 1 to 9 in 8 bits, symmetric, and signed numbers with a zero point', () => {
    const symmetric = quantizeUniform(NINE, 8, { symmetric: true });
    expect(symmetric.values).toEqual([
      [14, 28, 42],
      [56, 71, 85],
      [99, 113, 127],
    ]);
    expect(symmetric).toMatchObject({ scale: 9 / 127, zeroPoint: 0 });
    expect(quantizeUniform([[-1, 0, 0.5]], 2)).toMatchObject({
      values: [[0, 2, 3]],
      scale: 0.5,
      zeroPoint: 2,
      dequantized: [[-1, 0, 0.5]],
      maxError: 0,
    });
    expect(quantizeUniform([[0]], 8)).toMatchObject({ values: [[0]], scale: 1, maxError: 0 });
  });
});

describe('pruneByMagnitude', () => {
  it('keeps 5 to 9 in their places at threshold 5', () => {
    expect(pruneByMagnitude(NINE, 5)).toEqual([
      [0, 0, 0],
      [0, 5, 6],
      [7, 8, 9],
    ]);
    expect(pruneByMagnitude([[-5, 4.99, -0.1]], 5)).toEqual([[-5, 0, 0]]);
    expect(pruneByMagnitude(NINE, 0)).toEqual(NINE);
  });
});

describe('truncatedSvd', () => {
  it('reproduces 1 to 9, of rank 2, from factors of 3 × 2 and 2 × 3', () => {
    const { left, right, singularValues } = truncatedSvd(NINE, 2);
    expect([left.length, left[0]?.length, right.length, right[0]?.length]).toEqual([3, 2, 2, 3]);
    product(left, right)
      .flat()
      .forEach((x, index) => expect(x).toBeCloseTo(index + 1, 12));
    // Roots of the characteristic polynomial of AᵀA: λ² − 285 λ + 324.
    const root = Math.sqrt(285 ** 2 - 4 * 324);
    expect(singularValues[0]).toBeCloseTo(Math.sqrt((285 + root) / 2), 12);
    expect(singularValues[1]).toBeCloseTo(Math.sqrt((285 - root) / 2), 12);
    expect(singularValues[2]).toBeLessThan(1e-12);
  });

  it('drops the energy of the values after the rank, and nothing else', () => {
    fc.assert(
      fc.property(matrices, fc.nat(), (matrix, pick) => {
        const most = Math.min(matrix.length, matrix[0]?.length ?? 0);
        const { left, right, singularValues } = truncatedSvd(matrix, 1 + (pick % most));
        const dropped = singularValues.slice(left[0]?.length).reduce((sum, value) => sum + value ** 2, 0);
        const back = product(left, right).flat();
        const error = matrix.flat().reduce((sum, x, index) => sum + (x - (back[index] ?? NaN)) ** 2, 0);
        const scale = Math.max(1e-12, (singularValues[0] ?? 0) ** 2);
        expect(Math.abs(error - dropped) / scale).toBeLessThan(1e-9);
      }),
    );
  });
});

describe('bad input', () => {
  it('is refused', () => {
    const calls = [
      () => quantizeUniform([], 8),
      () => quantizeUniform([[1], [1, 2]], 8),
      () => quantizeUniform([[NaN]], 8),
      () => quantizeUniform(NINE, 1),
      () => quantizeUniform(NINE, 7.5),
      () => pruneByMagnitude(NINE, -1),
      () => pruneByMagnitude(NINE, NaN),
      () => truncatedSvd(NINE, 0),
      () => truncatedSvd(NINE, 4),
    ];
    expect(calls.map(errorCode)).toEqual(calls.map(() => 'INPUT_INVALID'));
  });
});

import { describe, expect, it } from 'vitest';
import { createRandom } from '../../../src/core/index.js';
import { Float64Products } from '../../../src/compression/calibration/float64-products.js';
import type { Matrix } from '../../../src/compression/calibration/float64-products.js';
import {
  choleskyInPlace,
  multiply,
  multiplyTransposed,
} from '../../../src/compression/kernels/linear-algebra-kernel.js';
import { svd } from '../../../src/compression/kernels/svd-kernel.js';
import { whitenedSpectrum } from '../../../src/compression/low-rank/spectrum.js';
import { openSession } from '../../../src/runtime/index.js';

function randomMatrix(rows: number, columns: number, seed: number): Matrix {
  const random = createRandom(seed);
  return { rows, columns, data: Float64Array.from({ length: rows * columns }, () => random.normal()) };
}

/** Second moment of inputs whose directions fall off by `decay` each. */
function unevenGram(size: number, decay: number, seed: number): Matrix {
  const x = randomMatrix(3 * size, size, seed);
  for (let i = 0; i < x.data.length; i++) x.data[i] = (x.data[i] ?? 0) * decay ** (i % size);
  const data = new Float64Array(size * size);
  multiplyTransposed(x.data, x.data, data, x.rows, size, size);
  return { rows: size, columns: size, data };
}

/** `Lᵀ a` for `L Lᵀ = gram`. */
function whitened(gram: Matrix, a: Float64Array, columns: number): Float64Array {
  const factor = gram.data.slice();
  choleskyInPlace(factor, gram.rows);
  const out = new Float64Array(gram.rows * columns);
  multiplyTransposed(factor, a, out, gram.rows, gram.rows, columns);
  return out;
}

function norm(values: Float64Array): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
}

describe('whitenedSpectrum', () => {
  it.each([
    [60, 40],
    [40, 60],
    [64, 64],
    [1, 7],
    [7, 1],
  ])('has the singular values of the exact decomposition: %i to %i', async (inputs, outputs) => {
    const weight = randomMatrix(inputs, outputs, 3);
    const gram = unevenGram(inputs, 0.97, 4);
    const exact = svd(whitened(gram, weight.data, outputs), inputs, outputs);
    if (exact === undefined) throw new Error('no decomposition');
    await Float64Products.within(openSession, async (products) => {
      const copy = { ...gram, data: gram.data.slice() };
      const spectrum = await whitenedSpectrum(weight, copy, products);
      if (spectrum === undefined) throw new Error('no spectrum');
      const errors = exact.values.map((value, i) => Math.abs((spectrum.values[i] ?? NaN) / value - 1));
      expect(Math.max(...errors)).toBeLessThan(1e-6);
      for (const rank of [1, Math.ceil(exact.count / 4), exact.count]) {
        const { first, second } = await spectrum.factors(rank);
        const rebuilt = new Float64Array(inputs * outputs);
        multiply(Float64Array.from(first), Float64Array.from(second), rebuilt, inputs, rank, outputs);
        const missed = rebuilt.map((value, i) => value - (weight.data[i] ?? NaN));
        // Eckart and Young: no other factors of this rank come nearer.
        const optimal = norm(exact.values.slice(rank));
        const error = norm(whitened(gram, missed, outputs));
        expect(error).toBeLessThan(1.01 * optimal + 1e-5 * norm(exact.values));
      }
    });
  });

  it('says so where numbers are not finite', async () => {
    await Float64Products.within(openSession, async (products) => {
      for (const [inputs, outputs] of [
        [3, 4],
        [4, 3],
      ] as const) {
        const weight = randomMatrix(inputs, outputs, 1);
        const gram = { rows: inputs, columns: inputs, data: new Float64Array(inputs ** 2).fill(Infinity) };
        expect(await whitenedSpectrum(weight, gram, products)).toBeUndefined();
        weight.data[2] = NaN;
        expect(await whitenedSpectrum(weight, unevenGram(inputs, 1, 2), products)).toBeUndefined();
      }
    });
  });
});

describe('Float64Products', () => {
  it('multiplies as by hand', async () => {
    const a = { rows: 2, columns: 3, data: Float64Array.of(1, 2, 3, 4, 5, 6) };
    const b = { rows: 3, columns: 2, data: Float64Array.of(7, 8, 9, 10, 11, 12) };
    await Float64Products.within(openSession, async (products) => {
      expect([...(await products.multiply(a, b)).data]).toEqual([58, 64, 139, 154]);
      const left = await products.multiplyLeftTransposed(a, a);
      expect([left.rows, left.columns]).toEqual([3, 3]);
      expect([...left.data]).toEqual([17, 22, 27, 22, 29, 36, 27, 36, 45]);
      const right = await products.multiplyRightTransposed(a, a);
      expect([right.rows, right.columns]).toEqual([2, 2]);
      expect([...right.data]).toEqual([14, 32, 32, 77]);
    });
  });
});

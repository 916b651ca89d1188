import { describe, expect, it } from 'vitest';
import { createRandom } from '../../../src/core/index.js';
import { symmetricEigen } from '../../../src/compression/kernels/eigen-kernel.js';
import {
  choleskyInPlace,
  invertPositiveDefinite,
  multiply,
  multiplyTransposed,
  solveLower,
  solveLowerTransposed,
  transpose,
} from '../../../src/compression/kernels/linear-algebra-kernel.js';
import { svd, type Svd } from '../../../src/compression/kernels/svd-kernel.js';

function randomMatrix(rows: number, columns: number, seed: number): Float64Array {
  const random = createRandom(seed);
  return Float64Array.from({ length: rows * columns }, () => random.normal());
}

function product(a: Float64Array, b: Float64Array, m: number, k: number, n: number): Float64Array {
  const out = new Float64Array(m * n);
  multiply(a, b, out, m, k, n);
  return out;
}

function maxDifference(a: Float64Array, b: Float64Array): number {
  return a.reduce((largest, value, i) => Math.max(largest, Math.abs(value - (b[i] ?? NaN))), 0);
}

function identity(n: number): Float64Array {
  return Float64Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0));
}

/** `Σ values[i] · left[i]ᵀ right[i]`. */
function rebuild({ count, values, left, right }: Svd, rows: number, columns: number): Float64Array {
  const scaled = left.map((value, i) => value * (values[Math.floor(i / rows)] ?? NaN));
  return product(transpose(scaled, count, rows), right, rows, count, columns);
}

describe('products', () => {
  it('multiplies as by hand', () => {
    const a = Float64Array.of(1, 2, 3, 4, 5, 6);
    const b = Float64Array.of(7, 8, 9, 10, 11, 12);
    expect([...product(a, b, 2, 3, 2)]).toEqual([58, 64, 139, 154]);
    const out = new Float64Array(4);
    multiplyTransposed(b, transpose(a, 2, 3), out, 3, 2, 2);
    expect([...out]).toEqual([7 + 18 + 33, 28 + 45 + 66, 8 + 20 + 36, 32 + 50 + 72]);
  });
});

describe('Cholesky', () => {
  it('reads the lower triangle and gives the factor of a known matrix', () => {
    // Example of Golub and Van Loan's kind: L = [[2,0,0],[6,1,0],[-8,5,3]].
    const a = Float64Array.of(4, NaN, NaN, 12, 37, NaN, -16, -43, 98);
    expect(choleskyInPlace(a, 3)).toBe(true);
    expect([...a]).toEqual([2, 0, 0, 6, 1, 0, -8, 5, 3]);
  });

  it('refuses a matrix that is not positive definite', () => {
    expect(choleskyInPlace(Float64Array.of(1, 2, 2, 1), 2)).toBe(false);
    expect(choleskyInPlace(Float64Array.of(NaN), 1)).toBe(false);
    expect(invertPositiveDefinite(Float64Array.of(0), 1)).toBeUndefined();
  });

  it('solves with the factor and inverts', () => {
    const n = 40;
    const root = randomMatrix(n, n, 1);
    const a = product(root, transpose(root, n, n), n, n, n);
    for (let i = 0; i < n; i++) a[i * n + i] = (a[i * n + i] ?? NaN) + 1;
    const wanted = randomMatrix(n, 3, 2);
    const solved = product(a, wanted, n, n, 3);
    const factor = a.slice();
    choleskyInPlace(factor, n);
    solveLower(factor, solved, n, 3);
    solveLowerTransposed(factor, solved, n, 3);
    expect(maxDifference(solved, wanted)).toBeLessThan(1e-11);
    const inverse = invertPositiveDefinite(a.slice(), n) ?? new Float64Array();
    expect(maxDifference(product(a, inverse, n, n, n), identity(n))).toBeLessThan(1e-10);
  });
});

describe('symmetric eigenvectors', () => {
  it('finds the spectrum of the discrete Laplacian: 2 − 2 cos(kπ / (n + 1))', () => {
    const n = 50;
    const a = new Float64Array(n * n).fill(NaN);
    for (let i = 0; i < n; i++)
      for (let j = 0; j <= i; j++) a[i * n + j] = i === j ? 2 : i === j + 1 ? -1 : 0;
    const values = symmetricEigen(a, n)?.values ?? new Float64Array();
    const expected = Float64Array.from(
      { length: n },
      (_, k) => 2 - 2 * Math.cos(((n - k) * Math.PI) / (n + 1)),
    );
    expect(maxDifference(values, expected)).toBeLessThan(1e-13);
  });

  it.each([1, 2, 3, 4, 5, 17, 64, 131])('diagonalises random matrices of size %i', (n) => {
    const root = randomMatrix(n, n, n);
    const symmetric = root.map((value, i) => value + (root[(i % n) * n + Math.floor(i / n)] ?? NaN));
    const eigen = symmetricEigen(symmetric.slice(), n);
    if (!eigen) throw new Error('no decomposition');
    const vectors = eigen.vectors(n);
    const turned = transpose(vectors, n, n);
    expect(maxDifference(product(vectors, turned, n, n, n), identity(n))).toBeLessThan(1e-12);
    const scaled = vectors.map((value, i) => value * (eigen.values[Math.floor(i / n)] ?? NaN));
    expect(maxDifference(product(turned, scaled, n, n, n), symmetric)).toBeLessThan(1e-12 * n);
    expect([...eigen.values]).toEqual([...eigen.values].sort((x, y) => y - x));
    // A part of the vectors is the same as that part of all.
    const some = Math.ceil(n / 3);
    expect(maxDifference(eigen.vectors(some), vectors.subarray(0, some * n))).toBeLessThan(1e-14);
  });

  it('gives orthonormal vectors where values repeat', () => {
    const n = 30;
    const basis = symmetricEigen(randomMatrix(n, n, 8), n)?.vectors(n) ?? new Float64Array();
    const values = Float64Array.from({ length: n }, (_, i) => (i < 12 ? 3 : i < 20 ? 1 : 0));
    const scaled = basis.map((value, i) => value * (values[Math.floor(i / n)] ?? NaN));
    const eigen = symmetricEigen(product(transpose(basis, n, n), scaled, n, n, n), n);
    expect(maxDifference(eigen?.values ?? values, values)).toBeLessThan(1e-13);
    const vectors = eigen?.vectors(20) ?? new Float64Array();
    expect(maxDifference(product(vectors, transpose(vectors, 20, n), 20, n, 20), identity(20))).toBeLessThan(
      1e-13,
    );
  });

  it('says so where there is NaN', () => {
    expect(symmetricEigen(new Float64Array(9).fill(NaN), 3)).toBeUndefined();
    expect(symmetricEigen(new Float64Array(1).fill(Infinity), 1)).toBeUndefined();
  });
});

describe('singular values', () => {
  it('gives those of [[1,2,3],[4,5,6],[7,8,9]]', () => {
    const { values } = svd(Float64Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9), 3, 3) ?? { values: [] };
    // numpy.linalg.svd: 16.84810335, 1.06836951, 4.2e-16.
    expect(values[0]).toBeCloseTo(16.84810335261421, 12);
    expect(values[1]).toBeCloseTo(1.068369514554709, 12);
    expect(values[2]).toBeLessThan(1e-14);
  });

  it.each([
    [1, 1],
    [5, 5],
    [30, 80],
    [80, 30],
    [96, 96],
  ])('rebuilds a random %i × %i matrix from orthonormal vectors', (rows, columns) => {
    const a = randomMatrix(rows, columns, rows + columns);
    const result = svd(a, rows, columns);
    if (!result) throw new Error('no decomposition');
    const { count, left, right, values } = result;
    expect(maxDifference(rebuild(result, rows, columns), a)).toBeLessThan(1e-12);
    const lefts = product(left, transpose(left, count, rows), count, rows, count);
    const rights = product(right, transpose(right, count, columns), count, columns, count);
    expect(maxDifference(lefts, identity(count))).toBeLessThan(1e-12);
    expect(maxDifference(rights, identity(count))).toBeLessThan(1e-11);
    expect([...values]).toEqual([...values].sort((a, b) => b - a));
  });

  it('keeps small singular values that a Gram matrix would lose', () => {
    const n = 24;
    const basis = svd(randomMatrix(n, n, 5), n, n);
    if (!basis) throw new Error('no decomposition');
    const wanted = Float64Array.from({ length: n }, (_, i) => 10 ** (-i / 2));
    const result = svd(rebuild({ ...basis, values: wanted }, n, n), n, n);
    for (let i = 0; i < n; i++)
      expect(Math.abs((result?.values[i] ?? NaN) / (wanted[i] ?? NaN) - 1)).toBeLessThan(1e-3);
  });

  it('sees the rank of a product', () => {
    const a = product(randomMatrix(60, 7, 1), randomMatrix(7, 40, 2), 60, 7, 40);
    const result = svd(a, 60, 40);
    const values = [...(result?.values ?? [])];
    expect(values[6]).toBeGreaterThan(1);
    expect(Math.max(...values.slice(7))).toBeLessThan(1e-11);
  });

  it('gives nothing where there is NaN', () => {
    expect(svd(Float64Array.of(1, NaN, 2, 3), 2, 2)).toBeUndefined();
  });
});

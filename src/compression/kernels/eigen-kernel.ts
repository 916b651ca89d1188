import { reduceToTridiagonal, reflectStrip } from './tridiagonal-kernel.js';
import { createRotations, iterateQl, rotateStripBack } from './ql-kernel.js';

/** Columns that are carried along together: their numbers stay in registers from one rotation to the next. */
const STRIP = 4;

/** Spectrum of a symmetric matrix `[n, n]`. Its vectors are computed only where they are asked for. */
export interface SymmetricEigen {
  /** Largest first. */
  readonly values: Float64Array;
  /** Unit eigenvectors of the first `count` values as rows `[count, n]`; the caller's. */
  vectors(count: number): Float64Array;
}

/**
 * Eigenvalues and eigenvectors of the symmetric `a[n, n]` (lower triangle read), which is overwritten and belongs to the
 * result from then on. Householder reduction to tridiagonal form, then QL steps with implicit Wilkinson shifts (Golub
 * and Van Loan, Matrix Computations, 8.3). The rotations are kept and turned back over the wanted vectors only, so that
 * a quarter of the vectors costs a quarter of the time. Undefined where `a` holds NaN or infinity.
 */
export function symmetricEigen(a: Float64Array, n: number): SymmetricEigen | undefined {
  const diagonal = new Float64Array(n);
  const offDiagonal = new Float64Array(n);
  const factors = reduceToTridiagonal(a, n, diagonal, offDiagonal);
  const rotations = createRotations(n);
  if (!iterateQl(n, diagonal, offDiagonal, rotations)) return undefined;
  const order = Array.from(diagonal.keys()).sort(
    (i, j) => (diagonal[j] as number) - (diagonal[i] as number) || i - j,
  );
  return {
    values: Float64Array.from(order, (i) => diagonal[i] as number),
    vectors: (count) => {
      const vectors = new Float64Array(count * n);
      // Neighbours in the tridiagonal form need the same rotations.
      const places = order.slice(0, count).map((from, to) => ({ from, to }));
      places.sort((left, right) => left.from - right.from);
      const strip = new Float64Array(n * STRIP);
      for (let first = 0; first < count; first += STRIP) {
        const group = places.slice(first, first + STRIP);
        strip.fill(0);
        group.forEach(({ from }, column) => (strip[from * STRIP + column] = 1));
        rotateStripBack(strip, rotations, (group.at(-1) as { from: number }).from);
        reflectStrip(strip, a, n, factors);
        group.forEach(({ to }, column) => {
          for (let i = 0; i < n; i++) vectors[to * n + i] = strip[i * STRIP + column] as number;
        });
      }
      return vectors;
    },
  };
}

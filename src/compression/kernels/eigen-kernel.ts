import { dot } from './linear-algebra-kernel.js';

const EPSILON = 2 ** -52;
/** Far above the two or so iterations that an eigenvalue needs. */
const MAX_ITERATIONS = 60;

/**
 * Eigenvalues and eigenvectors of the symmetric `a[n, n]` (lower triangle read), in place: row `i` of `a` becomes the
 * unit eigenvector of `values[i]`; order as found. Householder reduction to tridiagonal form, then QL steps with
 * implicit Wilkinson shifts (Golub and Van Loan, Matrix Computations, 8.3). Returns false where QL did not converge,
 * which only happens for matrices with NaN or infinity.
 */
export function symmetricEigenInPlace(a: Float64Array, n: number, values: Float64Array): boolean {
  const offDiagonal = new Float64Array(n);
  const reflections = reduceToTridiagonal(a, n, values, offDiagonal);
  accumulateReflections(a, n, reflections);
  return iterateQl(a, n, values, offDiagonal);
}

/**
 * Overwrites the lower triangle; column `k` keeps its Householder vector in the upper triangle's row `k`. Returns the
 * factors β of the reflections `I − β v vᵀ`.
 */
function reduceToTridiagonal(
  a: Float64Array,
  n: number,
  diagonal: Float64Array,
  offDiagonal: Float64Array,
): Float64Array {
  const factors = new Float64Array(n);
  const v = new Float64Array(n);
  const w = new Float64Array(n);
  for (let k = 0; k < n; k++) {
    diagonal[k] = a[k * n + k] as number;
    if (k === n - 1) break;
    for (let i = k + 1; i < n; i++) v[i] = a[i * n + k] as number;
    const { beta, norm } = householder(v, k + 1, n);
    offDiagonal[k] = norm;
    factors[k] = beta;
    if (beta !== 0) reflectBothSides(a, n, k + 1, v, w, beta);
    for (let i = k + 1; i < n; i++) a[k * n + i] = v[i] as number;
  }
  return factors;
}

/** Turns `v[start, end)` into the vector that reflects it onto its first axis, of which `norm` is then the entry. */
function householder(v: Float64Array, start: number, end: number): { beta: number; norm: number } {
  const first = v[start] as number;
  const tail = dot(v, start + 1, v, start + 1, end - start - 1);
  if (tail === 0) return { beta: 0, norm: first };
  const length = Math.sqrt(first * first + tail);
  // The sign that adds to `first`, so that nothing cancels.
  const norm = first > 0 ? -length : length;
  v[start] = first - norm;
  return { beta: 2 / ((first - norm) ** 2 + tail), norm };
}

/** `A ← (I − β v vᵀ) A (I − β v vᵀ)` on the lower triangle from `start` on; `w` is scratch. */
function reflectBothSides(
  a: Float64Array,
  n: number,
  start: number,
  v: Float64Array,
  w: Float64Array,
  beta: number,
): void {
  symmetricTimesVector(a, n, start, v, w);
  const half = (beta * beta * dot(v, start, w, start, n - start)) / 2;
  for (let i = start; i < n; i++) w[i] = beta * (w[i] as number) - half * (v[i] as number);
  for (let i = start; i < n; i++) {
    const vi = v[i] as number;
    const wi = w[i] as number;
    const row = i * n;
    for (let j = start; j <= i; j++)
      a[row + j] = (a[row + j] as number) - vi * (w[j] as number) - wi * (v[j] as number);
  }
}

/** `w = A v` from index `start` on, with the lower triangle of `A` only. */
function symmetricTimesVector(
  a: Float64Array,
  n: number,
  start: number,
  v: Float64Array,
  w: Float64Array,
): void {
  w.fill(0, start, n);
  for (let i = start; i < n; i++) {
    const row = i * n;
    const vi = v[i] as number;
    let sum = (a[row + i] as number) * vi;
    for (let j = start; j < i; j++) {
      const value = a[row + j] as number;
      sum += value * (v[j] as number);
      w[j] = (w[j] as number) + value * vi;
    }
    w[i] = (w[i] as number) + sum;
  }
}

/** Replaces the Householder vectors in the upper triangle of `a` by the transposed product of their reflections. */
function accumulateReflections(a: Float64Array, n: number, factors: Float64Array): void {
  const v = new Float64Array(n);
  const combination = new Float64Array(n);
  for (let k = n - 1; k >= 0; k--) {
    for (let i = k + 1; i < n; i++) v[i] = a[k * n + i] as number;
    // Up to now a[k+1.., k+1..] holds the product of the later reflections; row and column k join as identity.
    a.fill(0, k * n + k, (k + 1) * n);
    for (let i = k + 1; i < n; i++) a[i * n + k] = 0;
    a[k * n + k] = 1;
    reflectRows(a, n, k + 1, v, combination, factors[k] as number);
  }
  transposeSquareInPlace(a, n);
}

/** `A ← (I − β v vᵀ) A` on rows and columns from `start` on; `combination` is scratch. */
function reflectRows(
  a: Float64Array,
  n: number,
  start: number,
  v: Float64Array,
  combination: Float64Array,
  beta: number,
): void {
  if (beta === 0) return;
  combination.fill(0, start, n);
  for (let i = start; i < n; i++) {
    const factor = v[i] as number;
    const row = i * n;
    for (let j = start; j < n; j++)
      combination[j] = (combination[j] as number) + factor * (a[row + j] as number);
  }
  for (let i = start; i < n; i++) {
    const factor = beta * (v[i] as number);
    const row = i * n;
    for (let j = start; j < n; j++) a[row + j] = (a[row + j] as number) - factor * (combination[j] as number);
  }
}

function transposeSquareInPlace(a: Float64Array, n: number): void {
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < i; j++) {
      const held = a[i * n + j] as number;
      a[i * n + j] = a[j * n + i] as number;
      a[j * n + i] = held;
    }
  }
}

/** Diagonalises the tridiagonal (`d`, `e`), turning the rows of `vectors` along. */
function iterateQl(vectors: Float64Array, n: number, d: Float64Array, e: Float64Array): boolean {
  for (let low = 0; low < n; low++) {
    for (let iteration = 0; ; iteration++) {
      const high = blockEnd(d, e, low, n);
      if (high === low) break;
      if (iteration === MAX_ITERATIONS) return false;
      qlStep(vectors, n, d, e, low, high);
    }
  }
  return true;
}

/** Last index of the unreduced block that starts at `low`: the first off-diagonal entry that is negligible ends it. */
function blockEnd(d: Float64Array, e: Float64Array, low: number, n: number): number {
  let end = low;
  while (end < n - 1) {
    const scale = Math.abs(d[end] as number) + Math.abs(d[end + 1] as number);
    if (Math.abs(e[end] as number) <= EPSILON * scale) break;
    end++;
  }
  return end;
}

/** One QL step with implicit shift on the block `[low, high]`: a bulge is chased from the bottom to the top. */
function qlStep(
  vectors: Float64Array,
  n: number,
  d: Float64Array,
  e: Float64Array,
  low: number,
  high: number,
): void {
  const half = ((d[low + 1] as number) - (d[low] as number)) / (2 * (e[low] as number));
  const root = Math.hypot(half, 1);
  const shift = (d[low] as number) - (e[low] as number) / (half + (half >= 0 ? root : -root));
  let x = (d[high] as number) - shift;
  let sine = 1;
  let cosine = 1;
  let carried = 0;
  for (let i = high - 1; i >= low; i--) {
    const f = sine * (e[i] as number);
    const b = cosine * (e[i] as number);
    const length = Math.hypot(f, x);
    e[i + 1] = length;
    if (length === 0) {
      // The block fell apart here; the next step sees the smaller one.
      d[i + 1] = (d[i + 1] as number) - carried;
      e[high] = 0;
      return;
    }
    sine = f / length;
    cosine = x / length;
    const g = (d[i + 1] as number) - carried;
    const turned = ((d[i] as number) - g) * sine + 2 * cosine * b;
    carried = sine * turned;
    d[i + 1] = g + carried;
    x = cosine * turned - b;
    rotateRows(vectors, (i + 1) * n, i * n, n, cosine, sine);
  }
  d[low] = (d[low] as number) - carried;
  e[low] = x;
  e[high] = 0;
}

/** Plane rotation of two rows: `upper ← c·upper + s·lower`, `lower ← c·lower − s·upper`. */
export function rotateRows(
  a: Float64Array,
  upper: number,
  lower: number,
  length: number,
  cosine: number,
  sine: number,
): void {
  for (let j = 0; j < length; j++) {
    const u = a[upper + j] as number;
    const l = a[lower + j] as number;
    a[upper + j] = cosine * u + sine * l;
    a[lower + j] = cosine * l - sine * u;
  }
}

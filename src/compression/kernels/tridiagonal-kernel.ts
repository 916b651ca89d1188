import { dot } from './linear-algebra-kernel.js';

/**
 * Householder reduction of the symmetric `a[n, n]` (lower triangle read) to tridiagonal form, whose entries go to
 * `diagonal` and `offDiagonal`. Afterwards row `k` of `a` holds, right of the diagonal, the vector `v` of the `k`-th
 * reflection `I − β v vᵀ`. Returns the factors β.
 */
export function reduceToTridiagonal(
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
  let i = start;
  for (; i + 1 < n; i += 2) {
    const [upper, lower] = [i * n, (i + 1) * n];
    const v0 = v[i] as number;
    const w0 = w[i] as number;
    const v1 = v[i + 1] as number;
    const w1 = w[i + 1] as number;
    // One element too many in the upper row: above the diagonal nothing is kept there yet.
    for (let j = start; j <= i + 1; j++) {
      const vj = v[j] as number;
      const wj = w[j] as number;
      a[upper + j] = (a[upper + j] as number) - v0 * wj - w0 * vj;
      a[lower + j] = (a[lower + j] as number) - v1 * wj - w1 * vj;
    }
  }
  for (; i < n; i++) {
    const vi = v[i] as number;
    const wi = w[i] as number;
    for (let j = start; j <= i; j++)
      a[i * n + j] = (a[i * n + j] as number) - vi * (w[j] as number) - wi * (v[j] as number);
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
  let i = start;
  // Four rows at a time left of their common diagonal block share what they read and write.
  for (; i + 3 < n; i += 4) {
    timesFourRows(a, n, i, start, v, w);
    for (let row = i; row < i + 4; row++) timesRow(a, n, row, i, v, w);
  }
  for (; i < n; i++) timesRow(a, n, i, start, v, w);
}

/** Columns `from` to the diagonal of row `i`, and what mirrors them. */
function timesRow(
  a: Float64Array,
  n: number,
  i: number,
  from: number,
  v: Float64Array,
  w: Float64Array,
): void {
  const row = i * n;
  const vi = v[i] as number;
  let sum = (a[row + i] as number) * vi;
  for (let j = from; j < i; j++) {
    const value = a[row + j] as number;
    sum += value * (v[j] as number);
    w[j] = (w[j] as number) + value * vi;
  }
  w[i] = (w[i] as number) + sum;
}

/** Columns `start` to `i` of rows `i` to `i + 3`, and what mirrors them. */
function timesFourRows(
  a: Float64Array,
  n: number,
  i: number,
  start: number,
  v: Float64Array,
  w: Float64Array,
): void {
  const [row0, row1, row2, row3] = [i * n, (i + 1) * n, (i + 2) * n, (i + 3) * n];
  const v0 = v[i] as number;
  const v1 = v[i + 1] as number;
  const v2 = v[i + 2] as number;
  const v3 = v[i + 3] as number;
  let sum0 = 0;
  let sum1 = 0;
  let sum2 = 0;
  let sum3 = 0;
  for (let j = start; j < i; j++) {
    const vj = v[j] as number;
    const a0 = a[row0 + j] as number;
    const a1 = a[row1 + j] as number;
    const a2 = a[row2 + j] as number;
    const a3 = a[row3 + j] as number;
    sum0 += a0 * vj;
    sum1 += a1 * vj;
    sum2 += a2 * vj;
    sum3 += a3 * vj;
    w[j] = (w[j] as number) + (a0 * v0 + a1 * v1) + (a2 * v2 + a3 * v3);
  }
  w[i] = (w[i] as number) + sum0;
  w[i + 1] = (w[i + 1] as number) + sum1;
  w[i + 2] = (w[i + 2] as number) + sum2;
  w[i + 3] = (w[i + 3] as number) + sum3;
}

/** Applies all reflections that {@link reduceToTridiagonal} left in `a`, last one first, to `strip[n, 4]` in place. */
export function reflectStrip(strip: Float64Array, a: Float64Array, n: number, factors: Float64Array): void {
  for (let k = n - 2; k >= 0; k--) {
    const beta = factors[k] as number;
    if (beta !== 0) reflectOnce(strip, a, k * n, k + 1, n, beta);
  }
}

/** `strip ← (I − β v vᵀ) strip` for `v = a[row + start … row + n)`. */
function reflectOnce(
  strip: Float64Array,
  a: Float64Array,
  row: number,
  start: number,
  n: number,
  beta: number,
): void {
  let sum0 = 0;
  let sum1 = 0;
  let sum2 = 0;
  let sum3 = 0;
  for (let i = start; i < n; i++) {
    const factor = a[row + i] as number;
    sum0 += factor * (strip[4 * i] as number);
    sum1 += factor * (strip[4 * i + 1] as number);
    sum2 += factor * (strip[4 * i + 2] as number);
    sum3 += factor * (strip[4 * i + 3] as number);
  }
  sum0 *= beta;
  sum1 *= beta;
  sum2 *= beta;
  sum3 *= beta;
  for (let i = start; i < n; i++) {
    const factor = a[row + i] as number;
    strip[4 * i] = (strip[4 * i] as number) - factor * sum0;
    strip[4 * i + 1] = (strip[4 * i + 1] as number) - factor * sum1;
    strip[4 * i + 2] = (strip[4 * i + 2] as number) - factor * sum2;
    strip[4 * i + 3] = (strip[4 * i + 3] as number) - factor * sum3;
  }
}

/**
 * Dense linear algebra in float64. Matrices are row-major `Float64Array`s; sizes are given beside them. Loops run
 * along rows, so that memory is read in order.
 */

/** `out[m, n] = a[m, k] · b[k, n]`. `out` is the caller's and is overwritten. */
export function multiply(
  a: Float64Array,
  b: Float64Array,
  out: Float64Array,
  m: number,
  k: number,
  n: number,
): void {
  out.fill(0);
  const fours = k - (k % 4);
  // Four rows of `b` at a time, which then stay in the cache for all rows of `a`, save three of four visits to `out`.
  for (let p = 0; p < fours; p += 4)
    for (let i = 0; i < m; i++) addFourRows(a, i * k + p, b, p * n, out, i * n, n);
  for (let p = fours; p < k; p++)
    for (let i = 0; i < m; i++) addScaledRow(b, p * n, a[i * k + p] as number, out, i * n, n);
}

/** `target[to …] += Σ factors[at + r] · row r of source`, four rows of `length` elements from `from` on. */
function addFourRows(
  factors: Float64Array,
  at: number,
  source: Float64Array,
  from: number,
  target: Float64Array,
  to: number,
  length: number,
): void {
  const f0 = factors[at] as number;
  const f1 = factors[at + 1] as number;
  const f2 = factors[at + 2] as number;
  const f3 = factors[at + 3] as number;
  const [row1, row2, row3] = [from + length, from + 2 * length, from + 3 * length];
  for (let j = 0; j < length; j++)
    target[to + j] =
      (target[to + j] as number) +
      f0 * (source[from + j] as number) +
      f1 * (source[row1 + j] as number) +
      f2 * (source[row2 + j] as number) +
      f3 * (source[row3 + j] as number);
}

/** `out[k, n] = aᵀ · b` for `a[m, k]` and `b[m, n]`. `out` is the caller's and is overwritten. */
export function multiplyTransposed(
  a: Float64Array,
  b: Float64Array,
  out: Float64Array,
  m: number,
  k: number,
  n: number,
): void {
  out.fill(0);
  for (let i = 0; i < m; i++) {
    for (let p = 0; p < k; p++) {
      const factor = a[i * k + p] as number;
      if (factor !== 0) addScaledRow(b, i * n, factor, out, p * n, n);
    }
  }
}

/** `target[to …] += factor · source[from …]` over `length` elements. */
export function addScaledRow(
  source: Float64Array,
  from: number,
  factor: number,
  target: Float64Array,
  to: number,
  length: number,
): void {
  for (let j = 0; j < length; j++)
    target[to + j] = (target[to + j] as number) + factor * (source[from + j] as number);
}

/** Inner product of `length` elements; four sums side by side, since one waits for its own last addition. */
export function dot(a: Float64Array, from: number, b: Float64Array, to: number, length: number): number {
  let sum0 = 0;
  let sum1 = 0;
  let sum2 = 0;
  let sum3 = 0;
  let j = 0;
  for (; j + 4 <= length; j += 4) {
    sum0 += (a[from + j] as number) * (b[to + j] as number);
    sum1 += (a[from + j + 1] as number) * (b[to + j + 1] as number);
    sum2 += (a[from + j + 2] as number) * (b[to + j + 2] as number);
    sum3 += (a[from + j + 3] as number) * (b[to + j + 3] as number);
  }
  for (; j < length; j++) sum0 += (a[from + j] as number) * (b[to + j] as number);
  return sum0 + sum1 + (sum2 + sum3);
}

/** `[columns, rows]` copy of `a[rows, columns]`. */
export function transpose(a: Float64Array, rows: number, columns: number): Float64Array {
  const out = new Float64Array(a.length);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) out[j * rows + i] = a[i * columns + j] as number;
  return out;
}

/**
 * Cholesky factor `L` with `a = L Lᵀ`, in place: the lower triangle becomes `L`, the upper one zero.
 * Only the lower triangle of `a[n, n]` is read. Returns false where `a` is not positive definite.
 */
export function choleskyInPlace(a: Float64Array, n: number): boolean {
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      const value = (a[i * n + j] as number) - dot(a, i * n, a, j * n, j);
      if (i !== j) a[i * n + j] = value / (a[j * n + j] as number);
      else if (value > 0) a[i * n + i] = Math.sqrt(value);
      else return false;
    }
    a.fill(0, i * n + i + 1, (i + 1) * n);
  }
  return true;
}

/** Solves `L x = b` in place of `b[n, columns]`, `L[n, n]` lower triangular. */
export function solveLower(l: Float64Array, b: Float64Array, n: number, columns: number): void {
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < i; j++) {
      const factor = l[i * n + j] as number;
      if (factor !== 0) addScaledRow(b, j * columns, -factor, b, i * columns, columns);
    }
    scaleRow(b, i * columns, columns, 1 / (l[i * n + i] as number));
  }
}

/** Solves `Lᵀ x = b` in place of `b[n, columns]`, `L[n, n]` lower triangular. */
export function solveLowerTransposed(l: Float64Array, b: Float64Array, n: number, columns: number): void {
  for (let i = n - 1; i >= 0; i--) {
    scaleRow(b, i * columns, columns, 1 / (l[i * n + i] as number));
    for (let j = 0; j < i; j++) {
      const factor = l[i * n + j] as number;
      if (factor !== 0) addScaledRow(b, i * columns, -factor, b, j * columns, columns);
    }
  }
}

function scaleRow(a: Float64Array, from: number, length: number, factor: number): void {
  for (let j = from; j < from + length; j++) a[j] = (a[j] as number) * factor;
}

/** Inverse of the positive definite `a[n, n]`, which is overwritten; undefined where it is not positive definite. */
export function invertPositiveDefinite(a: Float64Array, n: number): Float64Array | undefined {
  if (!choleskyInPlace(a, n)) return undefined;
  const inverse = new Float64Array(n * n);
  for (let i = 0; i < n; i++) inverse[i * n + i] = 1;
  solveLower(a, inverse, n, n);
  solveLowerTransposed(a, inverse, n, n);
  return inverse;
}

/**
 * Adds `ridge` times the mean of the diagonal to the diagonal of `a[n, n]`, in place; a zero matrix becomes the
 * identity, on which every direction is alike.
 */
export function addRidge(a: Float64Array, n: number, ridge: number): void {
  let trace = 0;
  for (let i = 0; i < n; i++) trace += a[i * n + i] as number;
  const added = trace > 0 ? (ridge * trace) / n : 1;
  for (let i = 0; i < n; i++) a[i * n + i] = (a[i * n + i] as number) + added;
}

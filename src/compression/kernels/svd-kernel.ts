import { symmetricEigen } from './eigen-kernel.js';
import { dot, multiply, transpose } from './linear-algebra-kernel.js';

const EPSILON = 2 ** -52;
const MAX_SWEEPS = 30;

/** `a[rows, columns] = Σ values[i] · left[i]ᵀ right[i]`, with `count = min(rows, columns)`, largest value first. */
export interface Svd {
  readonly count: number;
  readonly values: Float64Array;
  /** Rows are the left singular vectors, `[count, rows]`. */
  readonly left: Float64Array;
  /** Rows are the right singular vectors, `[count, columns]`. */
  readonly right: Float64Array;
}

/**
 * Singular value decomposition. The eigenvectors of the smaller Gram matrix bring the rows close to orthogonal; one-sided
 * Jacobi rotations (Hestenes) finish, so that small values keep the accuracy that a Gram matrix loses. On the longer
 * side the vectors of values below `2⁻⁵² · longer side · values[0]` are zero. Undefined where `a` holds NaN or infinity.
 */
export function svd(a: Float64Array, rows: number, columns: number): Svd | undefined {
  if (rows > columns) {
    const flipped = svd(transpose(a, rows, columns), columns, rows);
    return flipped && { ...flipped, left: flipped.right, right: flipped.left };
  }
  const left = symmetricEigen(gramOfRows(a, rows, columns), rows)?.vectors(rows);
  if (left === undefined) return undefined;
  const right = new Float64Array(rows * columns);
  multiply(left, a, right, rows, rows, columns);
  if (!orthogonalizeRows(left, right, rows, columns)) return undefined;
  return sortedByValue(left, right, rows, columns);
}

/** `a aᵀ`, lower triangle. */
function gramOfRows(a: Float64Array, rows: number, columns: number): Float64Array {
  const gram = new Float64Array(rows * rows);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j <= i; j++) gram[i * rows + j] = dot(a, i * columns, a, j * columns, columns);
  return gram;
}

/** Rotates pairs of rows of `right` (and of `left` along) until every pair is orthogonal. */
function orthogonalizeRows(left: Float64Array, right: Float64Array, rows: number, columns: number): boolean {
  const squares = new Float64Array(rows);
  for (let sweep = 0; sweep < MAX_SWEEPS; sweep++) {
    for (let i = 0; i < rows; i++) squares[i] = dot(right, i * columns, right, i * columns, columns);
    let largest = 0;
    for (let i = 0; i < rows; i++) largest = Math.max(largest, squares[i] as number);
    if (!Number.isFinite(largest)) return false;
    // Below this length a row is rounding noise, whose direction means nothing.
    const floor = largest * (EPSILON * columns) ** 2;
    if (!sweepPairs(left, right, squares, rows, columns, floor)) return true;
  }
  return true;
}

function sweepPairs(
  left: Float64Array,
  right: Float64Array,
  squares: Float64Array,
  rows: number,
  columns: number,
  floor: number,
): boolean {
  let rotated = false;
  for (let i = 1; i < rows; i++) {
    for (let j = 0; j < i; j++) {
      const a = squares[j] as number;
      const b = squares[i] as number;
      if (a <= floor && b <= floor) continue;
      const product = dot(right, j * columns, right, i * columns, columns);
      if (Math.abs(product) <= EPSILON * columns * Math.sqrt(a * Math.max(b, floor))) continue;
      const zeta = (b - a) / (2 * product);
      const tangent = (zeta >= 0 ? 1 : -1) / (Math.abs(zeta) + Math.hypot(zeta, 1));
      const cosine = 1 / Math.hypot(tangent, 1);
      rotateRows(right, i * columns, j * columns, columns, cosine, cosine * tangent);
      rotateRows(left, i * rows, j * rows, rows, cosine, cosine * tangent);
      squares[j] = a - tangent * product;
      squares[i] = b + tangent * product;
      rotated = true;
    }
  }
  return rotated;
}

function sortedByValue(left: Float64Array, right: Float64Array, rows: number, columns: number): Svd {
  const lengths = Array.from({ length: rows }, (_, i) =>
    Math.sqrt(dot(right, i * columns, right, i * columns, columns)),
  );
  const order = lengths.map((_, i) => i).sort((i, j) => (lengths[j] as number) - (lengths[i] as number));
  const values = Float64Array.from(order, (i) => lengths[i] as number);
  const floor = EPSILON * columns * (values[0] ?? 0);
  const sortedLeft = new Float64Array(left.length);
  const sortedRight = new Float64Array(right.length);
  order.forEach((from, to) => {
    sortedLeft.set(left.subarray(from * rows, (from + 1) * rows), to * rows);
    const value = values[to] as number;
    if (value <= floor) return;
    for (let j = 0; j < columns; j++)
      sortedRight[to * columns + j] = (right[from * columns + j] as number) / value;
  });
  return { count: rows, values, left: sortedLeft, right: sortedRight };
}

/** Plane rotation of two rows: `upper ← c·upper + s·lower`, `lower ← c·lower − s·upper`. */
function rotateRows(
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

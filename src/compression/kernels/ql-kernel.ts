const EPSILON = 2 ** -52;
/** Far above the two or so iterations that an eigenvalue needs. */
const MAX_ITERATIONS = 60;

/** The plane rotations of QL steps, in their order. A step turns rows `high` down to `low`, each with the one below. */
interface Rotations {
  /** Of all rotations. */
  cosines: Float64Array;
  sines: Float64Array;
  count: number;
  /** Of each step: `[low, high, first rotation]`. */
  readonly steps: number[];
}

/** Room for the rotations of an `[n, n]` matrix; it grows where a matrix needs more. */
export function createRotations(n: number): Rotations {
  const room = n * n;
  return { cosines: new Float64Array(room), sines: new Float64Array(room), count: 0, steps: [] };
}

/**
 * Diagonalises the tridiagonal matrix of the diagonal `d` and the off-diagonal `e`, both overwritten: `d` becomes the
 * eigenvalues, `rotations` all that was turned. Returns false where there is no convergence, which only happens with
 * NaN or infinity.
 */
export function iterateQl(n: number, d: Float64Array, e: Float64Array, rotations: Rotations): boolean {
  for (let low = 0; low < n; low++) {
    for (let iteration = 0; ; iteration++) {
      const high = blockEnd(d, e, low, n);
      if (high === low) break;
      if (iteration === MAX_ITERATIONS) return false;
      makeRoom(rotations, high - low);
      qlStep(d, e, low, high, rotations);
    }
  }
  return d.every(Number.isFinite);
}

function makeRoom(rotations: Rotations, added: number): void {
  const { cosines, sines, count } = rotations;
  if (count + added <= cosines.length) return;
  const grown = (values: Float64Array): Float64Array => {
    const copy = new Float64Array(2 * (count + added));
    copy.set(values);
    return copy;
  };
  rotations.cosines = grown(cosines);
  rotations.sines = grown(sines);
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
function qlStep(d: Float64Array, e: Float64Array, low: number, high: number, rotations: Rotations): void {
  const { cosines, sines, count } = rotations;
  const half = ((d[low + 1] as number) - (d[low] as number)) / (2 * (e[low] as number));
  const root = Math.sqrt(half * half + 1);
  const shift = (d[low] as number) - (e[low] as number) / (half + (half >= 0 ? root : -root));
  let x = (d[high] as number) - shift;
  let sine = 1;
  let cosine = 1;
  let carried = 0;
  let i = high - 1;
  for (; i >= low; i--) {
    const f = sine * (e[i] as number);
    const b = cosine * (e[i] as number);
    const length = Math.hypot(f, x);
    e[i + 1] = length;
    if (length === 0) {
      // The block fell apart here; the next step sees the smaller one.
      d[i + 1] = (d[i + 1] as number) - carried;
      break;
    }
    sine = f / length;
    cosine = x / length;
    const g = (d[i + 1] as number) - carried;
    const turned = ((d[i] as number) - g) * sine + 2 * cosine * b;
    carried = sine * turned;
    d[i + 1] = g + carried;
    x = cosine * turned - b;
    cosines[count + high - 1 - i] = cosine;
    sines[count + high - 1 - i] = sine;
  }
  if (i < low) {
    d[low] = (d[low] as number) - carried;
    e[low] = x;
  }
  e[high] = 0;
  rotations.steps.push(i + 1, high, count);
  rotations.count += high - 1 - i;
}

/**
 * Takes back all rotations, last one first, on `strip[n, 4]` in place. Rows beyond `lastRow` are zero at first, so that
 * steps that only turn those are passed over.
 */
export function rotateStripBack(strip: Float64Array, rotations: Rotations, lastRow: number): void {
  const { cosines, sines, steps } = rotations;
  for (let step = steps.length - 3; step >= 0; step -= 3) {
    const low = steps[step] as number;
    if (low > lastRow) continue;
    turnRows(strip, cosines, sines, low, steps[step + 1] as number, steps[step + 2] as number);
  }
}

/** One step backwards: rows `low` to `high`; the row that two rotations share stays in registers between them. */
function turnRows(
  strip: Float64Array,
  cosines: Float64Array,
  sines: Float64Array,
  low: number,
  high: number,
  first: number,
): void {
  let x0 = strip[4 * low] as number;
  let x1 = strip[4 * low + 1] as number;
  let x2 = strip[4 * low + 2] as number;
  let x3 = strip[4 * low + 3] as number;
  for (let i = low; i < high; i++) {
    const c = cosines[first + high - 1 - i] as number;
    const s = sines[first + high - 1 - i] as number;
    const at = 4 * i;
    const y0 = strip[at + 4] as number;
    const y1 = strip[at + 5] as number;
    const y2 = strip[at + 6] as number;
    const y3 = strip[at + 7] as number;
    strip[at] = c * x0 + s * y0;
    strip[at + 1] = c * x1 + s * y1;
    strip[at + 2] = c * x2 + s * y2;
    strip[at + 3] = c * x3 + s * y3;
    x0 = c * y0 - s * x0;
    x1 = c * y1 - s * x1;
    x2 = c * y2 - s * x2;
    x3 = c * y3 - s * x3;
  }
  strip[4 * high] = x0;
  strip[4 * high + 1] = x1;
  strip[4 * high + 2] = x2;
  strip[4 * high + 3] = x3;
}

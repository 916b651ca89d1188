/** How weights are held in blocks along the inputs: `w ≈ (value − zero point) · scale`, values of 0 to `2^bits − 1`. */
export interface BlockFormat {
  readonly bits: 4 | 8;
  /** Inputs that share a scale: a power of two from 16 on. */
  readonly blockSize: number;
  /** The zero point is `2^(bits − 1)` everywhere and is not stored. */
  readonly symmetric: boolean;
}

/**
 * `W[outputs, inputs]` in blocks, in the layout of ONNX Runtime's MatMulNBits. `blocks = ⌈inputs / blockSize⌉`; two
 * 4-bit numbers share a byte, the first in its lower half. What pads the last block is zero.
 */
export interface BlockWeights {
  /** `[outputs, blocks, blockSize · bits / 8]`. */
  readonly values: Uint8Array;
  /** `[outputs, blocks]`. */
  readonly scales: Float32Array;
  /** `[outputs, ⌈blocks · bits / 8⌉]`; undefined where symmetric. */
  readonly zeroPoints: Uint8Array | undefined;
}

export function emptyBlockWeights(outputs: number, inputs: number, format: BlockFormat): BlockWeights {
  const { bits, blockSize, symmetric } = format;
  const blocks = Math.ceil(inputs / blockSize);
  return {
    values: new Uint8Array((outputs * blocks * blockSize * bits) / 8),
    scales: new Float32Array(outputs * blocks),
    zeroPoints: symmetric ? undefined : new Uint8Array(outputs * Math.ceil((blocks * bits) / 8)),
  };
}

/** A scale and a zero point, for one block after the other. */
interface BlockRange {
  scale: number;
  zeroPoint: number;
}

/** Below it a float32 scale would be too coarse a number itself. */
const MIN_SCALE = 2 ** -126;

/**
 * The range that holds `row[from, end)`. Asymmetric: from the smallest to the largest, zero among them. Symmetric: the
 * largest magnitude at one end of the numbers, `−2^(bits − 1)` or the last but one, whichever loses less.
 */
export function chooseRange(
  row: Float64Array,
  from: number,
  end: number,
  { bits, symmetric }: BlockFormat,
  range: BlockRange,
): void {
  let least = 0;
  let most = 0;
  for (let at = from; at < end; at++) {
    const value = row[at] as number;
    if (value < least) least = value;
    if (value > most) most = value;
  }
  const half = 1 << (bits - 1);
  if (symmetric) {
    range.zeroPoint = half;
    const farthest = -least > most ? least : most;
    const even = usableScale(Math.abs(farthest) / (half - 1));
    const uneven = usableScale(-farthest / half);
    range.scale = even;
    const evenError = roundingError(row, from, end, range, bits);
    range.scale = uneven;
    if (evenError <= roundingError(row, from, end, range, bits)) range.scale = even;
    return;
  }
  range.scale = usableScale((most - least) / (2 * half - 1));
  range.zeroPoint = Math.min(2 * half - 1, Math.round(-least / range.scale));
}

/** As float32, in which it is stored; 1 for a block of zeros. */
function usableScale(scale: number): number {
  return Math.abs(scale) >= MIN_SCALE ? Math.fround(scale) : 1;
}

function roundingError(
  row: Float64Array,
  from: number,
  end: number,
  range: BlockRange,
  bits: number,
): number {
  let error = 0;
  for (let at = from; at < end; at++) {
    const exact = row[at] as number;
    const difference = (nearest(exact, range, bits) - range.zeroPoint) * range.scale - exact;
    error += difference * difference;
  }
  return error;
}

/** The number of 0 to `2^bits − 1` that stands nearest for a weight. */
export function nearest(weight: number, { scale, zeroPoint }: BlockRange, bits: number): number {
  const value = Math.round(weight / scale) + zeroPoint;
  return value < 0 ? 0 : Math.min(value, (1 << bits) - 1);
}

/** Writes the scale and the zero point of a block. */
export function storeRange(
  target: BlockWeights,
  output: number,
  block: number,
  inputs: number,
  { bits, blockSize }: BlockFormat,
  { scale, zeroPoint }: BlockRange,
): void {
  const blocks = Math.ceil(inputs / blockSize);
  target.scales[output * blocks + block] = scale;
  if (target.zeroPoints !== undefined)
    pack(target.zeroPoints, output * Math.ceil((blocks * bits) / 8), block, bits, zeroPoint);
}

/** Writes the number that stands for the weight of `output` and `input`, into a place that was zero. */
export function storeValue(
  target: BlockWeights,
  output: number,
  input: number,
  inputs: number,
  { bits, blockSize }: BlockFormat,
  value: number,
): void {
  const rowBytes = (Math.ceil(inputs / blockSize) * blockSize * bits) / 8;
  pack(target.values, output * rowBytes, input, bits, value);
}

function pack(bytes: Uint8Array, from: number, index: number, bits: number, value: number): void {
  if (bits === 8) bytes[from + index] = value;
  else {
    const at = from + (index >> 1);
    bytes[at] = (bytes[at] as number) | (value << (4 * (index & 1)));
  }
}

/**
 * Rounds a row of weights, one output's, each to the nearest number of its block, and overwrites the row with what the
 * numbers stand for.
 */
function roundRow(
  row: Float64Array,
  output: number,
  format: BlockFormat,
  target: BlockWeights,
  range: BlockRange,
): void {
  const inputs = row.length;
  const { bits, blockSize } = format;
  for (let block = 0; block * blockSize < inputs; block++) {
    const from = block * blockSize;
    const end = Math.min(inputs, from + blockSize);
    chooseRange(row, from, end, format, range);
    storeRange(target, output, block, inputs, format, range);
    for (let at = from; at < end; at++) {
      const value = nearest(row[at] as number, range, bits);
      storeValue(target, output, at, inputs, format, value);
      row[at] = (value - range.zeroPoint) * range.scale;
    }
  }
}

/** Rows that are copied at once from weights that lie by input: as many as make up for reading across. */
const STRIPE = 32;

/** A weight matrix as it is stored: `[inputs, outputs]`, or `[outputs, inputs]` where transposed. Only read. */
export interface StoredMatrix {
  readonly weight: Float32Array;
  readonly inputs: number;
  readonly outputs: number;
  readonly transposed: boolean;
}

/**
 * Calls `use` with some outputs' weights after the other, `rows[count, inputs]` from output `start` on, in float64. The
 * callee may overwrite them.
 */
export function eachStripe(
  { weight, inputs, outputs, transposed }: StoredMatrix,
  use: (rows: Float64Array, start: number, count: number) => void,
): void {
  const rows = new Float64Array(STRIPE * inputs);
  for (let start = 0; start < outputs; start += STRIPE) {
    const count = Math.min(STRIPE, outputs - start);
    if (transposed) rows.set(weight.subarray(start * inputs, (start + count) * inputs));
    else turn(weight, inputs, outputs, start, count, rows);
    use(rows.subarray(0, count * inputs), start, count);
  }
}

/** Inputs that are written at once: one cache line of float64. */
const LINE = 8;

/** `rows[o, i] = weight[i, start + o]`. */
function turn(
  weight: Float32Array,
  inputs: number,
  outputs: number,
  start: number,
  count: number,
  rows: Float64Array,
): void {
  for (let from = 0; from < inputs; from += LINE) {
    const end = Math.min(inputs, from + LINE);
    for (let o = 0; o < count; o++)
      for (let i = from; i < end; i++) rows[o * inputs + i] = weight[i * outputs + start + o] as number;
  }
}

/**
 * Rounds weights to the nearest numbers of their blocks. Answers the error as the root mean square over that of the
 * weights, which is not finite where they are not.
 */
export function roundToBlocks(
  matrix: StoredMatrix,
  format: BlockFormat,
): { weights: BlockWeights; relativeError: number } {
  const { inputs, outputs } = matrix;
  const weights = emptyBlockWeights(outputs, inputs, format);
  const range = { scale: 1, zeroPoint: 0 };
  const exact = new Float64Array(STRIPE * inputs);
  let error = 0;
  let total = 0;
  eachStripe(matrix, (rows, start, count) => {
    exact.set(rows);
    for (let o = 0; o < count; o++)
      roundRow(rows.subarray(o * inputs, (o + 1) * inputs), start + o, format, weights, range);
    for (let i = 0; i < rows.length; i++) {
      error += ((rows[i] as number) - (exact[i] as number)) ** 2;
      total += (exact[i] as number) ** 2;
    }
  });
  return { weights, relativeError: total === 0 ? 0 : Math.sqrt(error / total) };
}

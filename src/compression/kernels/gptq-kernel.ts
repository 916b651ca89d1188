import {
  chooseRange,
  eachStripe,
  emptyBlockWeights,
  nearest,
  storeRange,
  storeValue,
} from './block-kernel.js';
import type { BlockFormat, BlockWeights, StoredMatrix } from './block-kernel.js';
import { choleskyInPlace, dot, multiply, solveLower } from './linear-algebra-kernel.js';

/** Share of the mean of the diagonal that is added to it, as Frantar et al. do. */
const DAMPING = 0.01;
/** Inputs after which the errors are passed on to all later ones at once. */
const LAZY_INPUTS = 128;
/** Outputs that go through the matrix together, so that its rows are read from the cache. */
const TILE = 32;

/** What the loops work on. */
interface Work {
  readonly inputs: number;
  readonly format: BlockFormat;
  readonly target: BlockWeights;
  /** `[outputs, inputs]`: rounded, or refitted and to be rounded. */
  readonly weight: Float64Array;
  /** `U[inputs, inputs]`, upper triangular. */
  readonly factor: Float64Array;
  /** `(weight − rounded) / U[k, k]` of the current inputs, `[TILE, step]`. */
  readonly errors: Float64Array;
  readonly step: number;
}

/**
 * GPTQ (Frantar, Ashkboos, Hoefler and Alistarh 2022): rounds the weights of one input after the other, and each time
 * refits those of later inputs, so that the outputs on the rows behind `gram[inputs, inputs] = Xᵀ X` change least.
 * `gram` is only read. The error is the root mean square of what changed of these outputs over that of the outputs.
 * Undefined where weights or gram are not finite.
 */
export function compensatedBlocks(
  matrix: StoredMatrix,
  gram: Float64Array,
  format: BlockFormat,
): { weights: BlockWeights; relativeError: number } | undefined {
  const { inputs, outputs } = matrix;
  const damping = dampingOf(gram, inputs);
  const factor = factorOfInverse(gram, damping, inputs);
  if (factor === undefined) return undefined;
  const weight = new Float64Array(outputs * inputs);
  eachStripe(matrix, (rows, start) => {
    weight.set(rows, start * inputs);
  });
  const target = emptyBlockWeights(outputs, inputs, format);
  // Whole blocks, so that a block's range is chosen when its weights are refitted for all inputs before it.
  const step = format.blockSize * Math.ceil(LAZY_INPUTS / format.blockSize);
  const work = { inputs, format, target, weight, factor, errors: new Float64Array(TILE * step), step };
  let loss = 0;
  for (let first = 0; first < outputs; first += TILE) {
    const last = Math.min(outputs, first + TILE);
    for (let from = 0; from < inputs; from += step) {
      const end = Math.min(inputs, from + step);
      for (let output = first; output < last; output++)
        loss += roundInputs(work, output, from, end, (output - first) * step);
      passOn(work, first, last, from, end);
    }
  }
  const relativeError = relativeOutputError(matrix, weight, gram, damping, loss);
  return Number.isFinite(relativeError) ? { weights: target, relativeError } : undefined;
}

/** What is added to the diagonal; for a matrix of zeros all inputs are alike. */
function dampingOf(gram: Float64Array, n: number): number {
  let trace = 0;
  for (let i = 0; i < n; i++) trace += gram[i * n + i] as number;
  return trace === 0 ? 1 : (DAMPING * trace) / n;
}

/** Upper triangular `U` with `Uᵀ U = (gram + damping)⁻¹`, by the Cholesky factor of the matrix read from its end. */
function factorOfInverse(gram: Float64Array, damping: number, n: number): Float64Array | undefined {
  const reversed = gram.slice().reverse();
  for (let i = 0; i < n; i++) reversed[i * n + i] = (reversed[i * n + i] as number) + damping;
  if (!choleskyInPlace(reversed, n)) return undefined;
  const inverse = new Float64Array(n * n);
  for (let i = 0; i < n; i++) inverse[i * n + i] = 1;
  solveLower(reversed, inverse, n, n);
  return inverse.reverse();
}

/**
 * Rounds an output's weights of inputs `[from, end)`, and refits those among them that come later. Answers what this adds
 * to `D (gram + damping) Dᵀ`, the squared change of the outputs with its damping.
 */
function roundInputs(work: Work, output: number, from: number, end: number, errorsFrom: number): number {
  const { weight, factor, inputs, format, target, errors } = work;
  const range = { scale: 1, zeroPoint: 0 };
  const row = output * inputs;
  let loss = 0;
  for (let k = from; k < end; k++) {
    if (k % format.blockSize === 0) {
      chooseRange(weight, row + k, row + Math.min(inputs, k + format.blockSize), format, range);
      storeRange(target, output, k / format.blockSize, inputs, format, range);
    }
    const exact = weight[row + k] as number;
    const value = nearest(exact, range, format.bits);
    storeValue(target, output, k, inputs, format, value);
    const rounded = (value - range.zeroPoint) * range.scale;
    const error = (exact - rounded) / (factor[k * inputs + k] as number);
    errors[errorsFrom + k - from] = error;
    loss += error * error;
    weight[row + k] = rounded;
    for (let j = k + 1; j < end; j++)
      weight[row + j] = (weight[row + j] as number) - error * (factor[k * inputs + j] as number);
  }
  return loss;
}

/** Refits the weights of inputs from `end` on for the errors of inputs `[from, end)`, of outputs `[first, last)`. */
function passOn(work: Work, first: number, last: number, from: number, end: number): void {
  if (end === work.inputs) return;
  // Only the last inputs are not a whole number of blocks, and there is nothing after those.
  for (let k = from; k < end; k += 4)
    for (let output = first; output < last; output++)
      subtractFour(work, k, end, output, (output - first) * work.step + k - from);
}

/** `weight[output, end…] −= Σ errors[at + r] · factor[k + r, end…]` for four rows, which saves three visits of four. */
function subtractFour(work: Work, k: number, end: number, output: number, at: number): void {
  const { weight, factor, inputs, errors } = work;
  const e0 = errors[at] as number;
  const e1 = errors[at + 1] as number;
  const e2 = errors[at + 2] as number;
  const e3 = errors[at + 3] as number;
  const row0 = k * inputs;
  const [row1, row2, row3] = [row0 + inputs, row0 + 2 * inputs, row0 + 3 * inputs];
  const row = output * inputs;
  for (let j = end; j < inputs; j++)
    weight[row + j] =
      (weight[row + j] as number) -
      e0 * (factor[row0 + j] as number) -
      e1 * (factor[row1 + j] as number) -
      e2 * (factor[row2 + j] as number) -
      e3 * (factor[row3 + j] as number);
}

/**
 * `sqrt(tr(D G Dᵀ) / tr(W G Wᵀ))` with `D = after − W`, `after[outputs, inputs]`; 0 where there are no outputs. The loss is
 * `tr(D (G + damping) Dᵀ)`, of which the damping's part is taken away again.
 */
function relativeOutputError(
  matrix: StoredMatrix,
  after: Float64Array,
  gram: Float64Array,
  damping: number,
  loss: number,
): number {
  const { inputs } = matrix;
  let change = 0;
  let total = 0;
  eachStripe(matrix, (rows, start, count) => {
    const products = new Float64Array(rows.length);
    multiply(rows, gram, products, count, inputs, inputs);
    total += dot(rows, 0, products, 0, rows.length);
    for (let i = 0; i < rows.length; i++)
      change += ((after[start * inputs + i] as number) - (rows[i] as number)) ** 2;
  });
  return total === 0 ? 0 : Math.sqrt(Math.max(0, loss - damping * change) / total);
}

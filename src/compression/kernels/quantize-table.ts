import { elementCount, float32, must } from '../../core/index.js';
import type { DataType, Tensor } from '../../core/index.js';
import { float16ToFloat32 } from '../../onnx/index.js';
import { halfBits, halfValue } from './half-kernel.js';
import {
  addRowErrors,
  columnMoments,
  encodeRow,
  fitLeastSquares,
  fitRange,
  fitSymmetric,
  packHalves,
  standardizeRow,
} from './quantize-rows-kernel.js';
import type { RowFit } from './quantize-rows-kernel.js';

/** How a table's rows are stored. */
export interface RowFormat {
  readonly bits: 8 | 4;
  /** One scale a row, and 0 stays 0; else a scale and an offset a row. */
  readonly symmetric: boolean;
}

/**
 * A table in few bits: element `x ≈ (code · scale[row] + offset[row]) · deviation[column] + mean[column]`. Parts that
 * are absent count as offset 0, deviation 1 and mean 0.
 */
export interface QuantizedTable {
  /** int8 `[rows, ...]`, uint8 `[rows, ...]`, or two 4-bit codes a uint8 along the last axis, first halves low. */
  readonly codes: Tensor;
  /**
   * float16 `[rows, 1, ...]`, to be multiplied by {@link factor}; `[rows, 2]` where each half of a row has its own, the
   * first for the low halves of the bytes.
   */
  readonly scales: Tensor;
  readonly offsets?: Tensor;
  /** A power of two that brings the scales into the range of float16. */
  readonly factor: number;
  /** float32, the shape of a row. */
  readonly columns?: { readonly means: Tensor; readonly deviations: Tensor };
  /** Root mean square of the error over that of the table. */
  readonly relativeError: number;
}

/**
 * Width from which each half of a row in 4 bits has a scale and an offset of its own: 4 bytes that take a third of the
 * error away from tables whose columns are of several kinds.
 */
const HALVES_FROM = 96;
/** Rows that are quantized both ways to see whether the columns should be standardized first. */
const SAMPLE_ROWS = 512;
/** Errors of a column, relative to its deviation, that nobody needs to mend. */
const HARMLESS_ERROR = 0.03;
/** Least share of the error that standardizing must take away to be worth its two operations a lookup. */
const WORTH = 0.2;
/** Range of the largest value in which float16 scales keep their precision without a factor. */
const LARGEST_PLAIN = [2 ** -4, 2 ** 10] as const;
const PROGRESS_ROWS = 1 << 16;

interface Source {
  readonly values: Float32Array;
  readonly rows: number;
  readonly width: number;
  /** Length of the last axis. */
  readonly inner: number;
  readonly largest: number;
  readonly means: Float64Array;
  readonly deviations: Float64Array;
}

/**
 * Quantizes a table `[rows, ...]` row by row. Where columns differ so much in size that one scale a row would lose the
 * small ones, they are standardized first. Answers undefined where a value is not finite.
 * @param table float32 or float16; not changed.
 */
export function quantizeTable(
  table: Tensor,
  format: RowFormat,
  progress: (rows: number) => void = () => undefined,
): QuantizedTable | undefined {
  const source = sourceOf(table);
  if (!Number.isFinite(source.largest)) return undefined;
  const standardized = shouldStandardize(source, format);
  const writer = new RowWriter(source, format, standardized, source.rows);
  for (let row = 0; row < source.rows; row++) {
    writer.write(row);
    if (row % PROGRESS_ROWS === PROGRESS_ROWS - 1) progress(row + 1);
  }
  return writer.table(table.dims);
}

function sourceOf({ dtype, dims, data }: Tensor): Source {
  const values = dtype === 'float16' ? float16ToFloat32(data as Uint16Array) : (data as Float32Array);
  const [rows = 0, ...shape] = dims;
  const width = elementCount(shape);
  const means = new Float64Array(width);
  const deviations = new Float64Array(width);
  const largest = columnMoments(values, rows, width, means, deviations);
  return { values, rows, width, inner: shape.at(-1) ?? 1, largest, means, deviations };
}

function shouldStandardize(source: Source, format: RowFormat): boolean {
  const plain = sampleError(source, format, false);
  return plain > HARMLESS_ERROR && sampleError(source, format, true) < (1 - WORTH) * plain;
}

/** Root mean square over evenly spaced rows and all columns of the error relative to the column's deviation. */
function sampleError(source: Source, format: RowFormat, standardized: boolean): number {
  const count = Math.min(SAMPLE_ROWS, source.rows);
  const writer = new RowWriter(source, format, standardized, count);
  for (let i = 0; i < count; i++) writer.write(Math.floor((i * source.rows) / count));
  const varying = source.deviations.filter((deviation) => deviation > 0);
  const shares = writer.columnErrors.map((error, column) => {
    const deviation = source.deviations[column] ?? 0;
    return deviation === 0 ? 0 : error / (count * deviation ** 2);
  });
  return Math.sqrt(shares.reduce((sum, share) => sum + share, 0) / Math.max(1, varying.length));
}

/** Columns of a row that share a scale and an offset; the arrays are parts of the row's. */
interface RowPart {
  readonly start: number;
  readonly fit: RowFit;
  readonly values: Float64Array;
  readonly codes: Int16Array;
  readonly means: Float64Array;
  readonly deviations: Float64Array;
  readonly errors: Float64Array;
}

/** Quantizes rows one after the other into arrays of its own. */
class RowWriter {
  /** Squared error of each column over the rows written. */
  readonly columnErrors: Float64Array;
  readonly #source: Source;
  readonly #format: RowFormat;
  readonly #means: Float64Array;
  readonly #deviations: Float64Array;
  readonly #standardized: boolean;
  readonly #factor: number;
  readonly #rowBytes: number;
  readonly #codes: Int8Array | Uint8Array;
  readonly #scales: Uint16Array;
  readonly #offsets: Uint16Array;
  readonly #row: Float64Array;
  readonly #rowCodes: Int16Array;
  /** The row in the parts that have a fit of their own: one, or two halves. */
  readonly #parts: readonly RowPart[];
  #written = 0;
  #total = 0;

  constructor(source: Source, format: RowFormat, standardized: boolean, rows: number) {
    const { width, inner, means, deviations } = source;
    this.#source = source;
    this.#format = format;
    this.#standardized = standardized;
    this.#means = standardized ? means : new Float64Array(width);
    this.#deviations = standardized ? deviations : new Float64Array(width).fill(1);
    this.#factor = factorOf(largestValue(source, standardized));
    this.#rowBytes = format.bits === 8 ? width : (width / inner) * Math.ceil(inner / 2);
    const bytes = rows * this.#rowBytes;
    this.#codes = format.symmetric ? new Int8Array(bytes) : new Uint8Array(bytes);
    this.#row = new Float64Array(width);
    this.#rowCodes = new Int16Array(width);
    this.columnErrors = new Float64Array(width);
    const cuts = format.bits === 4 && width === inner && width >= HALVES_FROM ? [Math.ceil(width / 2)] : [];
    this.#parts = [0, ...cuts].map((start, part) => this.#partOf(start, cuts[part] ?? width));
    this.#scales = new Uint16Array(rows * this.#parts.length);
    this.#offsets = new Uint16Array(format.symmetric ? 0 : this.#scales.length);
  }

  #partOf(start: number, end: number): RowPart {
    const cut = <A extends { subarray(from: number, to: number): A }>(array: A): A =>
      array.subarray(start, end);
    return {
      start,
      fit: new Float64Array(2),
      values: cut(this.#row),
      codes: cut(this.#rowCodes),
      means: cut(this.#means),
      deviations: cut(this.#deviations),
      errors: cut(this.columnErrors),
    };
  }

  /** Quantizes row `row` of the table into the next one here. */
  write(row: number): void {
    const { values, width, inner } = this.#source;
    const at = this.#written++;
    standardizeRow(values, row * width, this.#means, this.#deviations, this.#row);
    const { bits, symmetric } = this.#format;
    const levels = 2 ** bits - 1;
    for (const [index, part] of this.#parts.entries()) {
      this.#chooseFit(part, at * this.#parts.length + index);
      encodeRow(part.values, part.fit, symmetric ? -127 : 0, symmetric ? 127 : levels, part.codes);
      const { start, codes, fit, means, deviations, errors } = part;
      this.#total += addRowErrors(values, row * width + start, codes, fit, means, deviations, errors);
    }
    if (bits === 8) this.#codes.set(this.#rowCodes, at * width);
    else packHalves(this.#rowCodes, inner, this.#codes as Uint8Array, at * this.#rowBytes);
  }

  table(dims: readonly number[]): QuantizedTable {
    const [rows = 0, ...shape] = dims;
    const { bits, symmetric } = this.#format;
    const rowShape = bits === 8 ? shape : [...shape.slice(0, -1), Math.ceil(this.#source.inner / 2)];
    const perRow = [rows, ...shape.map((_, axis) => (axis === shape.length - 1 ? this.#parts.length : 1))];
    const error = this.columnErrors.reduce((sum, each) => sum + each, 0);
    const columns = {
      means: float32(Float32Array.from(this.#means), shape),
      deviations: float32(Float32Array.from(this.#deviations), shape),
    };
    return {
      codes: { dtype: symmetric ? 'int8' : 'uint8', dims: [rows, ...rowShape], data: this.#codes },
      scales: half(this.#scales, perRow),
      ...(symmetric ? {} : { offsets: half(this.#offsets, perRow) }),
      factor: this.#factor,
      ...(this.#standardized ? { columns } : {}),
      relativeError: this.#total === 0 ? 0 : Math.sqrt(error / this.#total),
    };
  }

  /** Scale and offset of a part of the current row, as they come back from float16, so that the codes fit what is stored. */
  #chooseFit({ values, fit }: RowPart, at: number): void {
    const { bits, symmetric } = this.#format;
    if (symmetric) fitSymmetric(values, 127, fit);
    else if (bits === 8) fitRange(values, 255, fit);
    else fitLeastSquares(values, 15, fit);
    const scale = halfBits((fit[0] ?? 0) / this.#factor);
    this.#scales[at] = scale;
    fit[0] = halfValue(scale) * this.#factor;
    if (symmetric) return;
    const offset = halfBits((fit[1] ?? 0) / this.#factor);
    this.#offsets[at] = offset;
    fit[1] = halfValue(offset) * this.#factor;
  }
}

/** Largest absolute value that a row can have. */
function largestValue({ largest, means, deviations }: Source, standardized: boolean): number {
  if (!standardized) return largest;
  const bounds = Array.from(deviations, (deviation, column) =>
    deviation === 0 ? 0 : (largest + Math.abs(must(means[column], 'mean'))) / deviation,
  );
  return bounds.reduce((most, bound) => Math.max(most, bound), 0);
}

function factorOf(largest: number): number {
  const [low, high] = LARGEST_PLAIN;
  return largest === 0 || (largest >= low && largest <= high) ? 1 : 2 ** Math.floor(Math.log2(largest));
}

function half(data: Uint16Array, dims: readonly number[]): Tensor {
  const dtype: DataType = 'float16';
  return { dtype, dims, data };
}

import type { DataType, TypedArray } from '../../core/index.js';

/** A cell of a table: a number, a text, or nested lists of equal length, row-major. */
export interface Cell {
  readonly shape: readonly number[];
  readonly values: readonly unknown[];
}

/** Takes lists apart; the answer is the reason where it is no tensor. A text that holds JSON is what it holds. */
export function cellOf(value: unknown, dtype: DataType): Cell | string {
  const parsed = typeof value === 'string' && dtype !== 'string' ? parseJson(value) : value;
  const values: unknown[] = [];
  const shape = shapeOf(parsed, values);
  if (shape === undefined) return 'its lists have different lengths';
  return values.some((each) => each === null || each === undefined) ? 'it is null' : { shape, values };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** The lengths of nested lists, whose elements go to `values`; undefined where they differ. */
function shapeOf(value: unknown, values: unknown[]): readonly number[] | undefined {
  if (!Array.isArray(value)) {
    values.push(value);
    return [];
  }
  const inner = value.map((each: unknown) => shapeOf(each, values));
  const [first] = inner;
  if (value.length === 0) return [0];
  const same = inner.every((shape) => shape?.join() === first?.join());
  return same && first !== undefined ? [value.length, ...first] : undefined;
}

type IntegerType = 'int8' | 'uint8' | 'int16' | 'uint16' | 'int32' | 'uint32' | 'int64' | 'uint64';

const INTEGERS: Readonly<Record<IntegerType, readonly [bigint, bigint]>> = {
  int8: [-(2n ** 7n), 2n ** 7n - 1n],
  uint8: [0n, 2n ** 8n - 1n],
  int16: [-(2n ** 15n), 2n ** 15n - 1n],
  uint16: [0n, 2n ** 16n - 1n],
  int32: [-(2n ** 31n), 2n ** 31n - 1n],
  uint32: [0n, 2n ** 32n - 1n],
  int64: [-(2n ** 63n), 2n ** 63n - 1n],
  uint64: [0n, 2n ** 64n - 1n],
};

/** What an element must be, in words; undefined for types that no table holds. */
export function allowedValues(dtype: DataType): string | undefined {
  if (dtype === 'float32' || dtype === 'float64') return 'finite numbers';
  if (dtype === 'bool') return 'true and false, or 1 and 0';
  if (dtype === 'string') return 'texts';
  return isInteger(dtype) ? `whole numbers from ${INTEGERS[dtype].join(' to ')}` : undefined;
}

function isInteger(dtype: DataType): dtype is IntegerType {
  return Object.hasOwn(INTEGERS, dtype);
}

/** Whether an element is one of {@link allowedValues}. */
export function fits(value: unknown, dtype: DataType): boolean {
  if (dtype === 'string') return typeof value === 'string';
  if (dtype === 'bool') return typeof value === 'boolean' || value === 0 || value === 1;
  const isNumber = typeof value === 'bigint' || (typeof value === 'number' && Number.isFinite(value));
  if (!isNumber || !isInteger(dtype)) return isNumber;
  if (typeof value === 'number' && !Number.isInteger(value)) return false;
  const [least, most] = INTEGERS[dtype];
  return value >= least && value <= most;
}

/** Elements that fit as a tensor's data. */
export function dataOf(values: readonly unknown[], dtype: DataType): TypedArray | readonly string[] {
  switch (dtype) {
    case 'string':
      return values as readonly string[];
    case 'int64':
      return BigInt64Array.from(values as readonly number[], BigInt);
    case 'uint64':
      return BigUint64Array.from(values as readonly number[], BigInt);
    default:
      return numbersOf(values.map(Number), dtype);
  }
}

function numbersOf(values: readonly number[], dtype: DataType): TypedArray {
  switch (dtype) {
    case 'int8':
      return Int8Array.from(values);
    case 'int16':
      return Int16Array.from(values);
    case 'uint16':
      return Uint16Array.from(values);
    case 'int32':
      return Int32Array.from(values);
    case 'uint32':
      return Uint32Array.from(values);
    case 'float64':
      return Float64Array.from(values);
    case 'bool':
    case 'uint8':
      return Uint8Array.from(values);
    default:
      return Float32Array.from(values);
  }
}

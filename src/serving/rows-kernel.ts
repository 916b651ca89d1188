/** Typed arrays that the inputs of a model are made of. */
export type Values = Float32Array | Float64Array | Int32Array | BigInt64Array;

/** Writes `rows[from … to) + offset` into `values` from `at` on. */
export function writeRows(
  values: Values,
  at: number,
  rows: ArrayLike<number>,
  from: number,
  to: number,
  offset: number,
): void {
  if (values instanceof BigInt64Array) writeWords(wordsOf(values), at, rows, from, to, offset);
  else
    for (let index = from; index < to; index++) values[at + index - from] = (rows[index] as number) + offset;
}

/** Sets `values[from … to)` to a whole number of 32 bits. */
export function fillRows(values: Values, from: number, to: number, value: number): void {
  if (values instanceof BigInt64Array) values.fill(BigInt(value), from, to);
  else values.fill(value, from, to);
}

/** The two 32-bit halves of each element, the lower one first: every machine that ONNX Runtime serves is little-endian. */
function wordsOf(values: BigInt64Array): Int32Array {
  return new Int32Array(values.buffer, values.byteOffset, values.length * 2);
}

/** A BigInt for each element would be an object for each; rows fit 32 bits, so the upper half is the sign alone. */
function writeWords(
  words: Int32Array,
  at: number,
  rows: ArrayLike<number>,
  from: number,
  to: number,
  offset: number,
): void {
  let word = at * 2;
  for (let index = from; index < to; index++) {
    const value = (rows[index] as number) + offset;
    words[word++] = value;
    words[word++] = value >> 31;
  }
}

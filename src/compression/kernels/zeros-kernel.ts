/** What a sparse encoding of a tensor needs to know, carried from one piece of the tensor to the next. */
export interface ZeroCount {
  /** Elements whose bits are not all zero. */
  stored: number;
  /** Zeros that an index of gaps must store, because it cannot count that many. */
  fillers: number;
  /** Zeros since the last element that is not zero. */
  gap: number;
}

/**
 * Counts the elements of one more piece of a tensor. A gap is the number of zeros before a stored element; one of more
 * than `maxGap` is cut by storing a zero. Negative zero has a bit set and is stored, so that nothing is lost.
 */
export function countZeros(
  elements: Uint8Array | Uint16Array | Uint32Array | BigUint64Array,
  maxGap: number,
  count: ZeroCount,
): void {
  let { stored, fillers, gap } = count;
  for (const element of elements) {
    // The BigInt zero is falsy as the number is.
    if (element) {
      stored++;
      fillers += Math.floor(gap / (maxGap + 1));
      gap = 0;
    } else gap++;
  }
  count.stored = stored;
  count.fillers = fillers;
  count.gap = gap;
}

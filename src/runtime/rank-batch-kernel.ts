/** Writes `bytes` `times` times behind each other into `out` from `offset`; answers where they end. */
export function repeatInto(out: Uint8Array, offset: number, bytes: Uint8Array, times: number): number {
  const end = offset + bytes.byteLength * times;
  if (end === offset) return end;
  out.set(bytes, offset);
  // What is written doubles with each copy, so a hundred rows take seven.
  for (let filled = bytes.byteLength; offset + filled < end; filled *= 2)
    out.copyWithin(offset + filled, offset, Math.min(offset + filled, end - filled));
  return end;
}

/** Whether `values[start … end)` holds no NaN and no infinity. */
export function allFinite(values: Float32Array, start: number, end: number): boolean {
  // x - x is 0 for finite x and NaN for the others, and NaN stays NaN in a sum.
  let sum = 0;
  for (let index = start; index < end; index++) {
    const value = values[index] as number;
    sum += value - value;
  }
  return sum === 0;
}

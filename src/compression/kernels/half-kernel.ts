const single = new Float32Array(1);
const word = new Uint32Array(single.buffer);

/** Bit pattern of the IEEE 754 half float nearest to a number, ties to even; infinite above 65519. */
export function halfBits(value: number): number {
  single[0] = value;
  const bits = word[0] as number;
  const sign = (bits >>> 16) & 0x8000;
  const fraction = bits & 0x7fffff;
  const exponent = ((bits >>> 23) & 0xff) - 112;
  if (exponent === 143) return sign | 0x7c00 | (fraction === 0 ? 0 : 0x200);
  if (exponent >= 31) return sign | 0x7c00;
  if (exponent < -10) return sign;
  // Below the normal range the leading one is stored, and fewer bits of the fraction are.
  if (exponent <= 0) return sign | shiftedRight(fraction | 0x800000, 14 - exponent);
  return sign | shiftedRight((exponent << 23) | fraction, 13);
}

/** The number that the bit pattern of a half float stands for. */
export function halfValue(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** `bits` without its last `shift` bits, rounded to the nearest, ties to even. */
function shiftedRight(bits: number, shift: number): number {
  const kept = bits >>> shift;
  const rest = bits & ((1 << shift) - 1);
  const middle = 1 << (shift - 1);
  return rest > middle || (rest === middle && (kept & 1) === 1) ? kept + 1 : kept;
}

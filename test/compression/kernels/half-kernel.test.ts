import fc from 'fast-check';
import { expect, it } from 'vitest';
import { halfBits, halfValue } from '../../../src/compression/kernels/half-kernel.js';
import { float16ToFloat32 } from '../../../src/onnx/index.js';

const ALL = Uint16Array.from({ length: 1 << 16 }, (_, bits) => bits);
const VALUES = float16ToFloat32(ALL);

it('reads every half float as the model codec does, and writes it back', () => {
  for (const bits of ALL) {
    const value = halfValue(bits);
    if (!Object.is(value, VALUES[bits])) expect.fail(`${bits}: ${value} ≠ ${VALUES[bits]}`);
    if (!Number.isNaN(value) && halfBits(value) !== bits)
      expect.fail(`${value}: ${halfBits(value)} ≠ ${bits}`);
  }
});

it('rounds to the nearest, ties to even (IEEE 754)', () => {
  // 1 + 2⁻¹¹ lies between 1 and 1 + 2⁻¹⁰, of which 1 is even.
  expect(halfBits(1 + 2 ** -11)).toBe(0x3c00);
  expect(halfBits(1 + 3 * 2 ** -11)).toBe(0x3c02);
  expect(halfBits(65519)).toBe(0x7bff);
  expect(halfBits(-65520)).toBe(0xfc00);
  expect([2 ** -24, 2 ** -25, 1.5 * 2 ** -25, 1e-9].map(halfBits)).toEqual([1, 0, 1, 0]);
  expect(Number.isNaN(halfValue(halfBits(NaN)))).toBe(true);
  const finite = fc.float({ noNaN: true, min: -65504, max: 65504 });
  fc.assert(
    fc.property(finite, (value) => {
      const bits = halfBits(value);
      const error = Math.abs(halfValue(bits) - value);
      for (const near of [bits - 1, bits + 1].filter((each) => Number.isFinite(halfValue(each & 0xffff))))
        expect(error).toBeLessThanOrEqual(Math.abs(halfValue(near & 0xffff) - value));
    }),
  );
});

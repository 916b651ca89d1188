import type { BlockFormat, BlockWeights } from '../../src/compression/kernels/block-kernel.js';

/**
 * What weights in blocks stand for, `[outputs, inputs]`, by the text of the MatMulNBits operator: the reference that
 * the kernels are held to.
 */
export function dequantized(
  { values, scales, zeroPoints }: BlockWeights,
  { bits, blockSize }: Pick<BlockFormat, 'bits' | 'blockSize'>,
  outputs: number,
  inputs: number,
): number[][] {
  const blocks = Math.ceil(inputs / blockSize);
  const number = (bytes: Uint8Array, row: number, index: number): number => {
    const rowBytes = bytes.length / outputs;
    if (bits === 8) return bytes[row * rowBytes + index] ?? NaN;
    const byte = bytes[row * rowBytes + Math.floor(index / 2)] ?? NaN;
    return index % 2 === 0 ? byte % 16 : Math.floor(byte / 16);
  };
  return Array.from({ length: outputs }, (_, output) =>
    Array.from({ length: inputs }, (__, input) => {
      const block = Math.floor(input / blockSize);
      const zero = zeroPoints === undefined ? 2 ** (bits - 1) : number(zeroPoints, output, block);
      return (number(values, output, input) - zero) * (scales[output * blocks + block] ?? NaN);
    }),
  );
}

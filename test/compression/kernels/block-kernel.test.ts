import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { roundToBlocks } from '../../../src/compression/kernels/block-kernel.js';
import type { BlockFormat } from '../../../src/compression/kernels/block-kernel.js';
import { dequantized } from '../block-weights.js';

const cases = fc
  .record({ inputs: fc.integer({ min: 1, max: 70 }), outputs: fc.integer({ min: 1, max: 40 }) })
  .chain(({ inputs, outputs }) =>
    fc.record({
      inputs: fc.constant(inputs),
      outputs: fc.constant(outputs),
      transposed: fc.boolean(),
      weight: fc.float32Array({
        minLength: inputs * outputs,
        maxLength: inputs * outputs,
        noNaN: true,
        min: -1000,
        max: 1000,
      }),
      format: fc.record({
        bits: fc.constantFrom<4 | 8>(4, 8),
        blockSize: fc.constantFrom(16, 32),
        symmetric: fc.boolean(),
      }),
    }),
  );

describe('roundToBlocks', () => {
  it('brings weights back within half a step, or for a symmetric block with no more loss than from end to end', () => {
    fc.assert(
      fc.property(cases, ({ inputs, outputs, transposed, weight, format }) => {
        const { weights, relativeError } = roundToBlocks({ weight, inputs, outputs, transposed }, format);
        const actual = dequantized(weights, format, outputs, inputs);
        const exact = (output: number, input: number): number =>
          weight[transposed ? output * inputs + input : input * outputs + output] ?? NaN;
        const blocks = Math.ceil(inputs / format.blockSize);
        let [error, total] = [0, 0];
        for (let output = 0; output < outputs; output++)
          for (let block = 0; block < blocks; block++) {
            const own = Array.from(
              { length: Math.min(format.blockSize, inputs - block * format.blockSize) },
              (_, index) => block * format.blockSize + index,
            );
            const largest = Math.max(...own.map((input) => Math.abs(exact(output, input))));
            const scale = Math.abs(weights.scales[output * blocks + block] ?? NaN);
            const even = largest / (2 ** (format.bits - 1) - 1);
            let [loss, evenLoss] = [0, 0];
            for (const input of own) {
              const value = exact(output, input);
              const difference = (actual[output]?.[input] ?? NaN) - value;
              if (!format.symmetric) expect(Math.abs(difference)).toBeLessThanOrEqual(0.500001 * scale);
              loss += difference ** 2;
              evenLoss += even === 0 ? 0 : (Math.round(value / even) * even - value) ** 2;
              error += difference ** 2;
              total += value ** 2;
            }
            // The scale is stored as float32, hence a little more.
            if (format.symmetric) expect(loss).toBeLessThanOrEqual(evenLoss + 1e-5 * even * largest + 1e-30);
          }
        expect(relativeError).toBeCloseTo(total === 0 ? 0 : Math.sqrt(error / total), 9);
      }),
      { numRuns: 60 },
    );
  });

  const format = (bits: 4 | 8, symmetric: boolean): BlockFormat => ({ bits, blockSize: 16, symmetric });
  const row = (weight: Float32Array): Parameters<typeof roundToBlocks>[0] => ({
    weight,
    inputs: weight.length,
    outputs: 1,
    transposed: true,
  });

  it('packs two numbers of 4 bits into a byte, the first below', () => {
    // −2.5 to 5 in steps of a half, then −1 and 2 in a block of their own.
    const weight = Float32Array.from({ length: 18 }, (_, i) => (i < 16 ? i / 2 - 2.5 : 3 * i - 49));
    const { weights, relativeError } = roundToBlocks(row(weight), format(4, false));
    expect([...weights.values]).toEqual([
      ...[0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe],
      ...[0xf0, 0, 0, 0, 0, 0, 0, 0],
    ]);
    expect([...weights.scales]).toEqual([0.5, Math.fround(3 / 15)]);
    // 5 and 5.
    expect([...(weights.zeroPoints ?? [])]).toEqual([0x55]);
    expect(relativeError).toBeCloseTo(0, 7);
  });

  it('uses all 16 numbers of a symmetric block where that loses less', () => {
    const whole = roundToBlocks(row(Float32Array.from({ length: 16 }, (_, i) => i - 8)), format(4, true));
    expect([...whole.weights.values]).toEqual([0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe]);
    expect([...whole.weights.scales]).toEqual([1]);
    expect(whole.weights.zeroPoints).toBeUndefined();
    const mirrored = roundToBlocks(row(Float32Array.of(7, -7, 1)), format(4, true));
    expect([...mirrored.weights.values.subarray(0, 2)]).toEqual([0x1f, 0x09]);
    expect([...mirrored.weights.scales]).toEqual([1]);
  });

  it('holds 8 bits a byte, and zeros as zeros', () => {
    const { weights } = roundToBlocks(row(Float32Array.of(0, 155, -100)), format(8, false));
    expect([...weights.values.subarray(0, 3)]).toEqual([100, 255, 0]);
    expect([...(weights.zeroPoints ?? [])]).toEqual([100]);
    const zeros = roundToBlocks(row(new Float32Array(3)), format(8, false));
    expect([...zeros.weights.scales]).toEqual([1]);
    expect(zeros.relativeError).toBe(0);
  });

  it('tells weights that are not finite', () => {
    for (const bad of [NaN, Infinity])
      expect(roundToBlocks(row(Float32Array.of(1, bad)), format(4, true)).relativeError).toBeNaN();
  });
});

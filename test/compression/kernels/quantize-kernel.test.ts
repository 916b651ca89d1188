import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { quantizeMatrix } from '../../../src/compression/kernels/quantize-kernel.js';

const shapes = fc.record({
  count: fc.integer({ min: 1, max: 3 }),
  // More outputs than are written at once.
  outputs: fc.integer({ min: 1, max: 140 }),
  inputs: fc.integer({ min: 1, max: 9 }),
  transposed: fc.boolean(),
});

const cases = shapes.chain((shape) =>
  fc.record({
    shape: fc.constant(shape),
    weight: fc.float32Array({
      minLength: shape.count * shape.inputs * shape.outputs,
      maxLength: shape.count * shape.inputs * shape.outputs,
      noNaN: true,
      noDefaultInfinity: true,
    }),
    limit: fc.constantFrom(63, 127),
    perChannel: fc.boolean(),
  }),
);

describe('quantizeMatrix', () => {
  it('brings every element back within half a scale, which is that of its output', () => {
    fc.assert(
      fc.property(cases, ({ shape, weight, limit, perChannel }) => {
        const { count, inputs, outputs, transposed } = shape;
        const { values, scales } = quantizeMatrix(weight, shape, limit, perChannel);
        expect(scales).toHaveLength(perChannel ? outputs : 1);
        for (let m = 0; m < count; m++)
          for (let i = 0; i < inputs; i++)
            for (let o = 0; o < outputs; o++) {
              const from = m * inputs * outputs;
              const exact = weight[from + (transposed ? o * inputs + i : i * outputs + o)] ?? NaN;
              const value = values[from + i * outputs + o] ?? NaN;
              const scale = scales[perChannel ? o : 0] ?? NaN;
              expect(Math.abs(value)).toBeLessThanOrEqual(limit);
              // One part in a million for what the product with the reciprocal is off by.
              expect(Math.abs(value * scale - exact)).toBeLessThanOrEqual(0.500001 * scale);
            }
      }),
    );
  });

  it('gives the largest weight of an output the largest value, and its error', () => {
    const shape = { count: 1, inputs: 2, outputs: 2, transposed: false };
    const { values, scales, relativeError } = quantizeMatrix(Float32Array.of(2, 0, -1, 0), shape, 127, true);
    expect([...values]).toEqual([127, 0, -64, 0]);
    expect([...scales]).toEqual([Math.fround(2 / 127), 1]);
    // −1 is −63.5 steps, so that half a step, 1 / 127, is lost; the sum of squares is 5.
    expect(relativeError).toBeCloseTo(1 / 127 / Math.sqrt(5), 8);
  });

  it('tells weights that are not finite', () => {
    const shape = { count: 1, inputs: 1, outputs: 2, transposed: false };
    for (const bad of [NaN, Infinity, -Infinity])
      expect(quantizeMatrix(Float32Array.of(1, bad), shape, 127, true).relativeError).not.toBeLessThan(
        Infinity,
      );
  });
});

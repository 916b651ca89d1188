import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRandom } from '../../../src/core/index.js';
import { roundToBlocks } from '../../../src/compression/kernels/block-kernel.js';
import type { BlockFormat, BlockWeights } from '../../../src/compression/kernels/block-kernel.js';
import { compensatedBlocks } from '../../../src/compression/kernels/gptq-kernel.js';
import { dequantized } from '../block-weights.js';

interface Problem {
  readonly weight: Float32Array;
  readonly rows: readonly (readonly number[])[];
  readonly gram: Float64Array;
}

/** Weights `[inputs, outputs]`, and rows that are spanned by `rank` directions but for some noise. */
function problem(seed: number, inputs: number, outputs: number, rank: number): Problem {
  const random = createRandom(seed);
  const directions = Array.from({ length: rank }, () =>
    Array.from({ length: inputs }, () => random.normal()),
  );
  const rows = Array.from({ length: 300 }, () => {
    const sizes = directions.map(() => random.normal());
    return Array.from({ length: inputs }, (_, i) =>
      directions.reduce(
        (sum, direction, d) => sum + (sizes[d] ?? 0) * (direction[i] ?? 0),
        0.2 * random.normal(),
      ),
    );
  });
  const gram = new Float64Array(inputs * inputs);
  for (const row of rows)
    for (let i = 0; i < inputs; i++)
      for (let j = 0; j < inputs; j++)
        gram[i * inputs + j] = (gram[i * inputs + j] ?? 0) + (row[i] ?? 0) * (row[j] ?? 0);
  return { weight: Float32Array.from({ length: inputs * outputs }, () => random.normal()), rows, gram };
}

/** Root mean square of the change of the outputs over that of the outputs, straight from the rows. */
function outputError(
  { weight, rows }: Problem,
  weights: BlockWeights,
  format: BlockFormat,
  inputs: number,
  outputs: number,
): number {
  const actual = dequantized(weights, format, outputs, inputs);
  let [error, total] = [0, 0];
  for (const row of rows)
    for (let o = 0; o < outputs; o++) {
      let [before, after] = [0, 0];
      row.forEach((x, i) => {
        before += x * (weight[i * outputs + o] ?? NaN);
        after += x * (actual[o]?.[i] ?? NaN);
      });
      error += (after - before) ** 2;
      total += before ** 2;
    }
  return Math.sqrt(error / total);
}

describe('compensatedBlocks', () => {
  it('loses less of the outputs on correlated inputs than rounding to the nearest, and says how much', () => {
    const sizes = fc.record({
      seed: fc.integer({ min: 1, max: 1e6 }),
      // One and two rounds of lazy updates.
      inputs: fc.constantFrom(40, 128, 150),
      outputs: fc.constantFrom(3, 35),
      format: fc.record({
        bits: fc.constantFrom<4 | 8>(4, 8),
        blockSize: fc.constantFrom(16, 64, 256),
        symmetric: fc.boolean(),
      }),
    });
    fc.assert(
      fc.property(sizes, ({ seed, inputs, outputs, format }) => {
        const given = problem(seed, inputs, outputs, 8);
        const matrix = { weight: given.weight, inputs, outputs, transposed: false };
        const compensated = compensatedBlocks(matrix, given.gram, format);
        if (compensated === undefined) throw new Error('finite');
        const error = outputError(given, compensated.weights, format, inputs, outputs);
        const nearest = roundToBlocks(matrix, format);
        expect(error).toBeLessThan(0.7 * outputError(given, nearest.weights, format, inputs, outputs));
        expect(compensated.relativeError).toBeCloseTo(error, 6);
      }),
      { numRuns: 12 },
    );
  });

  it('is rounding to the nearest where inputs have nothing to do with each other', () => {
    const { weight } = problem(3, 48, 5, 1);
    const gram = new Float64Array(48 * 48);
    for (let i = 0; i < 48; i++) gram[i * 49] = 2 + (i % 3);
    const matrix = { weight, inputs: 48, outputs: 5, transposed: false };
    const format = { bits: 4, blockSize: 16, symmetric: false } as const;
    expect(compensatedBlocks(matrix, gram, format)?.weights).toEqual(roundToBlocks(matrix, format).weights);
  });

  it('takes weights that are stored transposed, and inputs that are always zero', () => {
    const { weight, gram } = problem(4, 32, 4, 3);
    for (let i = 0; i < 32; i++) gram[i] = gram[32 * i] = 0;
    const turned = Float32Array.from(
      { length: 128 },
      (_, at) => weight[(at % 32) * 4 + Math.floor(at / 32)] ?? NaN,
    );
    const format = { bits: 4, blockSize: 32, symmetric: true } as const;
    const straight = compensatedBlocks({ weight, inputs: 32, outputs: 4, transposed: false }, gram, format);
    expect(straight?.relativeError).toBeGreaterThan(0);
    expect(
      compensatedBlocks({ weight: turned, inputs: 32, outputs: 4, transposed: true }, gram, format),
    ).toEqual(straight);
  });

  it('tells what is not finite', () => {
    const { weight, gram } = problem(5, 16, 2, 3);
    const format = { bits: 8, blockSize: 16, symmetric: false } as const;
    const matrix = { weight, inputs: 16, outputs: 2, transposed: false };
    expect(
      compensatedBlocks(
        matrix,
        gram.map(() => NaN),
        format,
      ),
    ).toBeUndefined();
    const broken = { ...matrix, weight: weight.map((value, at) => (at === 7 ? Infinity : value)) };
    expect(compensatedBlocks(broken, gram, format)).toBeUndefined();
  });
});

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createKernels } from '../../src/training/adam-kernel.js';
import type { Kernels } from '../../src/training/adam-kernel.js';
import { FloatMemory } from '../../src/training/float-memory.js';
import type { FloatRegion } from '../../src/training/float-memory.js';

interface Bench {
  readonly kernels: Kernels;
  readonly region: (values: readonly number[]) => FloatRegion;
}

function bench(): Bench {
  const memory = new FloatMemory();
  return {
    kernels: createKernels(memory.memory),
    region: (values) => {
      // One more element, which no kernel may touch.
      const region = memory.allocate(values.length + 1);
      region.view().set([...values, 12345]);
      return region;
    },
  };
}

const values = fc.array(fc.float({ min: -4, max: 4, noNaN: true }), { minLength: 0, maxLength: 21 });
const contents = (region: FloatRegion): number[] => [...region.view()];

describe('kernels', () => {
  test('add and multiply work on every element and no further', () => {
    const { kernels, region } = bench();
    fc.assert(
      fc.property(values, fc.float({ min: -2, max: 2, noNaN: true }), (first, factor) => {
        const second = first.map((value) => Math.fround(value * factor + 1));
        const [sum, product, source] = [region(first), region(first), region(second)];
        kernels.add(sum.address, source.address, first.length * 4);
        kernels.multiply(product.address, source.address, first.length * 4);
        const at = (index: number): number => second[index] ?? 0;
        expect(contents(sum)).toEqual([
          ...first.map((value, index) => Math.fround(value + at(index))),
          12345,
        ]);
        expect(contents(product)).toEqual([
          ...first.map((value, index) => Math.fround(value * at(index))),
          12345,
        ]);
      }),
    );
  });

  test('the sum of squares is that of doubles', () => {
    const { kernels, region } = bench();
    fc.assert(
      fc.property(values, (numbers) => {
        const expected = numbers.reduce((sum, value) => sum + value * value, 0);
        expect(kernels.sumOfSquares(region(numbers).address, numbers.length * 4)).toBe(expected);
      }),
    );
  });

  test('adam equals the formula in doubles, for any length', () => {
    const { kernels, region } = bench();
    const gradientScale = 0.5;
    const [beta1, beta2, keep, stepSize, correction, epsilon] = [0.9, 0.999, 0.99, 0.02, 3, 1e-8];
    fc.assert(
      fc.property(values, (gradient) => {
        const start = gradient.map((value, index) => ({
          w: Math.fround(value / 3),
          m: 0.1 * (index % 3),
          v: 0.2 + 0.3 * (index % 2),
        }));
        const [w, g] = [region(start.map((it) => it.w)), region(gradient)];
        const [m, v] = [region(start.map((it) => it.m)), region(start.map((it) => it.v))];
        kernels.adam(
          w.address,
          g.address,
          m.address,
          v.address,
          gradient.length * 4,
          gradientScale,
          beta1,
          1 - beta1,
          beta2,
          1 - beta2,
          keep,
          stepSize,
          correction,
          epsilon,
        );
        for (const [index, it] of start.entries()) {
          const scaled = (gradient[index] ?? 0) * gradientScale;
          const mean = beta1 * it.m + (1 - beta1) * scaled;
          const square = beta2 * it.v + (1 - beta2) * scaled ** 2;
          const moved = keep * it.w - (stepSize * mean) / (Math.sqrt(square) * correction + epsilon);
          expect(m.view()[index]).toBeCloseTo(mean, 6);
          expect(v.view()[index]).toBeCloseTo(square, 6);
          expect(w.view()[index]).toBeCloseTo(moved, 5);
        }
        for (const it of [w, g, m, v]) expect(it.view()[gradient.length]).toBe(12345);
      }),
    );
  });
});

describe('memory', () => {
  test('regions keep their values when it grows, and views are renewed', () => {
    const memory = new FloatMemory();
    const first = memory.allocate(5);
    first.view().set([1, 2, 3, 4, 5]);
    const before = first.view();
    const second = memory.allocate(1_000_000);
    expect(before.length).toBe(0); // detached
    expect([...first.view()]).toEqual([1, 2, 3, 4, 5]);
    expect(second.view().every((value) => value === 0)).toBe(true);
    expect(second.address).toBeGreaterThanOrEqual(first.address + 20);
  });

  test('more than 32-bit addresses reach is an error that says so', () => {
    expect(() => new FloatMemory().allocate(2 ** 30 + 1)).toThrow(
      expect.objectContaining({ code: 'MODEL_TOO_LARGE' }),
    );
  });
});

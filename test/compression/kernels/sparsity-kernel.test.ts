import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  binOf,
  countScores,
  scoreHistogram,
  thresholdOf,
  weightedChange,
  zeroBelow,
  zeroGroups,
  zeroPerOutput,
} from '../../../src/compression/kernels/sparsity-kernel.js';
import type { InputAxis } from '../../../src/compression/kernels/sparsity-kernel.js';

interface Case {
  readonly weight: Float32Array;
  readonly axis: InputAxis;
  readonly sizes: Float64Array;
}

/** `[blocks, length, stride]` with few different magnitudes, so that there are ties. */
const cases = fc
  .record({
    blocks: fc.integer({ min: 1, max: 3 }),
    length: fc.integer({ min: 1, max: 9 }),
    stride: fc.integer({ min: 1, max: 4 }),
  })
  .chain(({ blocks, length, stride }) => {
    const count = blocks * length * stride;
    return fc.record({
      axis: fc.constant({ length, stride }),
      weight: fc
        .array(fc.constantFrom(-2, -1, -0.5, 0, 0.25, 0.5, 1, 1e-40, 3e30), {
          minLength: count,
          maxLength: count,
        })
        .map((values) => Float32Array.from(values)),
      sizes: fc
        .array(fc.constantFrom(0, 0.5, 1, 2), { minLength: length, maxLength: length })
        .map((values) => Float64Array.from(values)),
    });
  });

const scoresOf = ({ weight, axis, sizes }: Case): number[] =>
  Array.from(weight, (value, at) =>
    Math.fround(Math.abs(value) * (sizes[Math.floor(at / axis.stride) % axis.length] ?? NaN)),
  );

/** Positions of the `count` smallest among `positions`, ties in order. */
function smallest(scores: readonly number[], positions: readonly number[], count: number): Set<number> {
  const order = [...positions].sort((a, b) => (scores[a] ?? 0) - (scores[b] ?? 0) || a - b);
  return new Set(order.slice(0, count));
}

function expectZeroed(each: Case, after: Float32Array, gone: ReadonlySet<number>): void {
  expect([...after]).toEqual(Array.from(each.weight, (value, at) => (gone.has(at) ? 0 : value)));
}

const indexes = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

/** Positions of each output's weights. */
function lanes({ weight, axis: { length, stride } }: Case): number[][] {
  const found = new Map<string, number[]>();
  for (const at of indexes(weight.length)) {
    const lane = `${Math.floor(at / (length * stride))} ${at % stride}`;
    found.set(lane, [...(found.get(lane) ?? []), at]);
  }
  return [...found.values()];
}

describe('zeroBelow', () => {
  it('zeroes exactly the smallest scores of several tensors, ties in their order', () => {
    fc.assert(
      fc.property(cases, cases, fc.double({ min: 0, max: 1, noNaN: true }), (one, two, share) => {
        const all = [one, two];
        const scores = all.flatMap(scoresOf);
        const count = Math.max(1, Math.round(share * scores.length));
        const upper = scoreHistogram();
        for (const { weight, axis, sizes } of all) countScores(weight, axis, sizes, upper);
        const high = binOf(upper, count);
        const lower = scoreHistogram();
        for (const { weight, axis, sizes } of all) countScores(weight, axis, sizes, lower, high.bin);
        let threshold = thresholdOf(high.bin, binOf(lower, high.left));
        const gone = smallest(scores, indexes(scores.length), count);
        all.forEach((each, index) => {
          const after = each.weight.slice();
          threshold = zeroBelow(after, each.axis, each.sizes, threshold);
          const from = index === 0 ? 0 : one.weight.length;
          const own = [...gone].filter((at) => at >= from && at < from + after.length);
          expectZeroed(each, after, new Set(own.map((at) => at - from)));
        });
        expect(threshold.ties).toBe(0);
      }),
    );
  });
});

describe('zeroPerOutput', () => {
  it('zeroes exactly the smallest scores of each output', () => {
    fc.assert(
      fc.property(cases, fc.double({ min: 0, max: 1, noNaN: true }), (each, share) => {
        const count = Math.round(share * each.axis.length);
        const after = each.weight.slice();
        zeroPerOutput(after, each.axis, each.sizes, count);
        const scores = scoresOf(each);
        const gone = lanes(each).flatMap((lane) => [...smallest(scores, lane, count)]);
        expectZeroed(each, after, new Set(gone));
      }),
    );
  });
});

describe('zeroGroups', () => {
  it('keeps the largest N of every M weights on the input axis', () => {
    const patterns = fc
      .tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 }))
      .map(([kept, more]) => [kept, kept + more] as const);
    fc.assert(
      fc.property(cases, patterns, (each, [kept, group]) => {
        const after = each.weight.slice();
        zeroGroups(after, each.axis, each.sizes, kept, group);
        const scores = scoresOf(each);
        const gone = lanes(each).flatMap((lane) =>
          indexes(Math.ceil(lane.length / group)).flatMap((index) => {
            const members = lane.slice(index * group, (index + 1) * group);
            return [...smallest(scores, members, members.length - kept)].slice(
              0,
              Math.max(0, members.length - kept),
            );
          }),
        );
        expectZeroed(each, after, new Set(gone));
      }),
    );
  });

  it('2:4 of a matrix whose columns are outputs', () => {
    // [inputs 4, outputs 2]
    const weight = Float32Array.of(1, -8, -2, 7, 3, 6, -4, 5);
    zeroGroups(weight, { length: 4, stride: 2 }, new Float64Array(4).fill(1), 2, 4);
    expect([...weight]).toEqual([0, -8, 0, 7, 3, 0, -4, 0]);
  });
});

describe('weightedChange', () => {
  it('is the root mean square, each input by its size', () => {
    const before = Float32Array.of(3, 4, 1, 0);
    const after = Float32Array.of(0, 4, 1, 0);
    const axis = { length: 2, stride: 2 };
    expect(weightedChange(before, after, axis, Float64Array.of(1, 1))).toBeCloseTo(Math.sqrt(9 / 26), 12);
    expect(weightedChange(before, after, axis, Float64Array.of(2, 1))).toBeCloseTo(Math.sqrt(36 / 101), 12);
    expect(
      weightedChange(new Float32Array(2), new Float32Array(2), { length: 1, stride: 2 }, Float64Array.of(1)),
    ).toBe(0);
  });
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DistinctCounter } from '../../src/experiments/index.js';

function filled(capacity: number, ids: readonly string[]): DistinctCounter {
  const counter = new DistinctCounter(capacity);
  for (const id of ids) counter.add(id);
  return counter;
}

const range = (length: number, prefix = 'user-'): string[] =>
  Array.from({ length }, (_, index) => `${prefix}${String(index)}`);

describe('DistinctCounter', () => {
  it('is exact up to its capacity', () => {
    fc.assert(
      fc.property(fc.array(fc.string(), { maxLength: 100 }), (ids) => {
        const counter = filled(100, [...ids, ...ids]);
        expect(counter.estimate()).toBe(new Set(ids).size);
        expect(counter.depth).toBe(0);
      }),
    );
  });

  it('estimates above it within the stated error, in any order', () => {
    // 1.2 / √1024 is 3.8 % standard error; four of them over three populations.
    for (const population of range(3)) {
      const ids = range(40_000, `${population}/`);
      const counter = filled(1024, ids);
      expect(counter.depth).toBeGreaterThan(0);
      expect(Math.abs(counter.estimate() / 40_000 - 1)).toBeLessThan(4 * 0.0375);
      expect(filled(1024, ids.reverse()).estimate()).toBe(counter.estimate());
    }
  });

  it('samples the same ids at the same depth, whatever its capacity', () => {
    const ids = range(20_000);
    const small = filled(1000, ids);
    expect(filled(50_000, ids).sampledAt(small.depth)).toBe(small.sampledAt(small.depth));
    expect(small.sampledAt(small.depth) * 2 ** small.depth).toBe(small.estimate());
  });
});

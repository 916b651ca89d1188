import { expect, test } from 'vitest';
import { blend } from '../../src/serving/blend.js';

test('blended scores do not depend on either scale, and the weight moves them from one order to the other', () => {
  const base = Float32Array.of(1, 2, 3);
  const other = Float32Array.of(300, 200, 100);
  const [low = NaN, , high = NaN] = blend(base, other, 0.25);
  expect(high).toBeGreaterThan(low);
  const reversed = blend(base, other, 0.75);
  expect(reversed[0]).toBeGreaterThan(reversed[2] ?? NaN);
  blend(base, other, 0.5).forEach((score) => expect(score).toBeCloseTo(0, 6));
  // Population standard deviation of 1, 2, 3 is the root of 2/3.
  expect(Array.from(blend(base, Float32Array.of(5, 5, 5), 0))).toEqual([
    Math.fround(-1 / Math.sqrt(2 / 3)),
    0,
    Math.fround(1 / Math.sqrt(2 / 3)),
  ]);
  expect(Array.from(blend(Float32Array.of(4, 4), Float32Array.of(1, 2), 0.5))).toEqual([-0.5, 0.5]);
});

import { describe, expect, test } from 'vitest';
import { createRandom } from '../../src/core/index.js';
import { dropoutMask, ProgressReporter } from '../../src/training/index.js';
import type { TrainingProgress } from '../../src/training/index.js';

describe('dropoutMask', () => {
  test('drops the share asked for and keeps the mean at 1', () => {
    const mask = dropoutMask(createRandom(3), 100_001, 0.3, new Float32Array(100_001));
    const dropped = mask.filter((value) => value === 0).length;
    // Five standard deviations of a binomial count.
    expect(Math.abs(dropped - 30_000)).toBeLessThan(5 * Math.sqrt(100_001 * 0.3 * 0.7));
    expect(new Set(mask)).toEqual(new Set([0, Math.fround(1 / 0.7)]));
  });

  test('neighbours are independent', () => {
    const mask = dropoutMask(createRandom(4), 100_000, 0.5, new Float32Array(100_000));
    for (const distance of [1, 2]) {
      let both = 0;
      for (let at = 0; at + distance < mask.length; at++)
        if (mask[at] === 0 && mask[at + distance] === 0) both++;
      expect(Math.abs(both - 25_000)).toBeLessThan(5 * Math.sqrt(100_000 * 0.25 * 0.75));
    }
  });

  test('is the same for the same seed, differs from call to call, and leaves the rest of the buffer', () => {
    const draw = (): Float32Array[] => {
      const random = createRandom(8);
      return [0, 1].map(() => dropoutMask(random, 63, 0.4, new Float32Array(64).fill(9)));
    };
    const [first, second] = draw();
    expect(draw()).toEqual([first, second]);
    expect(first).not.toEqual(second);
    expect(first?.[63]).toBe(9);
  });

  test('rate 0 keeps everything; a rate of 1 is refused', () => {
    expect([...dropoutMask(createRandom(1), 5, 0, new Float32Array(5))]).toEqual([1, 1, 1, 1, 1]);
    for (const [length, rate] of [
      [5, 1],
      [5, -0.1],
      [6, 0.5],
    ] as const)
      expect(() => dropoutMask(createRandom(1), length, rate, new Float32Array(5))).toThrow(
        expect.objectContaining({ code: 'INPUT_INVALID' }),
      );
  });
});

test('progress reports speed, running loss and time left, at most once an interval and at the end', () => {
  let nowMs = 1_000;
  const reports: TrainingProgress[] = [];
  const reporter = new ProgressReporter({
    totalSteps: 4,
    intervalMs: 250,
    clock: () => nowMs,
    onProgress: (progress) => reports.push(progress),
  });
  for (const loss of [4, 2, 2, 1]) {
    nowMs += 200;
    reporter.step(loss, 50);
  }
  expect(reports.map((report) => report.step)).toEqual([2, 4]);
  expect(reports[0]).toMatchObject({ totalSteps: 4, samplesPerSecond: 250, etaSeconds: 0.4 });
  // (0.98·4 + 2)/(0.98 + 1)
  expect(reports[0]?.loss).toBeCloseTo(5.92 / 1.98, 10);
  expect(reports[1]).toMatchObject({ etaSeconds: 0, samplesPerSecond: 250 });
});

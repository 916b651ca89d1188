import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRandom } from '../../src/core/index.js';
import { RunCost } from '../../src/runtime/index.js';

/** A cost that has seen `runs` runs of random size, 1 to 10 requests of 100 rows, with 5 % noise. */
function learned(fixedMs: number, rowMs: number, runs = 40, seed = 1): RunCost {
  const cost = new RunCost();
  teach(cost, fixedMs, rowMs, runs, seed);
  return cost;
}

function teach(cost: RunCost, fixedMs: number, rowMs: number, runs: number, seed = 1): void {
  const random = createRandom(seed);
  for (let run = 0; run < runs; run++) {
    const rows = 100 * (1 + random.integer(10));
    cost.observe(rows, (fixedMs + rowMs * rows) * (1 + 0.05 * random.normal()));
  }
}

const relative = (value: number, expected: number): number => Math.abs(value / expected - 1);

describe('RunCost', () => {
  it('knows nothing before the first run', () => {
    const cost = new RunCost();
    expect(cost.predictMs(1_000)).toBe(0);
    expect(cost.rowsWithin(10)).toBe(Infinity);
  });

  it('predicts from fixed cost and cost of a row, and gives the rows that fit a time', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.01, max: 5, noNaN: true }),
        fc.double({ min: 0.001, max: 0.1, noNaN: true }),
        fc.nat(),
        (fixedMs, rowMs, seed) => {
          const cost = learned(fixedMs, rowMs, 60, seed);
          for (const rows of [300, 1_000]) {
            const expected = fixedMs + rowMs * rows;
            expect(relative(cost.predictMs(rows), expected)).toBeLessThan(0.15);
            const fitting = cost.rowsWithin(expected);
            expect(cost.predictMs(fitting)).toBeLessThanOrEqual(expected * (1 + 1e-9));
            expect(cost.predictMs(fitting + 1)).toBeGreaterThan(expected * (1 - 1e-9));
          }
        },
      ),
    );
  });

  it('gives no rows where the fixed cost alone takes longer', () => {
    expect(learned(1, 0.01).rowsWithin(0.5)).toBe(0);
  });

  it('takes runs of one size as all cost of rows, so that larger ones are not underrated', () => {
    const cost = new RunCost();
    for (let run = 0; run < 30; run++) cost.observe(100, 3);
    expect(relative(cost.predictMs(100), 3)).toBeLessThan(0.01);
    expect(relative(cost.predictMs(400), 12)).toBeLessThan(0.05);
  });

  it('is not moved by a run that was held up, nor by one that found nothing to do', () => {
    const cost = learned(1, 0.01);
    const before = cost.predictMs(500);
    cost.observe(500, 600);
    expect(cost.predictMs(500)).toBe(before);
    teach(cost, 1, 0.01, 3, 7);
    cost.observe(500, 0);
    teach(cost, 1, 0.01, 3, 8);
    expect(relative(cost.predictMs(500), before)).toBeLessThan(0.1);
  });

  it('does not add up accidents that are apart', () => {
    const cost = learned(1, 0.01);
    for (let accident = 0; accident < 5; accident++) {
      cost.observe(500, 100);
      teach(cost, 1, 0.01, 1, accident);
    }
    expect(relative(cost.predictMs(500), 6)).toBeLessThan(0.15);
  });

  it.each([4, 1 / 4])('follows a step of the service time by %d within three runs, at every size', (step) => {
    const cost = learned(1, 0.01);
    teach(cost, step, 0.01 * step, 3, 3);
    for (const rows of [100, 500, 1_000])
      expect(relative(cost.predictMs(rows), step * (1 + 0.01 * rows))).toBeLessThan(0.2);
  });

  it('never predicts less for more rows, whatever it was taught', () => {
    const run = fc.record({ rows: fc.nat({ max: 2_000 }), ms: fc.double({ min: 0, max: 1e4, noNaN: true }) });
    fc.assert(
      fc.property(fc.array(run, { minLength: 1, maxLength: 80 }), (runs) => {
        const cost = new RunCost();
        for (const { rows, ms } of runs) cost.observe(rows, ms);
        const predictions = [0, 1, 10, 100, 1_000].map((rows) => cost.predictMs(rows));
        for (const [place, prediction] of predictions.entries()) {
          expect(prediction).toBeGreaterThanOrEqual(predictions[place - 1] ?? 0);
          expect(Number.isFinite(prediction)).toBe(true);
        }
        expect(cost.rowsWithin(10)).toBeGreaterThanOrEqual(0);
      }),
    );
  });
});

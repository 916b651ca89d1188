import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { must } from '../../src/core/index.js';
import { ConcurrencyLimit } from '../../src/runtime/index.js';
import { simulate, wantedMs } from '../support/batch-simulation.js';
import type { PhaseResult, SimulationOptions } from '../support/batch-simulation.js';

const MAX_BATCH_JOBS = 64;
const OBJECTIVE_MS = 20;

function limitOf(target: number, lanes = 1, maximum = 1_000): ConcurrencyLimit {
  return new ConcurrencyLimit({ targetMs: () => target, lanes: () => lanes, maximum });
}

describe('ConcurrencyLimit', () => {
  it('moves to throughput × wanted time, from below and from above, with no swing', () => {
    for (const start of [1, 500]) {
      const limit = limitOf(20);
      // Brings the limit to its start: one job a batch, so slow or so fast that only that many fit.
      for (let batch = 0; batch < 50; batch++)
        limit.observe({ present: limit.limit, sojournMs: (limit.limit * 18) / start });
      expect(limit.limit).toBeGreaterThanOrEqual(Math.min(start, 2));
      const seen: number[] = [];
      for (let batch = 0; batch < 40; batch++) {
        // 3 jobs a millisecond, always as many present as may be.
        limit.observe({ present: limit.limit, sojournMs: limit.limit / 3 });
        seen.push(limit.limit);
      }
      expect(seen.at(-1)).toBeGreaterThanOrEqual(50);
      expect(seen.at(-1)).toBeLessThanOrEqual(54);
      const sorted = seen.toSorted((a, b) => (start < 54 ? a - b : b - a));
      expect(seen, 'it comes from one side').toEqual(sorted);
    }
  });

  it('is not lowered by few fast jobs, nor below where it began by few slow ones, and is by many slow ones', () => {
    const limit = limitOf(20);
    for (let batch = 0; batch < 5; batch++) limit.observe({ present: 1, sojournMs: 200 });
    expect(limit.limit).toBe(16);
    for (let batch = 0; batch < 10; batch++) limit.observe({ present: limit.limit, sojournMs: 4 });
    const high = limit.limit;
    expect(high).toBeGreaterThan(50);
    limit.observe({ present: 1, sojournMs: 15 });
    expect(limit.limit).toBe(high);
    for (let batch = 0; batch < 20; batch++) limit.observe({ present: 8, sojournMs: 200 });
    expect(limit.limit).toBeLessThanOrEqual(2);
  });

  it('grows again from its floor after an idle time, from single jobs alone', () => {
    const limit = limitOf(20);
    for (let batch = 0; batch < 30; batch++) limit.observe({ present: limit.limit, sojournMs: 5_000 });
    expect(limit.limit).toBe(2);
    for (let batch = 0; batch < 10; batch++) limit.observe({ present: 1, sojournMs: 1 });
    expect(limit.limit).toBeGreaterThanOrEqual(15);
  });

  it('says when to come back: once what is there is done', () => {
    const limit = limitOf(20);
    expect(limit.retryAfterSeconds).toBe(1);
    limit.observe({ present: 4, sojournMs: 3_400 });
    expect(limit.retryAfterSeconds).toBe(4);
  });

  it('stays between one job in run and one waiting for each lane and its maximum, whatever it sees', () => {
    const batch = fc.record({
      present: fc.integer({ min: 1, max: 10_000 }),
      sojournMs: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 1e7, noNaN: true })),
    });
    fc.assert(
      fc.property(
        fc.array(batch, { maxLength: 100 }),
        fc.integer({ min: 0, max: 8 }),
        fc.integer({ min: 1, max: 300 }),
        (batches, lanes, maximum) => {
          const limit = limitOf(20, lanes, maximum);
          for (const one of batches) {
            limit.observe(one);
            expect(Number.isInteger(limit.limit)).toBe(true);
            expect(limit.limit).toBeGreaterThanOrEqual(Math.min(2 * Math.max(1, lanes), maximum));
            expect(limit.limit).toBeLessThanOrEqual(maximum);
          }
        },
      ),
    );
  });
});

interface Machine {
  readonly lanes: number;
  readonly fixedMs: number;
  readonly rowMs: number;
}

/** Requests a second with batches of `jobs`. */
function capacity({ lanes, fixedMs, rowMs }: Machine, jobs: number): number {
  return (1000 * lanes * jobs) / (fixedMs + rowMs * 100 * jobs);
}

/** Three times what the machine can do, while its service time steps up by 4 and down again. */
function overload(machine: Machine): Omit<SimulationOptions, 'admission'> {
  const arrivals = 3 * capacity(machine, 8);
  const phases = [1, 4, 1].map((slowness) => ({
    seconds: 4,
    slowness,
    arrivalsPerSecond: arrivals / slowness,
  }));
  return {
    ...machine,
    seed: 11,
    rowsPerJob: 100,
    maxBatchJobs: MAX_BATCH_JOBS,
    objectiveMs: OBJECTIVE_MS,
    phases,
  };
}

function adaptive(options: Omit<SimulationOptions, 'admission'>): PhaseResult[] {
  return simulate({
    ...options,
    admission: (cost) =>
      new ConcurrencyLimit({
        targetMs: () => wantedMs(options, cost),
        lanes: () => options.lanes,
        maximum: 256 + MAX_BATCH_JOBS,
      }),
  });
}

function fixed(options: Omit<SimulationOptions, 'admission'>, limit: number): PhaseResult[] {
  return simulate({ ...options, admission: () => ({ limit, observe: () => undefined }) });
}

/** Limits from one job a lane, each a quarter larger than the last. */
function sweep(lanes: number): number[] {
  const limits = Array.from({ length: 26 }, (_, place) => Math.round(lanes * 1.25 ** place));
  return [...new Set(limits)].filter((limit) => limit <= 320);
}

function quantile(ascending: readonly number[], share: number): number {
  return must(ascending[Math.ceil(share * ascending.length) - 1], 'quantile');
}

describe('under three times its capacity, with service times that step by four', () => {
  const machines: [string, Machine][] = [
    ['a full model on one lane', { lanes: 1, fixedMs: 0.3, rowMs: 0.022 }],
    ['an int8 model on one lane', { lanes: 1, fixedMs: 0.3, rowMs: 0.006 }],
    ['a full model on two lanes', { lanes: 2, fixedMs: 0.3, rowMs: 0.022 }],
    ['four lanes with a high fixed cost', { lanes: 4, fixedMs: 2, rowMs: 0.006 }],
  ];

  test.each(machines)('%s answers in time nearly as much as under the best fixed limit', (_, machine) => {
    const options = overload(machine);
    const ours = adaptive(options);
    const sweeps = sweep(machine.lanes).map((limit) => fixed(options, limit));
    for (const [place, result] of ours.entries()) {
      const best = Math.max(...sweeps.map((phases) => must(phases[place], 'phase').good));
      expect(result.good / best, `phase ${String(place)}`).toBeGreaterThan(0.9);
      // No limit at all answers more jobs a second.
      const most = Math.max(...sweeps.map((phases) => must(phases[place], 'phase').answered));
      expect(result.answered / most, `throughput of phase ${String(place)}`).toBeGreaterThan(0.9);
    }
    for (const result of [ours[0], ours[2]])
      expect(quantile(must(result, 'phase').sojournsMs, 0.99)).toBeLessThan(1.5 * OBJECTIVE_MS);
    // What was let in before the step is served four times slower than thought; nothing after it is.
    expect(must(ours[1]?.sojournsMs.at(-1), 'longest')).toBeLessThan(6 * OBJECTIVE_MS);
  });

  test('no fixed limit is good at both speeds: the sweep can tell limits apart', () => {
    const options = overload({ lanes: 1, fixedMs: 0.3, rowMs: 0.006 });
    const phases = fixed(options, 36);
    expect(must(phases[1], 'slow phase').good).toBeLessThan(0.5 * must(phases[1], 'slow phase').answered);
  });

  test('a model slower than the objective is served as fast as it can be', () => {
    const machine = { lanes: 1, fixedMs: 1, rowMs: 0.3 };
    const [first] = adaptive(overload(machine));
    expect(must(first, 'phase').answered).toBeGreaterThan(0.9 * 4 * capacity(machine, 1));
  });

  test('below capacity nothing is refused', () => {
    const machine = { lanes: 2, fixedMs: 0.3, rowMs: 0.006 };
    const options = overload(machine);
    const phases = [{ seconds: 4, slowness: 1, arrivalsPerSecond: 0.6 * capacity(machine, 1) }];
    const [result] = adaptive({ ...options, phases });
    const { refused, answered, sojournsMs } = must(result, 'phase');
    expect(refused / (answered + refused)).toBeLessThan(0.001);
    expect(quantile(sojournsMs, 0.99)).toBeLessThan(OBJECTIVE_MS);
  });
});

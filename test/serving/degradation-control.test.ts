import { describe, expect, it } from 'vitest';
import { createRandom } from '../../src/core/index.js';
import { DegradationControl } from '../../src/serving/degradation-control.js';

const THRESHOLD_MS = 10;
const TICK_MS = 250;

/** A stretch of time with a load, as a multiple of what the full pipeline alone can serve. */
interface Phase {
  readonly seconds: number;
  readonly load: number;
}

/** How much of a moment the full pipeline spends on a request that the cheap one takes. */
const CHEAP_COST = 0.25;

/**
 * A fluid queue before one machine that both pipelines share: work that comes above its capacity waits. The share at
 * the end of each tick, with its time in seconds and the time in the queue.
 */
function simulate(
  phases: readonly Phase[],
): { readonly second: number; readonly share: number; readonly queueMs: number }[] {
  const control = new DegradationControl(THRESHOLD_MS);
  const random = createRandom(3);
  const seen: { second: number; share: number; queueMs: number }[] = [];
  let [nowMs, backlogMs] = [0, 0];
  for (const { seconds, load } of phases) {
    for (let tick = 0; tick < (seconds * 1000) / TICK_MS; tick++) {
      nowMs += TICK_MS;
      const { share } = control;
      const noisy = load * (1 + 0.05 * random.normal());
      const work = noisy * (1 - share + share * CHEAP_COST);
      // Admission bounds what waits.
      backlogMs = Math.min(100, Math.max(0, backlogMs + (work - 1) * TICK_MS));
      // What waits at random below capacity, as in an M/D/1 queue with runs of 1 ms.
      const jitterMs = work < 1 ? Math.min(30, work / (2 * (1 - work))) : 0;
      const queueMs = backlogMs + jitterMs;
      control.step({ nowMs, queueMs, saturated: backlogMs === 100 });
      seen.push({ second: nowMs / 1000, share: control.share, queueMs });
    }
  }
  return seen;
}

const changes = (seen: readonly { share: number }[]): number =>
  seen.filter(({ share }, index) => index > 0 && share !== seen[index - 1]?.share).length;

describe('the share of degraded traffic', () => {
  it('stays 0 below capacity', () => {
    expect(simulate([{ seconds: 120, load: 0.8 }]).every(({ share }) => share === 0)).toBe(true);
  });

  it('grows until the queue is short, all of the traffic where it must', () => {
    const seen = simulate([{ seconds: 10, load: 3.5 }]);
    expect(seen.at(-1)?.share).toBe(1);
    const steps = seen.map(({ share }, index) => share - (seen[index - 1]?.share ?? 0));
    expect(Math.max(...steps)).toBeCloseTo(0.1, 12);
  });

  it('moves no more than the load needs, and stands nearly still under a steady one', () => {
    // Capacity is met at a share of (1 − 1/1.5) / 0.75 = 0.44.
    const seen = simulate([{ seconds: 300, load: 1.5 }]);
    const settled = seen.slice(30 * 4);
    expect(Math.max(...settled.map(({ share }) => share))).toBeLessThanOrEqual(0.9);
    expect(Math.min(...settled.map(({ share }) => share))).toBeGreaterThanOrEqual(0.3);
    const lastMinutes = seen.slice(-120 * 4);
    expect(changes(lastMinutes)).toBeLessThanOrEqual(10);
  });

  it('goes back step by step once the load is gone, and is gone in less than a minute', () => {
    const seen = simulate([
      { seconds: 60, load: 1.5 },
      { seconds: 60, load: 0.5 },
    ]);
    const after = seen.filter(({ second }) => second > 60);
    expect(after.at(-1)?.share).toBe(0);
    const steps = after.map(({ share }, index) => share - (after[index - 1]?.share ?? share));
    expect(Math.min(...steps)).toBeCloseTo(-0.1, 12);
    expect(Math.max(...steps)).toBeLessThanOrEqual(1e-12);
  });

  it('a queue between a quarter of the threshold and the threshold changes nothing', () => {
    const control = new DegradationControl(THRESHOLD_MS);
    control.step({ nowMs: 0, queueMs: 11, saturated: false });
    for (let nowMs = 0; nowMs < 60_000; nowMs += TICK_MS)
      control.step({ nowMs, queueMs: nowMs % 500 === 0 ? 3 : 9, saturated: false });
    expect(control.share).toBe(0.1);
  });

  it('calm must last: one longer queue starts its time anew', () => {
    const control = new DegradationControl(THRESHOLD_MS);
    control.step({ nowMs: 0, queueMs: 11, saturated: false });
    for (let nowMs = 250; nowMs <= 30_000; nowMs += 250)
      control.step({ nowMs, queueMs: nowMs % 2_500 === 0 ? 5 : 0, saturated: false });
    expect(control.share).toBe(0.1);
    for (let nowMs = 30_250; nowMs <= 33_250; nowMs += 250)
      control.step({ nowMs, queueMs: 0, saturated: false });
    expect(control.share).toBe(0);
  });

  it('a refusal counts as a long queue, and without a target nothing stays moved', () => {
    const control = new DegradationControl(THRESHOLD_MS);
    control.step({ nowMs: 0, queueMs: 0, saturated: true });
    expect(control.share).toBe(0.1);
    control.reset();
    expect(control.share).toBe(0);
  });
});

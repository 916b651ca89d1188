import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ArmConfig, ExperimentConfig } from '../../src/core/index.js';
import { createExperiments, movedShare } from '../../src/experiments/index.js';

const USERS = 4_000;

function experiment(salt: string, weights: Readonly<Record<string, number>>, name = 'e'): ExperimentConfig {
  const arms = Object.entries(weights).map(([arm, weight]): ArmConfig => ({
    name: arm,
    weight,
    pipeline: 'p',
  }));
  return { name, salt, enabled: true, arms };
}

/** Share of many users whose arm really changes. */
function counted(before: readonly ExperimentConfig[], after: readonly ExperimentConfig[]): number {
  const [old, next] = [createExperiments(before), createExperiments(after)];
  let moved = 0;
  for (let user = 0; user < USERS; user++) {
    const [a, b] = [old.assign(`u${String(user)}`), next.assign(`u${String(user)}`)];
    if (a?.experiment !== b?.experiment || a?.arm !== b?.arm) moved++;
  }
  return moved / USERS;
}

describe('movedShare', () => {
  test('a ramp of the last arm moves what it grows by', () => {
    const before = [experiment('s', { a: 90, b: 10 })];
    expect(movedShare(before, [experiment('s', { a: 50, b: 50 })])).toBeCloseTo(0.4, 12);
    expect(movedShare(before, [experiment('s', { a: 9, b: 1 })])).toBe(0);
  });

  test('starting, stopping or changing to another experiment moves everybody; none to none nobody', () => {
    const running = experiment('s', { a: 1, b: 1 });
    const off = { ...running, enabled: false };
    expect(movedShare([off], [running])).toBe(1);
    expect(movedShare([running], [off])).toBe(1);
    expect(movedShare([running], [{ ...running, name: 'f' }])).toBe(1);
    expect(movedShare([off], [])).toBe(0);
  });

  test('equals what assignment does, for any weights and salts', () => {
    const weights = fc.record({ a: fc.integer({ min: 1, max: 9 }), b: fc.nat(9), c: fc.nat(9) });
    fc.assert(
      fc.property(weights, weights, fc.boolean(), (from, to, sameSalt) => {
        const [before, after] = [[experiment('s', from)], [experiment(sameSalt ? 's' : 't', to)]];
        // Five standard errors of a share of this many users.
        const tolerance = 5 * Math.sqrt(0.25 / USERS);
        expect(Math.abs(movedShare(before, after) - counted(before, after))).toBeLessThan(tolerance);
      }),
      { numRuns: 40, seed: 1 },
    );
  });
});

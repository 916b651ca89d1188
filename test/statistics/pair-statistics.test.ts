import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRandom, type Random } from '../../src/core/index.js';
import {
  addPair,
  confidenceInterval,
  contrastEstimate,
  difference,
  emptyPairs,
  meanEstimate,
  meanStatistics,
  mergePairs,
  nonInferiority,
  pairStatistics,
  ratioEstimate,
  relativeLift,
  removePair,
  type Estimate,
  type PairStatistics,
} from '../../src/statistics/index.js';
import { errorCode } from '../support/error-code.js';

const number = fc.double({ min: -1000, max: 1000, noNaN: true });
const pairs = fc.array(fc.tuple(number, number), { maxLength: 30 });

function expectClose(actual: number, expected: number, scale: number): void {
  expect(Math.abs(actual - expected)).toBeLessThanOrEqual(1e-9 * (1 + Math.abs(scale)));
}

describe('pair statistics', () => {
  it('merge to what pooling gives', () => {
    fc.assert(
      fc.property(pairs, pairs, (left, right) => {
        const merged = mergePairs(pairStatistics(left), pairStatistics(right));
        const pooled = pairStatistics([...left, ...right]);
        for (const key of Object.keys(pooled) as (keyof PairStatistics)[])
          expectClose(merged[key], pooled[key], pooled.squaredX + pooled.squaredY);
      }),
    );
  });

  it('lose a user as if there had been no such pair', () => {
    fc.assert(
      fc.property(pairs, number, number, (values, x, y) => {
        const before = pairStatistics(values);
        const more = addPair(before, x, y);
        const after = removePair(more, x, y);
        for (const key of Object.keys(before) as (keyof PairStatistics)[])
          expectClose(after[key], before[key], more.squaredX + more.squaredY + 1e6);
        expect(after.squaredX).toBeGreaterThanOrEqual(0);
        expect(after.squaredY).toBeGreaterThanOrEqual(0);
      }),
    );
  });

  it('give a contrast the mean and error of its values', () => {
    fc.assert(
      fc.property(pairs, number, (values, factor) => {
        fc.pre(values.length >= 2);
        const direct = meanEstimate(meanStatistics(values.map(([x, y]) => x - factor * y)));
        const estimate = contrastEstimate(pairStatistics(values), factor);
        expectClose(estimate.mean, direct.mean, 1e6);
        expectClose(estimate.standardError, direct.standardError, 1e6);
        expect(estimate.degreesOfFreedom).toBe(values.length - 1);
      }),
    );
  });

  it('give an equal contrast the error 0, not rounding noise', () => {
    const equal = pairStatistics([0.1, 0.7, 0.3, 1 / 3].map((y) => [0.9 * y + 0.05, y]));
    expect(contrastEstimate(equal, 0.9).standardError).toBe(0);
  });

  it('are undefined on numbers that are not finite and below two users', () => {
    expect(errorCode(() => pairStatistics([[1, Number.NaN]]))).toBe('STATISTIC_UNDEFINED');
    expect(errorCode(() => contrastEstimate(pairStatistics([[1, 2]]), 1))).toBe('STATISTIC_UNDEFINED');
    expect(errorCode(() => ratioEstimate(emptyPairs))).toBe('STATISTIC_UNDEFINED');
  });
});

/** Users of ten requests each, whose rates differ (correlation within a user about 0.3): pairs (clicks, requests). */
function clickingUsers(random: Random, users: number): [number, number][] {
  return Array.from({ length: users }, () => {
    const rate = Math.min(1, Math.max(0, 0.4 + 0.27 * random.normal()));
    let clicks = 0;
    for (let request = 0; request < 10; request++) if (random.uniform() < rate) clicks++;
    return [clicks, 10];
  });
}

function isSignificant(estimate: Estimate): boolean {
  const { low, high } = confidenceInterval(estimate);
  return low > 0 || high < 0;
}

describe('ratioEstimate', () => {
  it('follows the formula by hand', () => {
    // S = 1, 2, 6; N = 2, 2, 5: R = 1, Var(S) = 7, Var(N) = 3, Cov = 4.5, N̄ = 3, K = 3: Var(R) = (7 − 9 + 3)/27.
    const estimate = ratioEstimate(pairStatistics([[1, 2], [2, 2], [6, 5]])); // prettier-ignore
    expect(estimate.mean).toBeCloseTo(1, 12);
    expect(estimate.standardError ** 2).toBeCloseTo(1 / 27, 12);
  });

  it('keeps its level where requests of a user resemble each other', () => {
    const random = createRandom(7);
    let clustered = 0;
    let independent = 0;
    for (let run = 0; run < 600; run++) {
      const arms = [clickingUsers(random, 100), clickingUsers(random, 100)].map(pairStatistics);
      const [a, b] = arms.map(ratioEstimate);
      const [naiveA, naiveB] = arms.map(({ meanX, meanY }): Estimate => {
        const rate = meanX / meanY;
        return { mean: rate, standardError: Math.sqrt((rate * (1 - rate)) / 1000), degreesOfFreedom: 999 };
      });
      if (a && b && isSignificant(difference(a, b))) clustered++;
      if (naiveA && naiveB && isSignificant(difference(naiveA, naiveB))) independent++;
    }
    // Level 5 % ± four standard errors of 0.9 %; independence assumed, it is many times that.
    expect(clustered / 600).toBeGreaterThan(0.014);
    expect(clustered / 600).toBeLessThan(0.086);
    expect(independent / 600).toBeGreaterThan(0.2);
  });
});

describe('comparisons of two arms', () => {
  const control = meanEstimate(meanStatistics([3, 5, 4, 6, 2]));
  const treatment = meanEstimate(meanStatistics([4, 8, 6, 10]));

  it("have Welch's error and degrees of freedom", () => {
    // Variances of the means 0.5 and 20/12 with 4 and 3 degrees of freedom, by hand: (13/6)² / (1/16 + 25/27).
    const { mean, standardError, degreesOfFreedom } = difference(treatment, control);
    expect(mean).toBeCloseTo(3, 12);
    expect(standardError ** 2).toBeCloseTo(13 / 6, 12);
    expect(degreesOfFreedom).toBeCloseTo((13 / 6) ** 2 / (1 / 16 + 25 / 27), 12);
  });

  it('have the lift of the delta method', () => {
    // A = 4, B = 7: 7/4 − 1; (20/12)/16 + 49·0.5/256.
    const lift = relativeLift(treatment, control);
    expect(lift.mean).toBeCloseTo(0.75, 12);
    expect(lift.standardError ** 2).toBeCloseTo(20 / 12 / 16 + (49 * 0.5) / 256, 12);
  });

  it('have no lift over a control of 0', () => {
    expect(errorCode(() => relativeLift(treatment, { ...control, mean: 0 }))).toBe('STATISTIC_UNDEFINED');
  });
});

/** Pairs (compressed, full) of a compressed model that keeps `retention` of a full one's mean of 0.5. */
function rankedUsers(random: Random, users: number, retention: number): PairStatistics {
  return pairStatistics(
    Array.from({ length: users }, () => {
      const full = 0.5 + 0.3 * random.normal();
      return [full - 0.5 * (1 - retention) + 0.05 * random.normal(), full];
    }),
  );
}

function acceptedShare(users: number, retention: number, margin: number): number {
  const random = createRandom(11);
  let accepted = 0;
  for (let run = 0; run < 500; run++)
    if (nonInferiority(rankedUsers(random, users, retention), margin).accepted) accepted++;
  return accepted / 500;
}

describe('nonInferiority', () => {
  it('accepts exactly where the bound of the retention is above 1 − margin', () => {
    const property = fc.property(
      fc.integer(),
      fc.integer({ min: 20, max: 80 }),
      fc.double({ min: 0.9, max: 1.05, noNaN: true }),
      fc.double({ min: 0.001, max: 0.1, noNaN: true }),
      (seed, users, retention, margin) => {
        const result = nonInferiority(rankedUsers(createRandom(seed), users, retention), margin);
        expect(result.accepted).toBe(result.contrastLow > 0);
        expect(result.accepted).toBe(result.retentionLow > 1 - margin);
        expect(result.retentionLow).toBeLessThan(result.retention);
      },
    );
    fc.assert(property);
  });

  it('keeps its level: a model that loses just the margin is accepted 5 % of the time', () => {
    const share = acceptedShare(100, 0.98, 0.02);
    expect(share).toBeGreaterThan(0.01);
    expect(share).toBeLessThan(0.09);
  });

  it('rejects a model that loses twice the margin, however few users there are', () => {
    expect(acceptedShare(100, 0.96, 0.02)).toBeLessThan(0.01);
    expect(acceptedShare(10, 0.96, 0.02)).toBeLessThan(0.05);
  });

  it('has the planned power: 618 users accept an equal model 80 % of the time', () => {
    // 618 = ((z.95 + z.80) · σ_d / margin)² with σ_d = 0.05 and a margin of 0.005, which is 1 % of the mean 0.5.
    const share = acceptedShare(618, 1, 0.01);
    expect(share).toBeGreaterThan(0.73);
    expect(share).toBeLessThan(0.87);
  });

  it('is undefined where it cannot tell', () => {
    const good = rankedUsers(createRandom(1), 50, 1);
    expect(errorCode(() => nonInferiority(good, 0))).toBe('STATISTIC_UNDEFINED');
    expect(errorCode(() => nonInferiority(good, 0.01, 1))).toBe('STATISTIC_UNDEFINED');
    const sameContrast: [number, number][] = [[1, 1], [1, 1]]; // prettier-ignore
    const unclearMean: [number, number][] = [[0, 0], [1, 1], [0, 0]]; // prettier-ignore
    const negativeMean: [number, number][] = [[-5, -4], [-4, -5]]; // prettier-ignore
    for (const pairs of [sameContrast, unclearMean, negativeMean])
      expect(errorCode(() => nonInferiority(pairStatistics(pairs), 0.01))).toBe('STATISTIC_UNDEFINED');
  });
});

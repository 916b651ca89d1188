import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { greedyRanks, uniformRanks } from '../../../src/compression/low-rank/allocate-ranks.js';
import type { RankChoice } from '../../../src/compression/low-rank/allocate-ranks.js';
import { greatestRank, rankStep } from '../../../src/compression/low-rank/weight-group.js';
import type { WeightGroup } from '../../../src/compression/low-rank/weight-group.js';
import { errorCode } from '../../support/error-code.js';

/** A square matrix with `values` and rows on which it is used. */
function choice(values: readonly number[], rows = 1, importance = 1, step = 1): RankChoice {
  const side = values.length;
  return {
    values: Float64Array.from(values),
    rankStep: step,
    greatestRank: Math.floor((Math.ceil(side / 2) - 1) / step) * step,
    rankCost: rows * 2 * side,
    wholeCost: rows * side * side,
    importance,
  };
}

function cost(choices: readonly RankChoice[], ranks: readonly (number | undefined)[]): number {
  return choices.reduce((sum, { rankCost, wholeCost }, i) => {
    const rank = ranks[i];
    return sum + (rank === undefined ? wholeCost : rank * rankCost);
  }, 0);
}

/** Share of energy kept, weighted by importance. */
function kept(choices: readonly RankChoice[], ranks: readonly (number | undefined)[]): number {
  return choices.reduce((sum, { values, importance }, i) => {
    const energies = [...values].map((value) => value ** 2);
    const total = energies.reduce((a, b) => a + b, 0);
    return sum + (importance * energies.slice(0, ranks[i]).reduce((a, b) => a + b, 0)) / total;
  }, 0);
}

const geometric = (ratio: number, count = 16): number[] =>
  Array.from({ length: count }, (_, i) => ratio ** i);

const someChoices = fc.array(
  fc
    .tuple(
      fc.integer({ min: 8, max: 24 }),
      fc.double({ min: 0.3, max: 0.99, noNaN: true }),
      fc.integer({ min: 1, max: 5 }),
      fc.constantFrom(1, 2),
    )
    .map(([side, ratio, rows, step]) => choice(geometric(ratio, side), rows, 1, step)),
  { minLength: 1, maxLength: 5 },
);

describe('ranks under a budget', () => {
  it('never cost more than it, and greedy ones keep at least what uniform ones do', () => {
    fc.assert(
      fc.property(someChoices, fc.double({ min: 0.55, max: 0.99, noNaN: true }), (choices, share) => {
        const budget = share * choices.reduce((sum, { wholeCost }) => sum + wholeCost, 0);
        const [uniform, greedy] = [
          uniformRanks(choices, budget, 'test'),
          greedyRanks(choices, budget, 'test'),
        ];
        expect(cost(choices, uniform)).toBeLessThanOrEqual(budget);
        expect(cost(choices, greedy)).toBeLessThanOrEqual(budget);
        choices.forEach(({ rankStep: step, greatestRank: most }, i) => {
          for (const rank of [uniform[i], greedy[i]]) {
            if (rank === undefined) continue;
            expect(rank % step).toBe(0);
            expect(rank).toBeGreaterThan(0);
            expect(rank).toBeLessThanOrEqual(most);
          }
        });
      }),
    );
  });

  it('finds the best ranks of all', () => {
    const choices = [choice(geometric(0.5, 10)), choice(geometric(0.9, 10)), choice(geometric(0.7, 10))];
    const budget = 8 * 20;
    let best = 0;
    for (let a = 1; a <= 4; a++)
      for (let b = 1; b <= 4; b++)
        for (let c = 1; c <= 4; c++) if (a + b + c <= 8) best = Math.max(best, kept(choices, [a, b, c]));
    expect(kept(choices, greedyRanks(choices, budget, 'test'))).toBeCloseTo(best, 12);
    expect(kept(choices, uniformRanks(choices, budget, 'test'))).toBeLessThan(best);
  });

  it('gives a matrix that matters more, or that is used on fewer rows, the higher rank', () => {
    const values = geometric(0.8);
    const ranksOf = (first: RankChoice, second: RankChoice): (number | undefined)[] =>
      greedyRanks([first, second], 0.55 * (first.rankCost * 7 + second.rankCost * 7), 'test');
    const [plain = 16, important = 16] = ranksOf(choice(values), choice(values, 1, 10));
    expect(important).toBeGreaterThan(plain);
    const [often = 16, seldom = 16] = ranksOf(choice(values, 9), choice(values, 1));
    expect(seldom).toBeGreaterThan(often);
  });

  it('lets a matrix stay whole where that is worth it, and takes no rank that brings nothing', () => {
    const flat = choice(new Array<number>(16).fill(1));
    const rankTwo = choice([2, 1, ...new Array<number>(14).fill(0)]);
    expect(greedyRanks([flat, rankTwo], flat.wholeCost + 2 * rankTwo.rankCost, 'test')).toEqual([
      undefined,
      2,
    ]);
    expect(greedyRanks([], 0, 'test')).toEqual([]);
  });

  it('refuses a budget below the least ranks', () => {
    const choices = [choice(geometric(0.5, 8), 1, 1, 2)];
    // Rank 2 of 8 × 8 is 32 of 64.
    expect(greedyRanks(choices, 32, 'test')).toEqual([2]);
    for (const allocate of [greedyRanks, uniformRanks])
      expect(errorCode(() => allocate(choices, 31.9, 'test'))).toBe('RECIPE_INVALID');
  });
});

describe('rank steps', () => {
  it('are powers of two, 16 for large matrices', () => {
    expect(rankStep(320, 320)).toBe(16);
    expect(rankStep(64, 64)).toBe(8);
    expect(rankStep(16, 16)).toBe(2);
    expect(rankStep(3, 3)).toBe(1);
  });

  it('leave a rank with at most half the weights wherever one has fewer than half', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 600 }), fc.integer({ min: 1, max: 600 }), (inputs, outputs) => {
        const group = { inputs, outputs, rankStep: rankStep(inputs, outputs) } as WeightGroup;
        const most = greatestRank(group);
        expect(most * (inputs + outputs)).toBeLessThan(inputs * outputs);
        expect((most + group.rankStep) * (inputs + outputs)).toBeGreaterThanOrEqual(inputs * outputs);
        if (2 * (inputs + outputs) <= inputs * outputs)
          expect(2 * group.rankStep * (inputs + outputs)).toBeLessThanOrEqual(inputs * outputs);
      }),
    );
  });
});

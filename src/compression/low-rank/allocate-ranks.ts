import { WhittleError } from '../../core/index.js';
import { energyBetween } from '../kernels/low-rank-kernel.js';

/** A weight matrix whose rank is to be chosen. */
export interface RankChoice {
  /** Singular values, largest first. */
  readonly values: Float64Array;
  readonly rankStep: number;
  /** Greatest rank that is cheaper than the whole matrix. */
  readonly greatestRank: number;
  /** Weights or multiply-adds of one rank, and of the whole matrix. */
  readonly rankCost: number;
  readonly wholeCost: number;
  /** What dropping all of its energy would cost, against the other matrices. */
  readonly importance: number;
}

/**
 * The same share of its greatest rank for every matrix: the greatest share that keeps within `budget`.
 * @param pass names the pass in the error.
 * @throws RECIPE_INVALID where the least ranks cost more than the budget.
 */
export function uniformRanks(choices: readonly RankChoice[], budget: number, pass: string): number[] {
  const ranksAt = (share: number): number[] =>
    choices.map(({ rankStep, greatestRank }) =>
      Math.max(rankStep, Math.floor((share * greatestRank) / rankStep) * rankStep),
    );
  checkReachable(choices, budget, pass);
  let [low, high] = [0, 1];
  if (costOf(choices, ranksAt(high)) <= budget) return ranksAt(high);
  // Halved until the shares are closer than any two ranks.
  for (let halving = 0; halving < 40; halving++) {
    const middle = (low + high) / 2;
    if (costOf(choices, ranksAt(middle)) <= budget) low = middle;
    else high = middle;
  }
  return ranksAt(low);
}

/**
 * Ranks that keep the most energy in all, each matrix's counted as a share of its own times its importance. From the
 * least ranks on, the step that brings the most a cost is taken while it fits the budget; the last step of a matrix is to
 * stay whole, which is answered as undefined.
 * @param pass names the pass in the error.
 * @throws RECIPE_INVALID where the least ranks cost more than the budget.
 */
export function greedyRanks(
  choices: readonly RankChoice[],
  budget: number,
  pass: string,
): (number | undefined)[] {
  let left = checkReachable(choices, budget, pass);
  const ranks: (number | undefined)[] = choices.map(({ rankStep }) => rankStep);
  for (;;) {
    const steps = choices.flatMap((choice, index) => {
      const step = nextStep(choice, ranks[index]);
      return step === undefined || step.cost > left || step.gain <= 0 ? [] : [{ ...step, index }];
    });
    const [first, ...others] = steps;
    if (first === undefined) return ranks;
    const best = others.reduce(
      (most, step) => (step.gain * most.cost > most.gain * step.cost ? step : most),
      first,
    );
    ranks[best.index] = best.rank;
    left -= best.cost;
  }
}

interface Step {
  readonly rank: number | undefined;
  readonly gain: number;
  readonly cost: number;
}

function nextStep(choice: RankChoice, rank: number | undefined): Step | undefined {
  if (rank === undefined) return undefined;
  const { values, rankStep, greatestRank, rankCost, wholeCost, importance } = choice;
  const total = energyBetween(values, 0, values.length);
  const next = rank + rankStep;
  const whole = next > greatestRank;
  const gained = energyBetween(values, rank, whole ? values.length : next);
  return {
    rank: whole ? undefined : next,
    gain: total === 0 ? 0 : (importance * gained) / total,
    cost: whole ? wholeCost - rank * rankCost : rankStep * rankCost,
  };
}

function costOf(choices: readonly RankChoice[], ranks: readonly number[]): number {
  return choices.reduce((sum, { rankCost }, index) => sum + rankCost * (ranks[index] ?? 0), 0);
}

/** What the budget leaves after the least ranks. */
function checkReachable(choices: readonly RankChoice[], budget: number, pass: string): number {
  const least = costOf(
    choices,
    choices.map(({ rankStep }) => rankStep),
  );
  if (least <= budget) return budget - least;
  const whole = choices.reduce((sum, { wholeCost }) => sum + wholeCost, 0);
  const share = least / whole;
  throw new WhittleError(
    'RECIPE_INVALID',
    `${pass} cannot reach a share of ${(budget / whole).toFixed(4)}: the least possible is ${share.toFixed(4)}`,
    { pass, value: budget / whole, allowed: `at least ${share}` },
  );
}

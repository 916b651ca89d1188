import { must } from '../core/index.js';
import { chiSquareUpperTail } from './chi-square.js';
import { undefinedStatistic } from './estimate.js';

/** Below this p-value the split of users is taken to be broken. */
const ALARM_P_VALUE = 0.001;
/** Users that each arm must be expected to have for χ² to hold (Cochran 1954). */
const MIN_EXPECTED = 5;

/** The test of whether arms have the shares of users that their weights give. */
export interface SampleRatio {
  readonly chiSquare: number;
  readonly degreesOfFreedom: number;
  readonly pValue: number;
  /** Whether p < 0.001: something loses users of one arm, and the arms cannot be compared. */
  readonly mismatch: boolean;
}

/** One arm: its unique users, and its weight (any positive scale; arms of weight 0 are left out). */
export interface ArmCount {
  readonly users: number;
  readonly weight: number;
}

/**
 * Pearson's χ² for a sample ratio mismatch: Σ(o − e)²/e over arms with a weight above 0, degrees of freedom
 * arms − 1. For one look; looked at continually it alarms more often than its level.
 * @throws STATISTIC_UNDEFINED below two such arms, and while an arm is expected to have fewer than 5 users.
 */
export function sampleRatio(counts: readonly ArmCount[]): SampleRatio {
  const arms = counts.filter((arm) => arm.weight > 0);
  if (arms.length < 2)
    throw undefinedStatistic('A sample ratio needs two arms with a weight above 0.', { arms: arms.length });
  const users = arms.reduce((sum, arm) => sum + arm.users, 0);
  const weight = arms.reduce((sum, arm) => sum + arm.weight, 0);
  const expected = arms.map((arm) => (users * arm.weight) / weight);
  if (!(Math.min(...expected) >= MIN_EXPECTED))
    throw undefinedStatistic('A sample ratio needs 5 expected users in every arm.', { users, expected });
  const chiSquare = arms.reduce((sum, arm, index) => {
    const expectedUsers = must(expected[index], 'expected users');
    return sum + (arm.users - expectedUsers) ** 2 / expectedUsers;
  }, 0);
  const degreesOfFreedom = arms.length - 1;
  const pValue = chiSquareUpperTail(chiSquare, degreesOfFreedom);
  return { chiSquare, degreesOfFreedom, pValue, mismatch: pValue < ALARM_P_VALUE };
}

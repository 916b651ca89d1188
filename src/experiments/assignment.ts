import { must, WhittleError } from '../core/index.js';
import { murmur3 } from './murmur3.js';

/** What assignment needs of an arm. */
export interface WeightedArm {
  readonly name: string;
  readonly weight: number;
}

/** `weight` as digits × 10^−decimals, exactly as it is written: 33.3 is 333 and 1. */
function decimal(weight: number): { digits: bigint; decimals: number } {
  const [mantissa = '', exponent = '0'] = String(weight).split('e');
  const [whole = '', fraction = ''] = mantissa.split('.');
  const decimals = fraction.length - Number(exponent);
  const digits = BigInt(whole + fraction);
  return decimals >= 0 ? { digits, decimals } : { digits: digits * 10n ** BigInt(-decimals), decimals: 0 };
}

function checkWeights(arms: readonly WeightedArm[]): void {
  for (const arm of arms)
    if (!(Number.isFinite(arm.weight) && arm.weight >= 0))
      throw new WhittleError(
        'CONFIG_INVALID',
        `The weight of arm "${arm.name}" must be a number of at least 0.`,
        {
          field: 'weight',
          arm: arm.name,
          value: arm.weight,
          allowed: 'finite, at least 0',
        },
      );
  if (!arms.some((arm) => arm.weight > 0))
    throw new WhittleError('CONFIG_INVALID', 'An experiment needs an arm with a weight above 0.', {
      field: 'arms',
      value: arms.map((arm) => arm.weight),
      allowed: 'at least one weight above 0',
    });
}

/**
 * The weights as integers in the same proportions, without rounding: all are multiplied by the power of ten that
 * clears the decimals they are written with.
 * @throws CONFIG_INVALID where a weight is negative or not finite, or none is above 0.
 */
export function integerWeights(arms: readonly WeightedArm[]): readonly bigint[] {
  checkWeights(arms);
  const parts = arms.map((arm) => decimal(arm.weight));
  const decimals = Math.max(...parts.map((part) => part.decimals));
  return parts.map((part) => part.digits * 10n ** BigInt(decimals - part.decimals));
}

/** The arm of a unit (a user id, or a request id where there is no user). */
export type Assigner<A extends WeightedArm> = (unitId: string) => A;

/**
 * Prepares the assignment of units to arms, a pure function of salt and unit id: bucket = (hash × total weight) >> 32
 * in integers, where hash is the 32-bit MurmurHash3 of `salt + "/" + unitId`; arms take consecutive ranges of buckets
 * in their order. Only the proportions of the weights count, their sum does not.
 *
 * Ramps: an arm keeps everybody it has when it grows while an end of its range stays in place. That holds for the
 * first arm and the last one; put the arm that is ramped there (with two arms both are).
 * @throws CONFIG_INVALID where a weight is negative or not finite, or none is above 0.
 */
export function createAssigner<A extends WeightedArm>(salt: string, arms: readonly A[]): Assigner<A> {
  const weights = integerWeights(arms);
  let total = 0n;
  const ends = weights.map((weight) => (total += weight));
  return (unitId) => {
    const bucket = (BigInt(murmur3(`${salt}/${unitId}`)) * total) >> 32n;
    return must(arms[ends.findIndex((end) => bucket < end)], 'the arm of a bucket');
  };
}

/** One assignment; use {@link createAssigner} for many. @throws CONFIG_INVALID as there. */
export function assign<A extends WeightedArm>(salt: string, unitId: string, arms: readonly A[]): A {
  return createAssigner(salt, arms)(unitId);
}

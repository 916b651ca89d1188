import { undefinedStatistic } from './estimate.js';

const TOLERANCE = 1e-16;
const MAX_TERMS = 100_000;

/** ln Γ(halves / 2), by Γ(a + 1) = a·Γ(a) from Γ(1/2) = √π or Γ(1) = 1. */
function lnGammaOfHalves(halves: number): number {
  let sum = halves % 2 === 0 ? 0 : Math.log(Math.PI) / 2;
  for (let half = halves % 2 === 0 ? 2 : 1; half < halves; half += 2) sum += Math.log(half / 2);
  return sum;
}

/** Σ xᵏ / (a(a+1)…(a+k)), which gives the lower tail (DLMF 8.7.1). */
function lowerSeries(a: number, x: number): number {
  let term = 1 / a;
  let sum = term;
  for (let k = 1; k < MAX_TERMS && term > sum * TOLERANCE; k++) {
    term *= x / (a + k);
    sum += term;
  }
  return sum;
}

/** The continued fraction of the upper tail (DLMF 8.9.2), by Lentz's method. */
function upperFraction(a: number, x: number): number {
  let b = x + 1 - a;
  let c = Number.MAX_VALUE;
  let d = 1 / b;
  let fraction = d;
  for (let k = 1; k < MAX_TERMS; k++) {
    const numerator = -k * (k - a);
    b += 2;
    d = 1 / (numerator * d + b);
    c = b + numerator / c;
    fraction *= d * c;
    if (Math.abs(d * c - 1) < 4 * Number.EPSILON) break;
  }
  return fraction;
}

/**
 * Upper tail of the χ² distribution, the regularised incomplete gamma function Q(degreesOfFreedom / 2,
 * chiSquare / 2).
 * @throws STATISTIC_UNDEFINED unless χ² is finite and not negative and the degrees of freedom are a positive
 * integer.
 */
export function chiSquareUpperTail(chiSquare: number, degreesOfFreedom: number): number {
  const valid = chiSquare >= 0 && Number.isFinite(chiSquare);
  if (!valid || !Number.isInteger(degreesOfFreedom) || degreesOfFreedom < 1)
    throw undefinedStatistic('The χ² distribution is not defined here.', { chiSquare, degreesOfFreedom });
  if (chiSquare === 0) return 1;
  const a = degreesOfFreedom / 2;
  const x = chiSquare / 2;
  const factor = Math.exp(a * Math.log(x) - x - lnGammaOfHalves(degreesOfFreedom));
  return x < a + 1 ? 1 - factor * lowerSeries(a, x) : factor * upperFraction(a, x);
}

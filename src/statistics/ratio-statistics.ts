import { undefinedStatistic, type Estimate } from './estimate.js';
import { contrastEstimate, type PairStatistics } from './pair-statistics.js';

/**
 * The ratio R = ΣS / ΣN over users, for example clicks a request, with pairs (S, N). Clustered by user (delta
 * method): Var(R) = [Var(S) − 2R·Cov(S, N) + R²·Var(N)] / (K·N̄²), the variance of the contrast S − R·N over
 * N̄².
 * @throws STATISTIC_UNDEFINED below two users, and where ΣN is not above 0.
 */
export function ratioEstimate(pairs: PairStatistics): Estimate {
  if (!(pairs.meanY > 0))
    throw undefinedStatistic('A ratio needs a denominator above 0.', {
      users: pairs.count,
      denominator: pairs.meanY * pairs.count,
    });
  const ratio = pairs.meanX / pairs.meanY;
  const contrast = contrastEstimate(pairs, ratio);
  return { ...contrast, mean: ratio, standardError: contrast.standardError / pairs.meanY };
}

/** Degrees of freedom of a sum of two independent variances (Welch 1947, Satterthwaite 1946). */
function welchDegrees(
  first: Estimate,
  firstVariance: number,
  second: Estimate,
  secondVariance: number,
): number {
  const sum = firstVariance + secondVariance;
  if (sum === 0) return Math.min(first.degreesOfFreedom, second.degreesOfFreedom);
  return (
    (sum * sum) /
    (firstVariance ** 2 / first.degreesOfFreedom + secondVariance ** 2 / second.degreesOfFreedom)
  );
}

/** treatment − control of two independent estimates, with Welch's degrees of freedom. */
export function difference(treatment: Estimate, control: Estimate): Estimate {
  const varianceB = treatment.standardError ** 2;
  const varianceA = control.standardError ** 2;
  return {
    mean: treatment.mean - control.mean,
    standardError: Math.sqrt(varianceA + varianceB),
    degreesOfFreedom: welchDegrees(treatment, varianceB, control, varianceA),
  };
}

/**
 * Relative lift B / A − 1 of two independent arms' means or ratios, B the treatment. Delta method:
 * Var = Var(B)/A² + B²·Var(A)/A⁴.
 * @throws STATISTIC_UNDEFINED where the control is not above 0.
 */
export function relativeLift(treatment: Estimate, control: Estimate): Estimate {
  if (!(control.mean > 0))
    throw undefinedStatistic('A relative lift needs a control above 0.', { control: control.mean });
  const fromB = (treatment.standardError / control.mean) ** 2;
  const fromA = ((treatment.mean * control.standardError) / control.mean ** 2) ** 2;
  return {
    mean: treatment.mean / control.mean - 1,
    standardError: Math.sqrt(fromA + fromB),
    degreesOfFreedom: welchDegrees(treatment, fromB, control, fromA),
  };
}

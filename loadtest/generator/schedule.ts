import { WhittleError, type Random } from '../../src/core/index.js';

/** A stretch of load whose rate goes evenly from one value to another, requests a second. */
export interface Segment {
  readonly fromRate: number;
  readonly toRate: number;
  readonly seconds: number;
}

export type Arrivals = 'poisson' | 'constant';

/** Bounds memory: eight bytes an arrival. */
const MAX_ARRIVALS = 10_000_000;

/**
 * Moments at which requests are due, ascending, milliseconds from the start of the first segment. `constant` spaces
 * them by the inverse of the rate; `poisson` draws a Poisson process with that rate by time rescaling: arrivals of a
 * process of rate 1, taken through the inverse of the cumulative rate (Cox and Lewis 1966, section 2.3).
 *
 * @throws USAGE_INVALID for more than ten million arrivals.
 */
export function arrivalTimes(segments: readonly Segment[], arrivals: Arrivals, random: Random): Float64Array {
  const expected = segments.reduce((sum, segment) => sum + arrivalsOf(segment), 0);
  if (expected > MAX_ARRIVALS) throw tooMany(expected);
  const times: number[] = [];
  const step = arrivals === 'constant' ? () => 1 : () => -Math.log(1 - random.uniform());
  // Position of the next arrival in the process of rate 1, within the segment.
  let position = arrivals === 'constant' ? 0 : step();
  let startSeconds = 0;
  for (const segment of segments) {
    const end = arrivalsOf(segment);
    for (; position < end; position += step()) {
      times.push((startSeconds + secondsUntil(position, segment)) * 1000);
    }
    position -= end;
    startSeconds += segment.seconds;
  }
  return Float64Array.from(times);
}

/** Arrivals that a segment holds on average. */
function arrivalsOf({ fromRate, toRate, seconds }: Segment): number {
  return ((fromRate + toRate) / 2) * seconds;
}

/** Solves fromRate t + (toRate - fromRate) t² / (2 seconds) = position, in the form that does not cancel. */
function secondsUntil(position: number, { fromRate, toRate, seconds }: Segment): number {
  if (position === 0) return 0;
  const slope = (toRate - fromRate) / seconds;
  return (2 * position) / (fromRate + Math.sqrt(Math.max(0, fromRate ** 2 + 2 * slope * position)));
}

function tooMany(expected: number): WhittleError {
  return new WhittleError(
    'USAGE_INVALID',
    `The load is about ${Math.round(expected)} requests; allowed are ${MAX_ARRIVALS}: lower the rate or the seconds`,
    { field: 'rate', value: expected, allowed: MAX_ARRIVALS },
  );
}

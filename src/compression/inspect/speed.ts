/** How many times as fast: from, to. */
export interface SpeedRange {
  readonly low: number;
  /** Null where nothing says how much it is at most. */
  readonly high: number | null;
}

/** Multiply-adds that become faster, and how many times. */
export interface FasterPart {
  readonly multiplyAdds: number;
  readonly low: number;
  readonly high: number;
}

/** Layers narrower than this gain nothing: the operators around them take the time (measured at 32 and at 64). */
const NARROW = 64;

/** Whether a layer is wide enough for its arithmetic to decide its time. */
export function isWide(inputs: number, outputs: number): boolean {
  return Math.min(inputs, outputs) >= NARROW;
}

/**
 * Share of a run's time outside its products, at most: int8 made the demo's ranker 2.0 times faster at 100 rows, and its
 * dense layers alone 2.9 times.
 */
const OUTSIDE = 0.25;

/**
 * The whole run's gain (Amdahl's law): at most as if time went with multiply-adds, at least as if a quarter of it were
 * outside them. Null where there are none.
 */
export function timesFaster(total: number, parts: readonly FasterPart[]): SpeedRange | null {
  if (!(total > 0)) return null;
  const timeLeft = (factorOf: (part: FasterPart) => number): number =>
    1 - parts.reduce((sum, part) => sum + (part.multiplyAdds / total) * (1 - 1 / factorOf(part)), 0);
  const slow = timeLeft(({ low }) => low);
  // What takes longer is not made better by what stands outside.
  return {
    low: 1 / (slow < 1 ? OUTSIDE + (1 - OUTSIDE) * slow : slow),
    high: 1 / timeLeft(({ high }) => high),
  };
}

/** Steps one after the other gain at least what the best of them does; null where none is known. */
export function composedSpeed(steps: readonly (SpeedRange | null)[]): SpeedRange | null {
  const known = steps.filter((step) => step !== null);
  const [first, second] = known.filter((step) => step.high === null || step.high > 1);
  if (first !== undefined && second !== undefined)
    return { low: Math.max(...known.map(({ low }) => low)), high: null };
  return first ?? known[0] ?? null;
}

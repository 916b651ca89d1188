import { editDistance } from '../retrieval/index.js';

/** Beyond this many edits two names have nothing to do with each other. */
const FURTHEST = 8;

/**
 * The known name that someone may have meant by `name`: the one the fewest edits away, where those are at most a third
 * of the name's letters (and at least 2), counting a name that only goes on longer as one edit. The first one wins a tie.
 */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  const written = name.toLowerCase();
  const edits = known.map((candidate) => {
    const whole = candidate.toLowerCase();
    const start = editDistance(written, whole.slice(0, written.length), FURTHEST) + 1;
    return Math.min(editDistance(written, whole, FURTHEST), start);
  });
  const least = Math.min(...edits);
  return least <= Math.max(2, written.length / 3) ? known[edits.indexOf(least)] : undefined;
}

/** ` (did you mean x?)`, or nothing where no known name is near. */
export function didYouMean(nearest: string | undefined): string {
  return nearest === undefined ? '' : ` (did you mean ${nearest}?)`;
}

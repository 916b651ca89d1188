import type { Scorer } from './scorer.js';

/** Ranks by the number of users who have the item in `histories`, the same for everyone. */
export function popularityScorer(histories: readonly Int32Array[], items: number): Scorer {
  const counts = new Float32Array(items);
  for (const history of histories)
    for (const item of new Set(history)) counts[item] = (counts[item] ?? 0) + 1;
  return {
    score(_history, out) {
      out.set(counts);
    },
  };
}

import type { Split } from '../data/index.js';
import type { Scorer } from './scorer.js';
import { topK } from './top-k.js';

/**
 * Ranks, for each judged user of a split, all items that are not in the user's `train`; no sampled negatives.
 * @returns Per user the best `k` item indexes; empty for a user who is not judged.
 */
export function rankUnseen(scorer: Scorer, split: Split, items: number, k: number): readonly Int32Array[] {
  const scores = new Float32Array(items);
  const seen = new Uint8Array(items);
  return split.targets.map((targets, user) => {
    if (targets.length === 0) return new Int32Array();
    const history = split.train.items[user] ?? new Int32Array();
    scorer.score(history, scores);
    for (const item of history) seen[item] = 1;
    const ranked = topK(scores, k, seen);
    for (const item of history) seen[item] = 0;
    return ranked;
  });
}

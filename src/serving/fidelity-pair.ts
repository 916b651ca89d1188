import { overlapAtK, scoreError, scoreNdcgAtK, topK } from '../evaluation/index.js';

/** How close a variant's scores of some candidates came to the full model's; the 10 is the configured depth. */
export interface FidelityPair {
  readonly overlapAt10: number;
  readonly ndcgAt10: number;
  readonly scoreError: number;
}

/** Compares two models' scores of the same candidates down to rank `k`. @throws STATISTIC_UNDEFINED as `scoreError`. */
export function compareScores(variant: Float32Array, full: Float32Array, k: number): FidelityPair {
  const order = topK(variant, k);
  return {
    overlapAt10: overlapAtK(order, topK(full, k), k),
    ndcgAt10: scoreNdcgAtK(order, full, k),
    scoreError: scoreError(variant, full),
  };
}

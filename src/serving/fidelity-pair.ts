import { overlapAtK, scoreError, scoreNdcgAtK, topK } from '../evaluation/index.js';

/** Depth of the overlap and the NDCG. */
const DEPTH = 10;

/** How close a variant's scores of some candidates came to the full model's. */
export interface FidelityPair {
  readonly overlapAt10: number;
  readonly ndcgAt10: number;
  readonly scoreError: number;
}

/** Compares two models' scores of the same candidates. @throws STATISTIC_UNDEFINED as `scoreError`. */
export function compareScores(variant: Float32Array, full: Float32Array): FidelityPair {
  const order = topK(variant, DEPTH);
  return {
    overlapAt10: overlapAtK(order, topK(full, DEPTH), DEPTH),
    ndcgAt10: scoreNdcgAtK(order, full, DEPTH),
    scoreError: scoreError(variant, full),
  };
}

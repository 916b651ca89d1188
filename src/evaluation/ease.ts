import { WhittleError } from '../core/index.js';
import { interactionMatrix, rowOf, transpose, type InteractionMatrix } from './interaction-matrix.js';
import { invertSymmetric } from './inverse-kernel.js';
import type { Scorer } from './scorer.js';
import { addRow, countPairs, multiplySquare, scaleColumns, sumSubmatrix } from './sparse-kernel.js';

/**
 * EASE (Steck 2019, arXiv 1905.03375): the linear item-item model of least squared error on the binary matrix X of
 * `histories`, with a zero diagonal and ridge λ. With P = (XᵀX + λI)⁻¹ a history x scores item j it does not hold by
 * −(xP)_j / P_jj. Items in the history get −Infinity: the model has no score for them.
 *
 * P comes from whichever side is smaller: items × items, or users × users by (XᵀX + λI)⁻¹ = (I − Xᵀ(XXᵀ + λI)⁻¹X)/λ
 * (Woodbury). Time grows with the third power of that side, memory with the second (8 bytes an entry).
 * @throws INPUT_INVALID where λ is not positive.
 */
export function easeScorer(histories: readonly Int32Array[], items: number, lambda: number): Scorer {
  if (!(lambda > 0))
    throw new WhittleError('INPUT_INVALID', 'lambda must be positive', { field: 'lambda', value: lambda });
  const users = interactionMatrix(histories, items);
  const scorer = users.rows < items ? dualScorer(users, lambda) : primalScorer(users, lambda);
  return {
    score(history, out) {
      const distinct = Int32Array.from(new Set(history));
      scorer(distinct, out);
      for (const item of distinct) out[item] = -Infinity;
    },
  };
}

type DistinctScorer = (history: Int32Array, out: Float32Array) => void;

/** (MᵀM + λI)⁻¹ of a binary matrix, `[width, width]`. */
function inverseGram(matrix: InteractionMatrix, lambda: number): Float64Array {
  const size = matrix.width;
  const gram = new Float64Array(size * size);
  for (let row = 0; row < matrix.rows; row++) countPairs(gram, rowOf(matrix, row), size);
  for (let index = 0; index < size; index++)
    gram[index * size + index] = (gram[index * size + index] ?? 0) + lambda;
  invertSymmetric(gram, size);
  return gram;
}

function primalScorer(users: InteractionMatrix, lambda: number): DistinctScorer {
  const size = users.width;
  const inverse = inverseGram(users, lambda);
  const weights = new Float32Array(size * size);
  scaleColumns(inverse, size, weights);
  return (history, out) => {
    out.fill(0);
    for (const item of history) addRow(out, weights, item, size);
  };
}

/**
 * With K = (XXᵀ + λI)⁻¹, λ(xP)_j = x_j − (Xᵀ·K·(Xx))_j and λP_jj = 1 − X_jᵀ·K·X_j, where X_j is column j of X; x_j is 0
 * for the items scored and λ cancels.
 */
function dualScorer(users: InteractionMatrix, lambda: number): DistinctScorer {
  const size = users.rows;
  const items = transpose(users);
  const inverse = inverseGram(items, lambda);
  const diagonal = Float64Array.from(
    { length: users.width },
    (_, item) => 1 - sumSubmatrix(inverse, rowOf(items, item), size),
  );
  const shared = new Float64Array(size);
  const projected = new Float64Array(size);
  return (history, out) => {
    shared.fill(0);
    for (const item of history) for (const user of rowOf(items, item)) shared[user] = (shared[user] ?? 0) + 1;
    multiplySquare(inverse, shared, size, projected);
    for (let item = 0; item < users.width; item++) {
      let sum = 0;
      for (const user of rowOf(items, item)) sum += projected[user] ?? 0;
      out[item] = sum / (diagonal[item] ?? 0);
    }
  };
}

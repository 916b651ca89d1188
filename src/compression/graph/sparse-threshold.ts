import { elementCount } from '../../core/index.js';
import type { Graph } from '../../onnx/index.js';
import { binOf, countScores, scoreHistogram, thresholdOf } from '../kernels/sparsity-kernel.js';
import type { Threshold } from '../kernels/sparsity-kernel.js';
import { valuesOf } from './sparse-layers.js';
import type { InputSizes, SparseWeight } from './sparse-layers.js';

/**
 * The `share` of weights with the smallest scores among several tensors. They are read twice, one after the other, and
 * counted by the halves of their scores' bits, so that no list of scores is held.
 */
export function smallestScores(
  graph: Graph,
  weights: readonly SparseWeight[],
  sizes: InputSizes,
  share: number,
): Threshold {
  const count = Math.round(share * weights.reduce((sum, { dims }) => sum + elementCount(dims), 0));
  if (count === 0) return { bits: 0, ties: 0 };
  const upper = scoreHistogram();
  for (const each of weights) countScores(valuesOf(graph, each), each.axis, sizes(each), upper);
  const high = binOf(upper, count);
  const lower = scoreHistogram();
  for (const each of weights) countScores(valuesOf(graph, each), each.axis, sizes(each), lower, high.bin);
  return thresholdOf(high.bin, binOf(lower, high.left));
}

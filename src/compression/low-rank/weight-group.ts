import { must } from '../../core/index.js';
import type { Matrix } from '../calibration/float64-products.js';
import { storedWeight } from '../graph/matrix-products.js';
import type { MatrixProduct } from '../graph/matrix-products.js';
import { widened } from '../kernels/low-rank-kernel.js';

/** One weight matrix and the products that use it. */
export interface WeightGroup {
  readonly products: readonly [MatrixProduct, ...MatrixProduct[]];
  readonly inputs: number;
  readonly outputs: number;
  /** Ranks are multiples of this. */
  readonly rankStep: number;
}

/** Runs are fastest at multiples of the 16 columns that ONNX Runtime's kernels work on at once. */
const MAX_RANK_STEP = 16;

/** Puts products with the same weights, in the same orientation and scale, together. */
export function groupByWeight(products: readonly MatrixProduct[]): WeightGroup[] {
  const scopes = new Map<object, number>();
  const groups = new Map<string, [MatrixProduct, ...MatrixProduct[]]>();
  for (const product of products) {
    const { graph } = product.weightScope;
    const scope = scopes.get(graph) ?? scopes.size;
    scopes.set(graph, scope);
    const key = JSON.stringify([scope, product.weightName, product.weightTransposed, product.alpha]);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [product]);
    else group.push(product);
  }
  return [...groups.values()].map((group) => {
    const { inputs, outputs } = must(group[0], 'product');
    return { products: group, inputs, outputs, rankStep: rankStep(inputs, outputs) };
  });
}

/** The largest power of two up to 16 that leaves a choice of at least four ranks below the break-even. */
export function rankStep(inputs: number, outputs: number): number {
  const quarter = (inputs * outputs) / (inputs + outputs) / 4;
  return Math.min(MAX_RANK_STEP, 2 ** Math.max(0, Math.floor(Math.log2(quarter))));
}

/** Elements of the weights, whole and at a rank. */
export function weightsOf({ inputs, outputs }: WeightGroup, rank?: number): number {
  return rank === undefined ? inputs * outputs : rank * (inputs + outputs);
}

/** The greatest rank, in its steps, that makes the weights fewer; 0 where none does. */
export function greatestRank({ inputs, outputs }: WeightGroup): number {
  return greatestRankOf(inputs, outputs);
}

/** As {@link greatestRank}, of an `[inputs, outputs]` matrix. */
export function greatestRankOf(inputs: number, outputs: number): number {
  const step = rankStep(inputs, outputs);
  const below = Math.ceil((inputs * outputs) / (inputs + outputs)) - 1;
  return Math.floor(below / step) * step;
}

/** `W[inputs, outputs]` with the factor of a Gemm worked in; a copy, which is the caller's. */
export function weightMatrix({ products: [product], inputs, outputs }: WeightGroup): Matrix {
  const { alpha, weightTransposed } = product;
  const data = widened(storedWeight(product), inputs, outputs, alpha, weightTransposed);
  return { rows: inputs, columns: outputs, data };
}

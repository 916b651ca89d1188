import { float32 } from '../../core/index.js';
import type { GraphEdit } from '../graph/graph-edit.js';
import { turned, writeProduct } from '../graph/product-writer.js';
import type { Factors } from './spectrum.js';
import type { WeightGroup } from './weight-group.js';

/** Replaces every product with the group's weights by two, `x · first · second`; what else its node did stays. */
export function writeFactors(
  edit: GraphEdit,
  { products, inputs, outputs }: WeightGroup,
  { first, second }: Factors,
): void {
  const rank = first.length / inputs;
  const base = products[0].weightName;
  const left = edit.tensor(`${base}/left`, float32(first, [inputs, rank]));
  const right = edit.tensor(`${base}/right`, float32(second, [rank, outputs]));
  for (const product of products) {
    const nodes = edit.writer(product.name);
    writeProduct(edit, nodes, product, (output) => {
      const rows = turned(nodes, product.input, product.inputPerm);
      return nodes.value('MatMul', [nodes.value('MatMul', [rows, left]), right], {}, output);
    });
  }
}

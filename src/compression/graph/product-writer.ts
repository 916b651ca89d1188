import { elementCount, float32, float32Data, must } from '../../core/index.js';
import { constantInfo, constantTensor } from '../../onnx/index.js';
import type { GraphEdit, NodeWriter } from './graph-edit.js';
import type { MatrixProduct } from './matrix-products.js';
import { visibleGraph } from './scopes.js';

/** The value with its axes turned; itself where there is no `perm`. */
export function turned(nodes: NodeWriter, value: string, perm: readonly number[] | undefined): string {
  return perm === undefined ? value : nodes.value('Transpose', [value], { perm });
}

/**
 * Writes a product in another form, and then what its node did beside: axes turned back, the bias added. `write` adds
 * the nodes of `alpha · x' · W` and answers its name, which must be the one it is given where it is given one.
 */
export function writeProduct(
  edit: GraphEdit,
  nodes: NodeWriter,
  product: MatrixProduct,
  write: (output?: string) => string,
): void {
  const { output, outputPerm } = product;
  const bias = biasValue(edit, nodes, product);
  const inner = bias === undefined ? output : undefined;
  const value =
    outputPerm === undefined
      ? write(inner)
      : nodes.value('Transpose', [write()], { perm: outputPerm }, inner);
  if (bias !== undefined) nodes.value('Add', [value, bias], {}, output);
  edit.replace(product.node, nodes.nodes);
}

/** What is to be added to the product, with beta worked in; the bias as it is where that is nothing. */
function biasValue(edit: GraphEdit, nodes: NodeWriter, product: MatrixProduct): string | undefined {
  if (product.bias === undefined) return undefined;
  const { name, beta } = product.bias;
  const graph = visibleGraph(product.scope);
  const info = constantInfo(graph, name);
  if (info?.dtype !== 'float32') {
    if (beta === 1) return name;
    return nodes.value('Mul', [name, edit.sharedTensor('beta', float32(Float32Array.of(beta), []))]);
  }
  // ONNX Runtime fuses a bias only where it has one number for each output.
  const widen = product.outputPerm === undefined && elementCount(info.dims) === 1;
  if (beta === 1 && !widen) return name;
  const data = float32Data(must(constantTensor(graph, name), 'bias'));
  const scaled = widen
    ? new Float32Array(product.outputs).fill(beta * (data[0] ?? 0))
    : data.map((value) => beta * value);
  const dims = widen ? [product.outputs] : info.dims;
  return edit.sharedTensor(`${product.name}/bias`, float32(scaled, dims));
}

import { elementCount } from '../../core/index.js';
import { intAttribute, stringAttribute } from '../../onnx/index.js';
import type { Node } from '../../onnx/index.js';

/** Dimensions of a value; undefined where they are not known. */
export type DimsOf = (name: string) => readonly number[] | undefined;

type Rule = (node: Node, dims: readonly (readonly number[])[]) => number;

/** Matrix products: every element of the output sums over the inner axis of the left operand. */
const product: Rule = (node, [left = [], , output = []]) =>
  elementCount(output) * (left.at(intAttribute(node, 'transA', 0) === 0 ? -1 : -2) ?? 1);

/** Every element of the output sums over one filter. */
const convolution: Rule = (_, [, filters = [], output = []]) =>
  elementCount(output) * elementCount(filters.slice(1));

/** Every element of the input is spread over one filter. */
const transposedConvolution: Rule = (_, [input = [], filters = []]) =>
  elementCount(input) * elementCount(filters.slice(1));

/** Both matrices at each of `[steps, batch]`, in each direction. */
const recurrent: Rule = (_, [[steps = 0, batch = 0] = [], input = [], state = []]) =>
  steps * batch * (elementCount(input) + elementCount(state));

/** Projection to queries, keys and values, then their products. Rows of earlier runs are not counted. */
const fusedAttention: Rule = (_, [[batch = 0, length = 0, width = 0] = [], [, projected = 0] = []]) =>
  batch * length * width * projected + (2 * batch * length * length * projected) / 3;

/** Queries with keys, and weights with values: `[batch, length, width]`, or `[batch, heads, length, width]`. */
const attention: Rule = (_, [queries = [], keys = []]) => 2 * elementCount(queries) * (keys.at(-2) ?? 1);

/** One multiplication for each way to choose all letters of the equation. */
const einsum: Rule = (node, dims) => {
  const equation = stringAttribute(node, 'equation', '').replaceAll(' ', '').split('->')[0] ?? '';
  if (equation.includes('.')) return 0;
  const lengths = new Map<string, number>();
  equation.split(',').forEach((letters, operand) => {
    dims[operand]?.forEach((length, axis) => lengths.set(letters.charAt(axis), length));
  });
  return elementCount([...lengths.values()]);
};

interface Counted {
  readonly rule: Rule;
  /** Inputs whose shapes the rule takes, before the output's; default the first two. */
  readonly inputs?: readonly number[];
}

const RULES: Readonly<Record<string, Counted>> = {
  MatMul: { rule: product },
  Gemm: { rule: product },
  MatMulInteger: { rule: product },
  QLinearMatMul: { rule: product, inputs: [0, 3] },
  Conv: { rule: convolution },
  ConvInteger: { rule: convolution },
  QLinearConv: { rule: convolution, inputs: [0, 3] },
  ConvTranspose: { rule: transposedConvolution },
  LSTM: { rule: recurrent, inputs: [0, 1, 2] },
  GRU: { rule: recurrent, inputs: [0, 1, 2] },
  RNN: { rule: recurrent, inputs: [0, 1, 2] },
  Attention: { rule: attention },
  Einsum: { rule: einsum },
  'com.microsoft.FusedMatMul': { rule: product },
  'com.microsoft.TransposeMatMul': { rule: product },
  'com.microsoft.FusedGemm': { rule: product },
  'com.microsoft.QGemm': { rule: product, inputs: [0, 3] },
  'com.microsoft.MatMulIntegerToFloat': { rule: product },
  'com.microsoft.DynamicQuantizeMatMul': { rule: product },
  'com.microsoft.MatMulNBits': { rule: product },
  'com.microsoft.MatMulBnb4': { rule: product },
  'com.microsoft.FusedConv': { rule: convolution },
  'com.microsoft.Attention': { rule: fusedAttention },
  'com.microsoft.QAttention': { rule: fusedAttention },
  'com.microsoft.MultiHeadAttention': { rule: attention },
};

/** Multiply-adds of a node's matrix products; undefined for one that has none, or whose shapes are not known. */
export function nodeMultiplyAdds(node: Node, dimsOf: DimsOf): number | undefined {
  const counted = RULES[node.domain === '' ? node.op : `${node.domain}.${node.op}`];
  if (counted === undefined) return undefined;
  const { rule, inputs = [0, 1] } = counted;
  const names = [...inputs.map((position) => node.inputs[position] ?? ''), node.outputs[0] ?? ''];
  const dims = names.map((name) => dimsOf(name));
  return dims.includes(undefined) ? undefined : rule(node, dims as readonly (readonly number[])[]);
}

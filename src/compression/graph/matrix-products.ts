import { elementCount, float32Data, must } from '../../core/index.js';
import { constantInfo, constantTensor, floatAttribute, intAttribute } from '../../onnx/index.js';
import type { Graph, Model, Node } from '../../onnx/index.js';
import type { LeftLayer } from '../pass.js';
import { isDenseOperator, layerName } from './dense-layers.js';
import { definingScope, scopesOf, visibleGraph } from './scopes.js';
import type { Scope } from './scopes.js';

/**
 * A MatMul or Gemm in whatever form, with one constant float32 operand, of any graph of the model:
 * `y = alpha · x' · W (+ beta · bias)`, where `x'` and `W[…batch, inputs, outputs]` may stand transposed in the graph. A
 * constant on the left, `y = W x`, is held as `yᵀ = xᵀ Wᵀ`.
 */
export interface MatrixProduct {
  readonly node: Node;
  readonly name: string;
  readonly scope: Scope;
  /** The computed operand. */
  readonly input: string;
  readonly output: string;
  readonly inputs: number;
  readonly outputs: number;
  /** Leading dimensions of the weights; none for a matrix. */
  readonly batch: readonly number[];
  readonly weightName: string;
  /** The graph that the weights' name belongs to. */
  readonly weightScope: Scope;
  /** Whether the constant is stored as `[…batch, outputs, inputs]`. */
  readonly weightTransposed: boolean;
  /** How the input's axes are turned before the product; undefined where they stay. */
  readonly inputPerm: readonly number[] | undefined;
  /** How the product's axes are turned after it. */
  readonly outputPerm: readonly number[] | undefined;
  readonly alpha: number;
  /** What a Gemm adds; its shape is any that broadcasts to the output, and it may be computed. */
  readonly bias: { readonly name: string; readonly beta: number } | undefined;
}

export interface MatrixProducts {
  readonly products: readonly MatrixProduct[];
  /** MatMul and Gemm nodes that are none, and why. */
  readonly left: readonly LeftLayer[];
}

/** The products of all graphs in their order; none for a model with operators before version `minOpset`. */
export function findMatrixProducts(model: Model, minOpset: number): MatrixProducts {
  const opset = model.opsets.get('') ?? 0;
  const tooOld = opset < minOpset ? `the model has opset ${opset}; this needs ${minOpset}` : undefined;
  const products: MatrixProduct[] = [];
  const left: LeftLayer[] = [];
  for (const scope of scopesOf(model))
    for (const node of scope.graph.nodes.filter(isDenseOperator)) {
      const product = tooOld ?? matchProduct(scope, node);
      if (typeof product === 'string') left.push({ layer: layerName(node), op: node.op, reason: product });
      else products.push(product);
    }
  return { products, left };
}

/** The weights as they are stored, `[…batch, inputs, outputs]` or with the last two the other way. Do not write to them. */
export function storedWeight({ scope, weightName }: MatrixProduct): Float32Array {
  return float32Data(must(constantTensor(visibleGraph(scope), weightName), 'weights'));
}

/** The names that an exclusion may go by: the layer's and its weights'. */
export function namesOf({ name, weightName }: MatrixProduct): readonly string[] {
  return [name, weightName];
}

/** Elements of the weights. */
export function weightCount({ batch, inputs, outputs }: MatrixProduct): number {
  return elementCount(batch) * inputs * outputs;
}

/** The product, or the reason why the node is none. */
function matchProduct(scope: Scope, node: Node): MatrixProduct | string {
  const graph = visibleGraph(scope);
  const [a = '', b = ''] = node.inputs;
  const [left, right] = [constantInfo(graph, a), constantInfo(graph, b)];
  if (left !== undefined && right !== undefined) return 'both operands are constant';
  const info = right ?? left;
  if (info === undefined) return 'both operands are computed';
  if (info.dtype !== 'float32') return `the weights are ${info.dtype}, not float32`;
  if (info.dims.length < 2) return `the weights have ${info.dims.length} dimensions, not 2 or more`;
  if (elementCount(info.dims) === 0) return 'the weights are empty';
  const form = right === undefined ? leftForm(graph, node, b, info.dims.length) : rightForm(node);
  if (typeof form === 'string') return form;
  const [inputs = 0, outputs = 0] = form.weightTransposed
    ? info.dims.slice(-2).reverse()
    : info.dims.slice(-2);
  const [input, weightName] = right === undefined ? [b, a] : [a, b];
  return {
    node,
    name: layerName(node),
    scope,
    input,
    output: must(node.outputs[0], 'output of a product'),
    inputs,
    outputs,
    batch: info.dims.slice(0, -2),
    weightName,
    weightScope: definingScope(scope, weightName),
    ...form,
    alpha: node.op === 'Gemm' ? floatAttribute(node, 'alpha', 1) : 1,
    bias: biasOf(node),
  };
}

type Form = Pick<MatrixProduct, 'weightTransposed' | 'inputPerm' | 'outputPerm'>;

const FLIP = [1, 0];

function rightForm(node: Node): Form {
  const [transA, transB] = transposes(node);
  return { weightTransposed: transB, inputPerm: transA ? FLIP : undefined, outputPerm: undefined };
}

/** `y = W x` as `yᵀ = xᵀ Wᵀ`; a vector `x` is its own transpose. */
function leftForm(graph: Graph, node: Node, input: string, weightRank: number): Form | string {
  const [transA, transB] = transposes(node);
  if (node.op === 'Gemm')
    return { weightTransposed: !transA, inputPerm: transB ? undefined : FLIP, outputPerm: FLIP };
  const rank = rankOf(graph, input);
  if (rank === undefined)
    return 'the constant is the left operand, and the rank of the right one is not recorded';
  if (rank < 2) return { weightTransposed: true, inputPerm: undefined, outputPerm: undefined };
  return {
    weightTransposed: true,
    inputPerm: lastTwoFlipped(rank),
    outputPerm: lastTwoFlipped(Math.max(rank, weightRank)),
  };
}

function lastTwoFlipped(rank: number): number[] {
  return [...Array(rank - 2).keys(), rank - 1, rank - 2];
}

function transposes(node: Node): readonly [boolean, boolean] {
  const flag = (name: string): boolean => node.op === 'Gemm' && intAttribute(node, name, 0) !== 0;
  return [flag('transA'), flag('transB')];
}

function rankOf({ inputs, valueInfos, outputs }: Graph, name: string): number | undefined {
  return [...inputs, ...valueInfos, ...outputs].find((value) => value.name === name)?.dims?.length;
}

function biasOf(node: Node): MatrixProduct['bias'] {
  const name = node.op === 'Gemm' ? (node.inputs[2] ?? '') : '';
  return name === '' ? undefined : { name, beta: floatAttribute(node, 'beta', 1) };
}

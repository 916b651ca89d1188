import { elementCount } from '../../core/index.js';
import { constantInfo, constantTensor } from '../../onnx/index.js';
import type { Graph, Model, Node } from '../../onnx/index.js';
import { widenRange } from '../kernels/calibration-kernel.js';
import type { LeftLayer } from '../pass.js';
import { matchConv } from './conv-layers.js';
import { layerName } from './dense-layers.js';
import { findMatrixProducts } from './matrix-products.js';
import type { MatrixProduct } from './matrix-products.js';
import { raiseOpset } from './raise-opset.js';
import { soleReader } from './readers.js';
import { scopesOf } from './scopes.js';

/** A layer of the main graph with constant weights, whose input and weights can be stored in 8 bits. */
export interface StaticLayer {
  readonly kind: 'dense' | 'conv';
  readonly node: Node;
  readonly name: string;
  readonly input: string;
  /** The layer's result with its bias. */
  readonly output: string;
  readonly weightName: string;
  /** Of the weights as they are stored: dense `[inputs, outputs]` or the other way, conv `[outputs, …]`. */
  readonly weightDims: readonly number[];
  readonly weightTransposed: boolean;
  readonly outputs: number;
  readonly alpha: number;
  /** What is added, times `beta`; for a MatMul it is the constant of the Add behind it. */
  readonly bias: { readonly name: string; readonly beta: number } | undefined;
  /** The Add that holds a MatMul's bias; it is part of the layer. */
  readonly biasNode: Node | undefined;
}

/** Operators whose layers can be quantized statically. */
export const STATIC_OPERATORS = ['MatMul', 'Gemm', 'Conv'] as const;
export type StaticOperator = (typeof STATIC_OPERATORS)[number];

/**
 * First ai.onnx version with QuantizeLinear, and with QLinearMatMul and QLinearConv, which ONNX Runtime makes of it.
 */
const MIN_OPSET = 10;

/** First version with an 8-bit MaxPool, which stands between convolutions. */
const CONV_OPSET = 12;

export interface StaticLayers {
  /** The model that the layers are of: the one given, or that for a newer opset where it needs one. */
  readonly model: Model;
  /** In the graph's order. */
  readonly layers: readonly StaticLayer[];
  /** Nodes of {@link STATIC_OPERATORS} that are none, and why. */
  readonly left: readonly LeftLayer[];
}

/** The layers of a model, for which it is raised to opset 10, or with convolutions to 12, as far as that can be. */
export function findStaticLayers(given: Model): StaticLayers {
  const { model, tooOld } = newEnough(given);
  const { graph } = model;
  const { products, left } = findMatrixProducts(model, 0);
  const productOf = new Map(products.map((product) => [product.node, product]));
  const layers: StaticLayer[] = [];
  const refused: LeftLayer[] = [];
  for (const scope of scopesOf(model))
    for (const node of scope.graph.nodes) {
      const product = productOf.get(node);
      if (product === undefined && !isConv(node)) continue;
      const inside =
        scope.outer === undefined ? undefined : 'inside a subgraph, whose values calibration cannot see';
      const layer =
        inside ?? tooOld ?? (product === undefined ? convLayer(graph, node) : denseLayer(graph, product));
      if (typeof layer === 'string') refused.push({ layer: layerName(node), op: node.op, reason: layer });
      else layers.push(layer);
    }
  return { model, layers, left: [...left, ...refused] };
}

/** The model at a version that can be quantized, or the reason why it is too old. */
function newEnough(given: Model): { model: Model; tooOld: string | undefined } {
  const opset = given.opsets.get('') ?? 0;
  if (opset >= (given.graph.nodes.some(isConv) ? CONV_OPSET : MIN_OPSET))
    return { model: given, tooOld: undefined };
  const { model, stoppedBy } = raiseOpset(given);
  if ((model.opsets.get('') ?? 0) >= MIN_OPSET) return { model, tooOld: undefined };
  const because = stoppedBy === undefined ? '' : `, where ${stoppedBy} is another operator or none`;
  return { model: given, tooOld: `the model has opset ${opset}; this needs ${MIN_OPSET}${because}` };
}

function isConv({ domain, op }: Node): boolean {
  return domain === '' && op === 'Conv';
}

function convLayer(graph: Graph, node: Node): StaticLayer | string {
  const conv = matchConv(graph, node);
  if (typeof conv === 'string') return conv;
  const { biasName, ...rest } = conv;
  return {
    kind: 'conv',
    ...rest,
    weightTransposed: false,
    outputs: conv.weightDims[0] ?? 0,
    alpha: 1,
    bias: biasName === undefined ? undefined : { name: biasName, beta: 1 },
    biasNode: undefined,
  };
}

function denseLayer(graph: Graph, product: MatrixProduct): StaticLayer | string {
  const { node, name, input, output, inputs, outputs, weightName, weightTransposed, alpha, bias } = product;
  if (product.batch.length > 0) return `the weights have ${product.batch.length + 2} dimensions, not 2`;
  if (product.outputPerm !== undefined) return 'the constant is the left operand';
  if (product.inputPerm !== undefined) return 'transA is set';
  if (!(alpha > 0)) return `alpha is ${alpha}`;
  if (bias !== undefined && bias.beta !== 1 && constantInfo(graph, bias.name) === undefined)
    return 'beta is not 1 and the bias is computed';
  const biasNode = bias === undefined ? addBehind(graph, output, outputs) : undefined;
  const added = biasNode?.inputs.find((operand) => operand !== output);
  return {
    kind: 'dense',
    node,
    name,
    input,
    output: biasNode?.outputs[0] ?? output,
    weightName,
    weightDims: weightTransposed ? [outputs, inputs] : [inputs, outputs],
    weightTransposed,
    outputs,
    alpha,
    bias: added === undefined ? bias : { name: added, beta: 1 },
    biasNode,
  };
}

/** The Add that alone reads `value` and adds one number, or one for each of `outputs`. */
function addBehind(graph: Graph, value: string, outputs: number): Node | undefined {
  const reader = soleReader(graph, value);
  if (reader?.op !== 'Add' || reader.domain !== '') return undefined;
  const other = reader.inputs.find((operand) => operand !== value);
  const info = other === undefined ? undefined : constantInfo(graph, other);
  if (info?.dtype !== 'float32') return undefined;
  const count = elementCount(info.dims);
  // More dimensions than a vector has could add one to the sum.
  return info.dims.length <= 1 && (count === 1 || count === outputs) ? reader : undefined;
}

/** Whether all weights, and a constant bias, are numbers that have a size. */
export function hasFiniteConstants(graph: Graph, { weightName, bias }: StaticLayer): boolean {
  const names = bias === undefined ? [weightName] : [weightName, bias.name];
  return names.every((name) => {
    const data = constantTensor(graph, name)?.data;
    return !(data instanceof Float32Array) || widenRange(data, Float64Array.of(Infinity, -Infinity));
  });
}

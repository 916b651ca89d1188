import { elementCount, must } from '../../core/index.js';
import type { Tensor } from '../../core/index.js';
import { constantInfo, constantTensor, floatAttribute, intAttribute, subgraphsOf } from '../../onnx/index.js';
import type { Graph, Model, Node } from '../../onnx/index.js';
import type { LeftLayer } from '../pass.js';

/**
 * A dense layer: `y = x · W (+ b)` with constant float32 `W[inputs, outputs]`. It is a MatMul, whose bias is an Add of
 * its own, or a Gemm without transA.
 */
export interface DenseLayer {
  readonly node: Node;
  readonly name: string;
  readonly input: string;
  readonly output: string;
  readonly inputs: number;
  readonly outputs: number;
  readonly weightName: string;
  /** Layers with equal keys have the same `W`. */
  readonly weightKey: string;
}

export interface DenseLayers {
  readonly layers: readonly DenseLayer[];
  /** MatMul and Gemm nodes that are none, and why. */
  readonly left: readonly LeftLayer[];
}

/** First ai.onnx version whose Gemm and Add broadcast as they do today. */
const MIN_OPSET = 7;

/** The dense layers of the main graph in its order; none for a model with operators before version `minOpset`. */
export function findDenseLayers({ graph, opsets }: Model, minOpset = MIN_OPSET): DenseLayers {
  const opset = opsets.get('') ?? 0;
  const tooOld = opset < minOpset ? `the model has opset ${opset}; this needs ${minOpset}` : undefined;
  const layers: DenseLayer[] = [];
  const left: LeftLayer[] = [];
  for (const node of graph.nodes) {
    left.push(...subgraphsOf(node).flatMap((subgraph) => denseInside(subgraph, layerName(node))));
    if (!isDenseOperator(node)) continue;
    const layer = tooOld ?? matchDense(graph, node);
    if (typeof layer === 'string') left.push({ layer: layerName(node), op: node.op, reason: layer });
    else layers.push(layer);
  }
  return { layers, left };
}

/** The node's name, or its first output's where it has none. */
export function layerName(node: Node): string {
  return node.name === '' ? (node.outputs[0] ?? node.op) : node.name;
}

/** Whether the node is a MatMul or a Gemm. */
export function isDenseOperator(node: Node): boolean {
  return node.domain === '' && (node.op === 'MatMul' || node.op === 'Gemm');
}

function denseInside(graph: Graph, owner: string): LeftLayer[] {
  return graph.nodes.flatMap((node) => [
    ...subgraphsOf(node).flatMap((subgraph) => denseInside(subgraph, layerName(node))),
    ...(isDenseOperator(node)
      ? [{ layer: layerName(node), op: node.op, reason: `inside a subgraph of ${owner}` }]
      : []),
  ]);
}

/** The layer, or the reason why the node is none. */
function matchDense(graph: Graph, node: Node): DenseLayer | string {
  const [input = '', weight = ''] = node.inputs;
  const info = constantInfo(graph, weight);
  if (info === undefined)
    return constantInfo(graph, input) === undefined
      ? 'both operands are computed'
      : 'the constant is the left operand';
  if (info.dtype !== 'float32') return `the weights are ${info.dtype}, not float32`;
  if (info.dims.length !== 2) return `the weights have ${info.dims.length} dimensions, not 2`;
  const shape = weightShape(node, info.dims);
  if (shape.inputs === 0 || shape.outputs === 0) return 'the weights are empty';
  const unsupported = node.op === 'Gemm' ? unsupportedGemm(graph, node, shape.outputs) : undefined;
  if (unsupported !== undefined) return unsupported;
  const output = must(node.outputs[0], 'output of a dense layer');
  return {
    node,
    name: layerName(node),
    input,
    output,
    ...shape,
    weightName: weight,
    weightKey: keyOf(node, weight),
  };
}

function weightShape(node: Node, dims: readonly number[]): { inputs: number; outputs: number } {
  const [first = 0, second = 0] = dims;
  return isTransposed(node) ? { inputs: second, outputs: first } : { inputs: first, outputs: second };
}

function isTransposed(node: Node): boolean {
  return node.op === 'Gemm' && intAttribute(node, 'transB', 0) !== 0;
}

function alphaOf(node: Node): number {
  return node.op === 'Gemm' ? floatAttribute(node, 'alpha', 1) : 1;
}

function keyOf(node: Node, weight: string): string {
  return JSON.stringify([weight, isTransposed(node), alphaOf(node)]);
}

function unsupportedGemm(graph: Graph, node: Node, outputs: number): string | undefined {
  if (intAttribute(node, 'transA', 0) !== 0) return 'transA is set';
  const bias = node.inputs[2] ?? '';
  if (bias === '') return undefined;
  const info = constantInfo(graph, bias);
  if (info === undefined) return 'the bias is computed';
  return isVectorOver(info, outputs) ? undefined : `the bias has shape [${info.dims.join(', ')}]`;
}

/** Whether the tensor is one number, or one number for each of `width` neurons along the last axis. */
export function isVectorOver({ dims }: Pick<Tensor, 'dims'>, width: number): boolean {
  const count = elementCount(dims);
  return count === 1 || (count === width && dims.at(-1) === width);
}

/** `W[inputs, outputs]` with transB and alpha worked in; a copy, which is the caller's. */
export function weightOf(graph: Graph, layer: DenseLayer): Float64Array {
  const tensor = must(constantTensor(graph, layer.weightName), 'weights');
  const source = tensor.data as Float32Array;
  const { inputs, outputs } = layer;
  const alpha = alphaOf(layer.node);
  const weight = new Float64Array(inputs * outputs);
  const [rowStep, columnStep] = isTransposed(layer.node) ? [1, inputs] : [outputs, 1];
  for (let i = 0; i < inputs; i++)
    for (let j = 0; j < outputs; j++)
      weight[i * outputs + j] = alpha * (source[i * rowStep + j * columnStep] ?? 0);
  return weight;
}

/** A Gemm's bias `[outputs]` with beta worked in; undefined where it has none, and for a MatMul. */
export function gemmBiasOf(graph: Graph, layer: DenseLayer): Float32Array | undefined {
  const name = layer.node.op === 'Gemm' ? (layer.node.inputs[2] ?? '') : '';
  if (name === '') return undefined;
  const beta = floatAttribute(layer.node, 'beta', 1);
  const source = must(constantTensor(graph, name), 'bias').data as Float32Array;
  return Float32Array.from({ length: layer.outputs }, (_, j) => beta * (source[j % source.length] ?? 0));
}

import { constantInfo } from '../../onnx/index.js';
import type { Graph, Node } from '../../onnx/index.js';
import { layerName } from './dense-layers.js';

/** A convolution with constant float32 weights `[outputs, inputs / groups, …kernel]` and a constant bias, or none. */
export interface ConvLayer {
  readonly node: Node;
  readonly name: string;
  readonly input: string;
  readonly output: string;
  readonly weightName: string;
  readonly weightDims: readonly number[];
  readonly biasName: string | undefined;
}

/** The convolution, or the reason why the node is none. */
export function matchConv(graph: Graph, node: Node): ConvLayer | string {
  const [input = '', weightName = '', bias = ''] = node.inputs;
  const info = constantInfo(graph, weightName);
  if (info === undefined) return 'the weights are computed';
  if (info.dtype !== 'float32') return `the weights are ${info.dtype}, not float32`;
  if (info.dims.length < 3 || info.dims.includes(0))
    return `the weights have shape [${info.dims.join(', ')}]`;
  if (bias !== '' && constantInfo(graph, bias)?.dtype !== 'float32') return 'the bias is computed';
  return {
    node,
    name: layerName(node),
    input,
    output: node.outputs[0] ?? '',
    weightName,
    weightDims: info.dims,
    biasName: bias === '' ? undefined : bias,
  };
}

import { must } from '../../core/index.js';
import { constantTensor } from '../../onnx/index.js';
import type { Graph, Node } from '../../onnx/index.js';
import { gemmBiasOf, weightOf } from './dense-layers.js';
import type { DenseLayer } from './dense-layers.js';

/** A constant bias: of the Gemm itself, or an input of the Add that alone reads a MatMul. */
export interface Bias {
  readonly values: Float32Array;
  readonly add?: { readonly node: Node; readonly input: number; readonly dims: readonly number[] };
}

export interface Reader {
  readonly layer: DenseLayer;
  readonly bias: Bias | undefined;
  /** First of its columns in the weights side by side. */
  readonly column: number;
}

/** Dense layers that read the same value, as one: weights side by side, with the biases as one more row. */
export interface ReaderWeights {
  readonly readers: readonly Reader[];
  readonly inputs: number;
  readonly outputs: number;
  /** Whether all have a bias, so that the weights have its row. */
  readonly biased: boolean;
  /** `[inputs + (biased ? 1 : 0), outputs]`. */
  readonly weight: Float64Array;
}

/** Puts the weights of layers with the same input side by side. */
export function readerWeights(
  graph: Graph,
  layers: readonly DenseLayer[],
  readersOf: (value: string) => readonly Node[],
): ReaderWeights {
  let outputs = 0;
  const readers = layers.map((layer): Reader => {
    const column = outputs;
    outputs += layer.outputs;
    return { layer, bias: biasOf(graph, layer, readersOf), column };
  });
  const { inputs } = must(layers[0], 'reader');
  const biased = readers.every(({ bias }) => bias !== undefined);
  const weight = new Float64Array((biased ? inputs + 1 : inputs) * outputs);
  for (const { layer, bias, column } of readers) {
    const own = weightOf(graph, layer);
    for (let row = 0; row < inputs; row++)
      weight.set(own.subarray(row * layer.outputs, (row + 1) * layer.outputs), row * outputs + column);
    if (biased && bias !== undefined) weight.set(bias.values, inputs * outputs + column);
  }
  return { readers, inputs, outputs, biased, weight };
}

function biasOf(
  graph: Graph,
  layer: DenseLayer,
  readersOf: (value: string) => readonly Node[],
): Bias | undefined {
  if (layer.node.op === 'Gemm') {
    const values = gemmBiasOf(graph, layer);
    return values && { values };
  }
  const [node, ...others] = readersOf(layer.output);
  const alone = others.length === 0 && graph.outputs.every((output) => output.name !== layer.output);
  if (node?.op !== 'Add' || node.domain !== '' || !alone) return undefined;
  const input = node.inputs[0] === layer.output ? 1 : 0;
  const constant = constantTensor(graph, node.inputs[input] ?? '');
  const fits = constant?.data.length === layer.outputs && constant.dims.at(-1) === layer.outputs;
  if (!fits) return undefined;
  return { values: constant.data as Float32Array, add: { node, input, dims: constant.dims } };
}

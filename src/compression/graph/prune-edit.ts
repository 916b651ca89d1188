import { float32, must } from '../../core/index.js';
import type { Tensor } from '../../core/index.js';
import { constantTensor } from '../../onnx/index.js';
import type { Model, Node } from '../../onnx/index.js';
import { gemmBiasOf, weightOf } from './dense-layers.js';
import type { DenseLayer } from './dense-layers.js';
import { GraphEdit } from './graph-edit.js';
import type { NeuronChain } from './neuron-chain.js';
import type { Repair } from '../kernels/prune-kernel.js';
import type { Reader, ReaderWeights } from './reader-weights.js';

/** The model without the removed neurons, with the refitted weights where they were read. */
export function writePruned(model: Model, chain: NeuronChain, weights: ReaderWeights, repair: Repair): Model {
  const { producer, offset } = chain;
  const edit = new GraphEdit(model);
  const keptRows = indexesWhere(weights.inputs, (row) => repair.removed[row] === 0);
  const keptNeurons = indexesWhere(producer.outputs, (neuron) => repair.removed[offset + neuron] === 0);
  writeProducer(edit, producer, keptNeurons);
  writeVectors(edit, chain, keptNeurons);
  for (const reader of weights.readers) writeReader(edit, reader, weights, repair.weight, keptRows);
  for (const value of [...chain.values, must(weights.readers[0], 'reader').layer.input]) edit.reshape(value);
  return edit.build();
}

function indexesWhere(count: number, holds: (index: number) => boolean): number[] {
  return Array.from({ length: count }, (_, index) => index).filter(holds);
}

function writeProducer(edit: GraphEdit, layer: DenseLayer, kept: readonly number[]): void {
  const { inputs, outputs } = layer;
  const weight = weightOf(edit.graph, layer);
  const columns = new Float32Array(inputs * kept.length);
  for (let row = 0; row < inputs; row++)
    kept.forEach((column, at) => {
      columns[row * kept.length + at] = weight[row * outputs + column] ?? 0;
    });
  const bias = gemmBiasOf(edit.graph, layer);
  const cut = bias && Float32Array.from(kept, (column) => bias[column] ?? 0);
  replaceDense(edit, layer, float32(columns, [inputs, kept.length]), cut);
}

/** Cuts the constants that hold one number a neuron. A node may have several. */
function writeVectors(edit: GraphEdit, { vectors }: NeuronChain, kept: readonly number[]): void {
  const inputsOf = new Map<Node, string[]>();
  for (const { node, input } of vectors) {
    const inputs = inputsOf.get(node) ?? [...node.inputs];
    const name = must(node.inputs[input], 'constant');
    inputs[input] = edit.tensor(
      prunedName(name),
      cutVector(must(constantTensor(edit.graph, name), name), kept),
    );
    inputsOf.set(node, inputs);
  }
  for (const [node, inputs] of inputsOf) edit.replace(node, [{ ...node, inputs }]);
}

function cutVector(tensor: Tensor, kept: readonly number[]): Tensor {
  const source = tensor.data as Float32Array;
  const data = Float32Array.from(kept, (index) => source[index] ?? 0);
  return float32(data, [...tensor.dims.slice(0, -1), kept.length]);
}

function writeReader(
  edit: GraphEdit,
  { layer, bias, column }: Reader,
  { inputs, outputs, biased }: ReaderWeights,
  refitted: Float64Array,
  keptRows: readonly number[],
): void {
  const part = (row: number): Float64Array =>
    refitted.subarray(row * outputs + column, row * outputs + column + layer.outputs);
  const weight = new Float32Array(keptRows.length * layer.outputs);
  keptRows.forEach((row, at) => weight.set(part(row), at * layer.outputs));
  const newBias = biased ? Float32Array.from(part(inputs)) : bias?.values;
  const stored = float32(weight, [keptRows.length, layer.outputs]);
  replaceDense(edit, layer, stored, bias?.add === undefined ? newBias : undefined);
  if (bias?.add === undefined || newBias === undefined) return;
  const { node, input, dims } = bias.add;
  const name = edit.tensor(prunedName(must(node.inputs[input], 'bias')), float32(newBias, dims));
  edit.replace(node, [{ ...node, inputs: node.inputs.with(input, name) }]);
}

/** The same node with other weights `[inputs, outputs]`, and for a Gemm another bias. */
function replaceDense(
  edit: GraphEdit,
  layer: DenseLayer,
  weight: Tensor,
  bias: Float32Array | undefined,
): void {
  const { node } = layer;
  const inputs = [layer.input, edit.tensor(prunedName(layer.weightName), weight)];
  if (bias !== undefined) inputs.push(edit.tensor(prunedName(must(node.inputs[2], 'bias')), float32(bias)));
  // transB, alpha and beta are worked into the weights and the bias.
  edit.replace(node, [{ ...node, inputs, attributes: new Map() }]);
}

/** Names do not grow when a tensor is cut again. */
function prunedName(name: string): string {
  return name.replace(/\/pruned(_\d+)?$/, '') + '/pruned';
}

import { elementCount, float32, float32Data, must } from '../../core/index.js';
import {
  consumers,
  floatAttribute,
  initializerOf,
  intAttribute,
  namesInUse,
  freshName,
  producers,
  tensorOf,
} from '../../onnx/index.js';
import type { Attribute, Graph, Initializer, Node } from '../../onnx/index.js';
import { layerName } from '../graph/dense-layers.js';
import type { LayerChange, LeftLayer } from '../pass.js';
import { removalOf, unchanged } from './removal.js';
import type { Removal, Step } from './removal.js';
import { valueFacts } from './value-facts.js';

/** Since version 7 every BatchNormalization of inference has the same form. */
const MIN_OPSET = 7;

/** What a BatchNormalization does to a channel: `scale · x + shift`. */
interface Channels {
  readonly scale: Float64Array;
  readonly shift: Float64Array;
}

/** The layer before a BatchNormalization. */
interface Layer {
  readonly node: Node;
  /** The Add of a bias behind a MatMul. */
  readonly add: Node | undefined;
  readonly weight: Initializer;
  readonly bias: Initializer | undefined;
}

/**
 * Works a BatchNormalization of inference into the weights and bias of the Conv, Gemm or MatMul (with or without the Add
 * of a bias) before it, in float64: `W' = W · scale / √(variance + epsilon)` by channel. Left and named where the layer's
 * result or weights are read by something else too, or a weight is not a float32 constant.
 */
export function foldBatchNorms(given: Graph, opset: number): Step {
  let graph = given;
  const removals: Removal[] = [];
  const changed: LayerChange[] = [];
  const left: LeftLayer[] = [];
  for (const norm of given.nodes) {
    if (norm.op !== 'BatchNormalization' || norm.domain !== '') continue;
    const match =
      opset < MIN_OPSET ? `the model has opset ${opset}; this needs ${MIN_OPSET}` : matchNorm(graph, norm);
    if (typeof match === 'string') {
      left.push({ layer: layerName(norm), op: norm.op, reason: match });
      continue;
    }
    const { node } = match.layer;
    graph = foldOne(graph, norm, match.layer, match.channels);
    removals.push(removalOf(norm, `folded into ${layerName(node)}`));
    changed.push(changeOf(norm, match.layer, match.channels));
  }
  return removals.length === 0 ? unchanged(given, left) : { graph, removals, changed, left };
}

function matchNorm(graph: Graph, norm: Node): { layer: Layer; channels: Channels } | string {
  if (norm.outputs.slice(1).some((output) => output !== '') || intAttribute(norm, 'training_mode', 0) !== 0)
    return 'it is written for training';
  if (intAttribute(norm, 'spatial', 1) === 0) return 'it has statistics for each position';
  const channels = channelsOf(graph, norm);
  if (channels === undefined) return 'its statistics are not float32 constants';
  const layer = layerBefore(graph, norm);
  if (typeof layer === 'string') return layer;
  return layer.bias === undefined || layer.bias.dims.length <= 1 || layer.add !== undefined
    ? { layer, channels }
    : `the bias has shape [${layer.bias.dims.join(', ')}]`;
}

function constantFloats(graph: Graph, name = ''): Initializer | undefined {
  const initializer = graph.initializers.get(name);
  return initializer?.dtype === 'float32' ? initializer : undefined;
}

function channelsOf(graph: Graph, norm: Node): Channels | undefined {
  const given = norm.inputs.slice(1, 5).map((name) => constantFloats(graph, name));
  if (given.length < 4 || given.includes(undefined)) return undefined;
  const [scale, bias, mean, variance] = given.map((each) =>
    float32Data(tensorOf(must(each, 'statistics'))),
  ) as [Float32Array, Float32Array, Float32Array, Float32Array];
  const epsilon = floatAttribute(norm, 'epsilon', Math.fround(1e-5));
  const factors = Float64Array.from(scale, (value, c) => value / Math.sqrt((variance[c] ?? 0) + epsilon));
  const shift = Float64Array.from(bias, (value, c) => value - (factors[c] ?? 0) * (mean[c] ?? 0));
  return { scale: factors, shift };
}

function layerBefore(graph: Graph, norm: Node): Layer | string {
  const producerOf = producers(graph);
  const [input = ''] = norm.inputs;
  const before = producerOf.get(input);
  if (before?.domain !== '') return 'no layer comes before it';
  const add = before.op === 'Add' ? before : undefined;
  const behindAdd = add && matMulOfAdd(graph, add);
  if (add !== undefined && behindAdd === undefined) return 'no layer comes before it';
  const node = behindAdd ?? before;
  if (!['Conv', 'Gemm', 'MatMul'].includes(node.op)) return `${layerName(node)} (${node.op}) comes before it`;
  // The channels are the second axis: that of a product's outputs only where it has two.
  if (node.op === 'MatMul' && valueFacts(graph).get(node.outputs[0] ?? '')?.dims?.length !== 2)
    return 'its input is not known to have two axes';
  const weight = constantFloats(graph, node.inputs[1]);
  if (weight === undefined) return `the weights of ${layerName(node)} are not a float32 constant`;
  const biasName = (add === undefined ? node.inputs[2] : otherInput(add, node)) ?? '';
  const bias = constantFloats(graph, biasName);
  if (biasName !== '' && bias === undefined)
    return `the bias of ${layerName(node)} is not a float32 constant`;
  return (
    whyShared(graph, [node, ...(add === undefined ? [] : [add])], norm, weight.name) ?? {
      node,
      add,
      weight,
      bias,
    }
  );
}

/** The MatMul to which the Add adds one number a channel. */
function matMulOfAdd(graph: Graph, add: Node): Node | undefined {
  const producerOf = producers(graph);
  const product = add.inputs.map((name) => producerOf.get(name)).find((node) => node?.op === 'MatMul');
  const bias = product && graph.initializers.get(otherInput(add, product));
  // With more axes than the product has, the channels would be another axis.
  if (bias === undefined || bias.dims.length > 2) return undefined;
  return bias.dims.at(-1) === elementCount(bias.dims) ? product : undefined;
}

function otherInput(add: Node, product: Node): string {
  return add.inputs.find((name) => !product.outputs.includes(name)) ?? '';
}

function whyShared(graph: Graph, nodes: readonly Node[], norm: Node, weight: string): string | undefined {
  const readersOf = consumers(graph);
  const chain = [...nodes, norm];
  for (const node of nodes) {
    const [output = ''] = node.outputs;
    const other = readersOf.get(output)?.find((reader) => !chain.includes(reader));
    if (other !== undefined) return `${layerName(other)} (${other.op}) reads ${output} too`;
    if (graph.outputs.some(({ name }) => name === output)) return `${output} is an output`;
  }
  const sharer = readersOf.get(weight)?.find((reader) => !chain.includes(reader));
  return sharer && `the weights ${weight} are read by ${layerName(sharer)} (${sharer.op}) too`;
}

/** The layer with new weights and bias; it gives what the BatchNormalization gave, under its name. */
function foldOne(graph: Graph, norm: Node, { node, add, weight, bias }: Layer, channels: Channels): Graph {
  const names = namesInUse(graph);
  const beta = node.op === 'Gemm' ? floatAttribute(node, 'beta', 1) : 1;
  const newWeight = initializerOf(
    freshName(names, `${weight.name}/folded`),
    scaleWeight(node, weight, channels.scale),
  );
  const newBias = initializerOf(
    freshName(names, `${bias?.name ?? weight.name}/folded`),
    float32(shiftBias(bias, beta, channels)),
  );
  const [input = ''] = node.inputs;
  const outputs = norm.outputs.slice(0, 1);
  const written: Node[] = [];
  if (node.op === 'MatMul') {
    const product = freshName(names, `${layerName(node)}/folded`);
    const sum = add ?? { ...norm, op: 'Add', attributes: new Map() };
    written.push(
      { ...node, inputs: [input, newWeight.name], outputs: [product] },
      { ...sum, inputs: [product, newBias.name], outputs },
    );
  } else
    written.push({
      ...node,
      inputs: [input, newWeight.name, newBias.name],
      outputs,
      attributes: withoutBeta(node),
    });
  const nodes = graph.nodes.flatMap((each) => {
    if (each === norm) return written;
    return each === node || each === add ? [] : [each];
  });
  const initializers = new Map([...graph.initializers, [newWeight.name, newWeight], [newBias.name, newBias]]);
  return { ...graph, nodes, initializers };
}

function changeOf(norm: Node, { node, weight, bias }: Layer, { scale }: Channels): LayerChange {
  const count = elementCount(weight.dims);
  return {
    layer: layerName(node),
    change: `${layerName(norm)} (BatchNormalization) folded into its weights and bias`,
    weightsBefore: count + elementCount(bias?.dims ?? [0]) + 4 * scale.length,
    weightsAfter: count + scale.length,
    relativeError: 0,
  };
}

function withoutBeta(node: Node): ReadonlyMap<string, Attribute> {
  return new Map([...node.attributes].filter(([name]) => name !== 'beta'));
}

/** The weights with each output's times its scale. A Conv has its outputs first, as a transposed Gemm. */
function scaleWeight(node: Node, weight: Initializer, scale: Float64Array): ReturnType<typeof float32> {
  const values = float32Data(tensorOf(weight));
  const outputsFirst = node.op === 'Conv' || (node.op === 'Gemm' && intAttribute(node, 'transB', 0) !== 0);
  const inner = values.length / scale.length;
  const scaled = new Float32Array(values.length);
  for (let at = 0; at < values.length; at++) {
    const channel = outputsFirst ? Math.floor(at / inner) : at % scale.length;
    scaled[at] = (values[at] ?? 0) * (scale[channel] ?? 0);
  }
  return float32(scaled, weight.dims);
}

function shiftBias(bias: Initializer | undefined, beta: number, { scale, shift }: Channels): Float32Array {
  const values = bias && float32Data(tensorOf(bias));
  return Float32Array.from(shift, (value, c) => {
    const old = values === undefined ? 0 : (values[c % values.length] ?? 0);
    return value + (scale[c] ?? 0) * beta * old;
  });
}

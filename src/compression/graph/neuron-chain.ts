import { elementCount, must } from '../../core/index.js';
import { constantTensor, intAttribute } from '../../onnx/index.js';
import type { Graph, Node } from '../../onnx/index.js';
import { isVectorOver, layerName } from './dense-layers.js';
import type { DenseLayer } from './dense-layers.js';

/** A layer's neurons on their way through elementwise operators into the layers that read them. */
export interface NeuronChain {
  readonly producer: DenseLayer;
  /** Constants with one number a neuron: which input of which node. */
  readonly vectors: readonly { readonly node: Node; readonly input: number }[];
  /** Layers that read the neurons; all have the same input. */
  readonly readers: readonly DenseLayer[];
  /** Row of the readers' weights that takes the first neuron; above 0 behind a Concat. */
  readonly offset: number;
  /** Values whose last axis runs along the neurons. */
  readonly values: readonly string[];
}

/** What tracing needs to know of the graph. */
export interface ChainContext {
  readonly graph: Graph;
  readonly layers: readonly DenseLayer[];
  /** Shapes of values as seen in a run. */
  readonly shapes: ReadonlyMap<string, { readonly dims: readonly number[] }>;
  /** Nodes that read a value, also from inside subgraphs. */
  readonly readersOf: (value: string) => readonly Node[];
}

/** Operators that give each element of the output from the same element of each input. */
const ELEMENTWISE = new Set(
  (
    'Abs Add Celu Clip Div Elu Erf Exp Gelu HardSigmoid HardSwish Identity LeakyRelu Log Max Min Mish Mul Neg Pow ' +
    'PRelu Reciprocal Relu Selu Sigmoid Softplus Softsign Sqrt Sub Sum Swish Tanh ThresholdedRelu'
  ).split(' '),
);

/** Follows a layer's neurons; the answer is the reason where they go anywhere that cannot lose some of them. */
export function traceNeurons(context: ChainContext, producer: DenseLayer): NeuronChain | string {
  const trace = followElementwise(context, producer);
  if (typeof trace === 'string') return trace;
  const { values, vectors, sinks } = trace;
  const output = context.graph.outputs.find((value) => values.has(value.name));
  if (output !== undefined) return `its neurons are the model's output ${output.name}`;
  if (sinks.length === 0) return 'nothing reads its neurons';
  const end =
    sinks[0]?.op === 'Concat' ? behindConcat(context, sinks, values) : directReaders(context, sinks);
  return typeof end === 'string' ? end : { producer, vectors, values: [...values], ...end };
}

interface Trace {
  readonly values: ReadonlySet<string>;
  readonly vectors: readonly { readonly node: Node; readonly input: number }[];
  /** Where the neurons arrive: dense layers and Concat nodes. */
  readonly sinks: readonly Node[];
}

function followElementwise(context: ChainContext, producer: DenseLayer): Trace | string {
  const values = new Set([producer.output]);
  const reached = new Set(context.readersOf(producer.output));
  const vectors: { node: Node; input: number }[] = [];
  const sinks: Node[] = [];
  for (const node of context.graph.nodes) {
    if (!reached.has(node)) continue;
    if (node.op === 'Concat' || context.layers.some((layer) => layer.node === node)) {
      sinks.push(node);
      continue;
    }
    const refusal = elementwiseRefusal(context, node, values, producer.outputs);
    if (refusal !== undefined) return refusal;
    vectors.push(...vectorInputs(context.graph, node, producer.outputs));
    const output = must(node.outputs[0], 'output of an elementwise node');
    values.add(output);
    for (const reader of context.readersOf(output)) reached.add(reader);
  }
  return { values, vectors, sinks };
}

/** Why the node's output would not have the neurons on its last axis, element by element. */
function elementwiseRefusal(
  { graph, shapes }: ChainContext,
  node: Node,
  values: ReadonlySet<string>,
  width: number,
): string | undefined {
  const perColumn = node.op === 'BatchNormalization' && shapes.get(node.inputs[0] ?? '')?.dims.length === 2;
  const known = node.domain === '' && node.outputs.length === 1 && (perColumn || ELEMENTWISE.has(node.op));
  if (!known) return `${layerName(node)} (${node.op}) reads its neurons`;
  for (const input of node.inputs) {
    if (input === '' || values.has(input)) continue;
    const constant = constantTensor(graph, input);
    if (constant === undefined) return `${layerName(node)} (${node.op}) combines its neurons with ${input}`;
    if (!isVectorOver(constant, width))
      return `${layerName(node)} (${node.op}) combines its neurons with a constant of shape [${constant.dims.join(', ')}]`;
  }
  return undefined;
}

function vectorInputs(graph: Graph, node: Node, width: number): { node: Node; input: number }[] {
  return node.inputs.flatMap((name, input) => {
    const constant = constantTensor(graph, name);
    return width > 1 && constant !== undefined && elementCount(constant.dims) === width
      ? [{ node, input }]
      : [];
  });
}

type ChainEnd = Pick<NeuronChain, 'readers' | 'offset'>;

function directReaders({ layers }: ChainContext, sinks: readonly Node[]): ChainEnd | string {
  const readers = layers.filter((layer) => sinks.includes(layer.node));
  const concat = sinks.find((node) => node.op === 'Concat');
  if (concat !== undefined) return `both ${layerName(concat)} (Concat) and dense layers read its neurons`;
  if (new Set(readers.map((reader) => reader.input)).size > 1)
    return 'several dense layers read its neurons at different places';
  return { readers, offset: 0 };
}

function behindConcat(
  context: ChainContext,
  sinks: readonly Node[],
  values: ReadonlySet<string>,
): ChainEnd | string {
  const { graph, layers, shapes, readersOf } = context;
  const concat = must(sinks[0], 'Concat');
  const label = `${layerName(concat)} (Concat)`;
  if (sinks.length > 1) return `both ${label} and other nodes read its neurons`;
  const result = concat.outputs[0] ?? '';
  const readers = readersOf(result).map((node) => layers.find((layer) => layer.node === node));
  if (readers.length === 0 || graph.outputs.some((output) => output.name === result))
    return `${label} carries its neurons to an output of the model`;
  if (!readers.every((reader) => reader !== undefined))
    return `${label} carries its neurons to a node that is no dense layer`;
  const dims = concat.inputs.map((input) => shapes.get(input)?.dims ?? []);
  const rank = must(dims[0], 'inputs of Concat').length;
  const axis = intAttribute(concat, 'axis', 0);
  if (rank === 0 || (axis < 0 ? axis + rank : axis) !== rank - 1) return `${label} joins along another axis`;
  const at = concat.inputs.findIndex((input) => values.has(input));
  if (concat.inputs.filter((input) => values.has(input)).length > 1)
    return `${label} reads its neurons twice`;
  const offset = dims.slice(0, at).reduce((sum, shape) => sum + (shape.at(-1) ?? 0), 0);
  return { readers, offset };
}

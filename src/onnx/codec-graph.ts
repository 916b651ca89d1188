import { GraphProtoSchema } from 'onnx-buf';
import type { GraphProto, TensorProto } from 'onnx-buf';
import { decodeNode, encodeNode } from './codec-node.js';
import { decodeTensor, encodeTensor } from './codec-tensor.js';
import type { Placement, TensorSource } from './codec-tensor.js';
import { decodeValueInfo, encodeValueInfo } from './codec-value.js';
import type { Graph, Initializer, Node } from './model.js';
import { opaqueMessage, preserve, preservedIn, restore } from './preserved.js';
import { sortNodes } from './sort-nodes.js';

const MODELLED = ['name', 'input', 'output', 'valueInfo', 'initializer', 'node'];

/** A graph with its subgraphs, nodes in order ({@link sortNodes}), each constant once. Tensors that Whittle only passes on stay in `preserved`. */
export function decodeGraph(graph: GraphProto, source: TensorSource): Graph {
  const { initializers, passedOn } = decodeInitializers(graph.initializer, source);
  const decoder = { source, decodeGraph: (inner: GraphProto) => decodeGraph(inner, source) };
  const rest = restore(GraphProtoSchema, { opaque: graph }, { initializer: passedOn });
  const modelled = passedOn.length === 0 ? MODELLED : MODELLED.filter((field) => field !== 'initializer');
  return sortNodes(
    withoutRepeatedConstants({
      name: graph.name,
      inputs: graph.input.map(decodeValueInfo),
      outputs: graph.output.map(decodeValueInfo),
      valueInfos: graph.valueInfo.map(decodeValueInfo),
      initializers,
      nodes: graph.node.map((node) => decodeNode(node, decoder)),
      ...preservedIn(preserve(GraphProtoSchema, rest, modelled)),
    }),
  );
}

export function encodeGraph(graph: Graph, placement: Placement): GraphProto {
  const encoder = { placement, encodeGraph: (inner: Graph) => encodeGraph(inner, placement) };
  const passedOn = opaqueMessage(GraphProtoSchema, graph.preserved)?.initializer ?? [];
  const own = [...graph.initializers.values()].map((initializer) => encodeTensor(initializer, placement));
  return restore(GraphProtoSchema, graph.preserved, {
    name: graph.name,
    input: graph.inputs.map(encodeValueInfo),
    output: graph.outputs.map(encodeValueInfo),
    valueInfo: graph.valueInfos.map(encodeValueInfo),
    initializer: [...own, ...passedOn],
    node: graph.nodes.map((node) => encodeNode(node, encoder)),
  });
}

/** Names of constants that the graph has but `initializers` does not: sparse ones and those of unknown types. */
export function passedOnInitializers(graph: Graph): readonly string[] {
  const opaque = opaqueMessage(GraphProtoSchema, graph.preserved);
  if (opaque === undefined) return [];
  const sparse = opaque.sparseInitializer.map((tensor) => tensor.values?.name ?? '');
  return [...opaque.initializer.map((tensor) => tensor.name), ...sparse];
}

/**
 * Some exporters give several constants one name. ONNX Runtime uses the last, Constant nodes counting after
 * initializers, so only that one is kept and each name means one thing.
 */
function withoutRepeatedConstants(graph: Graph): Graph {
  const constants = graph.nodes.filter((node) => node.op === 'Constant');
  const last = new Map(constants.map((node) => [node.outputs[0] ?? '', node]));
  const repeated = (node: Node): boolean =>
    node.op === 'Constant' && last.get(node.outputs[0] ?? '') !== node;
  return {
    ...graph,
    initializers: new Map([...graph.initializers].filter(([name]) => !last.has(name))),
    nodes: graph.nodes.filter((node) => !repeated(node)),
  };
}

function decodeInitializers(
  tensors: readonly TensorProto[],
  source: TensorSource,
): { initializers: Map<string, Initializer>; passedOn: TensorProto[] } {
  const initializers = new Map<string, Initializer>();
  const passedOn: TensorProto[] = [];
  for (const tensor of tensors) {
    const initializer = decodeTensor(tensor, source);
    if (initializer === undefined) passedOn.push(tensor);
    else initializers.set(tensor.name, initializer);
  }
  return { initializers, passedOn };
}

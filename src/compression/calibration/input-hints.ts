import { constantTensor, subgraphsOf } from '../../onnx/index.js';
import type { Graph, Initializer, Node } from '../../onnx/index.js';

/** What a graph's nodes say of the values its inputs may have. */
export interface InputHints {
  /** Rows of the smallest table that an input's values look up. */
  readonly tableRows: ReadonlyMap<string, number>;
  /** The number that an input is compared with by Equal. */
  readonly compared: ReadonlyMap<string, number>;
}

/** Operators that hand ids on as they are. */
const PASSING = new Set(['Cast', 'Flatten', 'Identity', 'Reshape', 'Squeeze', 'Transpose', 'Unsqueeze']);

/** Follows each input to the Gather and Equal nodes of the main graph that read it. */
export function inputHints(graph: Graph): InputHints {
  // By value: the input whose elements it holds.
  const sources = new Map(graph.inputs.map(({ name }) => [name, name]));
  const tableRows = new Map<string, number>();
  const compared = new Map<string, number>();
  for (const node of graph.nodes) {
    const [first = '', second = ''] = node.inputs;
    const [ofFirst, ofSecond] = [sources.get(first), sources.get(second)];
    if (PASSING.has(node.op) && ofFirst !== undefined) sources.set(node.outputs[0] ?? '', ofFirst);
    if (node.op === 'Gather' && ofSecond !== undefined) {
      const rows = graph.initializers.get(first)?.dims[0];
      if (rows !== undefined) tableRows.set(ofSecond, Math.min(rows, tableRows.get(ofSecond) ?? Infinity));
    }
    if (node.op === 'Equal' && ofFirst !== undefined) setNumber(compared, ofFirst, graph, second);
  }
  return { tableRows, compared };
}

function setNumber(map: Map<string, number>, input: string, graph: Graph, constant: string): void {
  const tensor = constantTensor(graph, constant);
  if (tensor?.data.length === 1 && tensor.dtype !== 'string') map.set(input, Number(tensor.data[0]));
}

/** Lengths above this take long to run where a model compares each element with each. */
const MAX_LENGTH = 1024;

/** Sizes above 1 of the constants' dimensions, subgraphs included, the most frequent `count`, in ascending order. */
export function frequentSizes(graph: Graph, count: number): number[] {
  const counts = new Map<number, number>();
  const addTensor = ({ dims }: Initializer): void => {
    for (const dim of dims) if (dim > 1 && dim <= MAX_LENGTH) counts.set(dim, (counts.get(dim) ?? 0) + 1);
  };
  const addNode = (node: Node): void => {
    for (const attribute of node.attributes.values())
      if (attribute.kind === 'tensor') addTensor(attribute.value);
    for (const subgraph of subgraphsOf(node)) addGraph(subgraph);
  };
  const addGraph = ({ initializers, nodes }: Graph): void => {
    for (const tensor of initializers.values()) addTensor(tensor);
    nodes.forEach(addNode);
  };
  addGraph(graph);
  const byCount = [...counts].sort(([a, usesA], [b, usesB]) => usesB - usesA || a - b);
  return byCount
    .slice(0, count)
    .map(([size]) => size)
    .sort((a, b) => a - b);
}

import { consumers } from '../../onnx/index.js';
import type { Graph, Node } from '../../onnx/index.js';

const known = new WeakMap<Graph, ReadonlyMap<string, readonly Node[]>>();

/** The nodes that read a value, also from inside subgraphs. Found once a graph, which nothing changes. */
export function readersOf(graph: Graph, value: string): readonly Node[] {
  const found = known.get(graph) ?? consumers(graph);
  known.set(graph, found);
  return found.get(value) ?? [];
}

/** The only node that reads a value which is no output of the graph. */
export function soleReader(graph: Graph, value: string): Node | undefined {
  const readers = readersOf(graph, value);
  return readers.length === 1 && !isOutput(graph, value) ? readers[0] : undefined;
}

/** The output of the Relu that alone reads the value, else the value. */
export function behindRelu(graph: Graph, value: string): string {
  const reader = soleReader(graph, value);
  return reader?.op === 'Relu' && reader.domain === '' ? (reader.outputs[0] ?? value) : value;
}

export function isOutput(graph: Graph, value: string): boolean {
  return graph.outputs.some((output) => output.name === value);
}

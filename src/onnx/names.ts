import type { Graph, Node } from './model.js';

/** Graphs that a node carries as attributes: the branches of If, the bodies of Loop and Scan. */
export function subgraphsOf(node: Node): readonly Graph[] {
  const graphs: Graph[] = [];
  for (const attribute of node.attributes.values()) {
    if (attribute.kind === 'graph') graphs.push(attribute.value);
    else if (attribute.kind === 'graphs') graphs.push(...attribute.value);
  }
  return graphs;
}

/** Every name in use: values and nodes, in the graph and in its subgraphs, which may not shadow an outer name. */
export function namesInUse(graph: Graph, names = new Set<string>()): Set<string> {
  for (const value of [...graph.inputs, ...graph.outputs, ...graph.valueInfos]) names.add(value.name);
  for (const name of graph.initializers.keys()) names.add(name);
  for (const node of graph.nodes) {
    names.add(node.name);
    for (const name of [...node.inputs, ...node.outputs]) names.add(name);
    for (const subgraph of subgraphsOf(node)) namesInUse(subgraph, names);
  }
  return names;
}

/** `base`, or `base_1`, `base_2`, … where it is taken. The answer is added to `used`. */
export function freshName(used: Set<string>, base: string): string {
  let name = base;
  for (let number = 1; used.has(name); number++) name = `${base}_${number}`;
  used.add(name);
  return name;
}

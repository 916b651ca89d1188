import type { Graph, Initializer, Node, ValueInfo } from './model.js';
import { subgraphsOf } from './names.js';

// Graphs are values: every function here answers a new graph and leaves its argument as it was.

// Graphs do not change, and passes ask once a node.
const knownProducers = new WeakMap<Graph, ReadonlyMap<string, Node>>();

/** The node that computes each value of this graph; inputs and initializers have none. Worked out once a graph. */
export function producers(graph: Graph): ReadonlyMap<string, Node> {
  const known = knownProducers.get(graph);
  if (known !== undefined) return known;
  const map = new Map<string, Node>();
  for (const node of graph.nodes) for (const output of node.outputs) if (output !== '') map.set(output, node);
  knownProducers.set(graph, map);
  return map;
}

/**
 * The nodes of this graph that read each value, in the graph's order, each once. A node reads what its subgraphs take
 * from outside. Graph outputs are no consumers: look at `graph.outputs` too before dropping a value.
 */
export function consumers(graph: Graph): ReadonlyMap<string, readonly Node[]> {
  const map = new Map<string, Node[]>();
  for (const node of graph.nodes)
    for (const name of valuesRead(node)) {
      const nodes = map.get(name);
      if (nodes === undefined) map.set(name, [node]);
      else nodes.push(node);
    }
  return map;
}

/** Names a node reads from the graph it stands in: its inputs and what its subgraphs take from outside. */
export function valuesRead(node: Node): ReadonlySet<string> {
  const names = new Set(node.inputs);
  for (const subgraph of subgraphsOf(node)) for (const name of outerNames(subgraph)) names.add(name);
  names.delete('');
  return names;
}

/** What the caller feeds: inputs that have no initializer. */
export function modelInputs(graph: Graph): readonly ValueInfo[] {
  return graph.inputs.filter((input) => !graph.initializers.has(input.name));
}

/** The graph with each node of the map replaced, where it stands, by the nodes given for it (none: removed). */
export function replaceNodes(graph: Graph, replacements: ReadonlyMap<Node, readonly Node[]>): Graph {
  return { ...graph, nodes: graph.nodes.flatMap((node) => replacements.get(node) ?? [node]) };
}

/** The graph with initializers added, or replaced where the name is known. */
export function withInitializers(graph: Graph, initializers: Iterable<Initializer>): Graph {
  const merged = new Map(graph.initializers);
  for (const initializer of initializers) merged.set(initializer.name, initializer);
  return { ...graph, initializers: merged };
}

/**
 * The graph without nodes that no output depends on and without initializers that nothing reads. Inputs stay, so that
 * a caller may feed what it did before. Subgraphs stay as they are.
 */
export function removeUnused(graph: Graph): Graph {
  const { nodes, values } = reachable(graph);
  const initializers = new Map([...graph.initializers].filter(([name]) => values.has(name)));
  // Before IR 4 an initializer is listed as an input too; left there alone, it would become one.
  const wasDropped = (name: string): boolean => graph.initializers.has(name) && !initializers.has(name);
  return {
    ...graph,
    inputs: graph.inputs.filter((input) => !wasDropped(input.name)),
    valueInfos: graph.valueInfos.filter((info) => values.has(info.name)),
    initializers,
    nodes: graph.nodes.filter((node) => nodes.has(node)),
  };
}

/** What the outputs depend on. Works from them backwards, so that the order of the nodes does not matter. */
function reachable(graph: Graph): { nodes: ReadonlySet<Node>; values: ReadonlySet<string> } {
  const producerOf = producers(graph);
  const nodes = new Set<Node>();
  const values = new Set<string>();
  const open = graph.outputs.map((output) => output.name);
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    values.add(name);
    const node = producerOf.get(name);
    if (node === undefined || nodes.has(node)) continue;
    nodes.add(node);
    for (const output of node.outputs) values.add(output);
    open.push(...valuesRead(node));
  }
  return { nodes, values };
}

/** Names a subgraph uses but does not define: values of the graphs around it. */
function outerNames(graph: Graph): ReadonlySet<string> {
  const used = new Set(graph.outputs.map((output) => output.name));
  const defined = new Set([...graph.inputs.map((input) => input.name), ...graph.initializers.keys()]);
  for (const node of graph.nodes) {
    for (const name of valuesRead(node)) used.add(name);
    for (const output of node.outputs) defined.add(output);
  }
  return new Set([...used].filter((name) => !defined.has(name)));
}

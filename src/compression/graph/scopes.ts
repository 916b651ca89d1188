import { producers, subgraphsOf } from '../../onnx/index.js';
import type { Graph, Model, Node } from '../../onnx/index.js';

/** A graph of a model, main or inside a node, and where it stands. */
export interface Scope {
  readonly graph: Graph;
  /** The graph around it, whose values it may read; undefined for the main graph. */
  readonly outer?: Scope;
}

const visibleGraphs = new WeakMap<Scope, Graph>();

/** Every graph of a model, the main graph first, each before those inside it. */
export function scopesOf({ graph }: Model): Scope[] {
  const scopes: Scope[] = [{ graph }];
  // Grows while it is walked.
  for (const outer of scopes)
    for (const node of outer.graph.nodes)
      for (const subgraph of subgraphsOf(node)) scopes.push({ graph: subgraph, outer });
  return scopes;
}

/**
 * What a graph can read, as one graph: itself with the nodes and initializers of the graphs around it, without those
 * whose names it uses itself. It is for looking up what stands behind a name (`constantTensor`), never for writing.
 */
export function visibleGraph(scope: Scope): Graph {
  const { graph, outer } = scope;
  if (outer === undefined) return graph;
  const known = visibleGraphs.get(scope);
  if (known !== undefined) return known;
  const around = visibleGraph(outer);
  const own = ownNames(graph);
  const foreign = (node: Node): boolean => node.outputs.every((output) => !own.has(output));
  const visible: Graph = {
    ...graph,
    initializers: new Map([
      ...[...around.initializers].filter(([name]) => !own.has(name)),
      ...graph.initializers,
    ]),
    nodes: [...around.nodes.filter(foreign), ...graph.nodes],
    valueInfos: [
      ...[...around.inputs, ...around.valueInfos].filter((value) => !own.has(value.name)),
      ...graph.valueInfos,
    ],
  };
  visibleGraphs.set(scope, visible);
  return visible;
}

/** The innermost graph around a use of `name` that has the value itself; the main graph where none has. */
export function definingScope(scope: Scope, name: string): Scope {
  const { graph, outer } = scope;
  const own =
    graph.initializers.has(name) ||
    producers(graph).has(name) ||
    graph.inputs.some((input) => input.name === name);
  return own || outer === undefined ? scope : definingScope(outer, name);
}

function ownNames(graph: Graph): ReadonlySet<string> {
  return new Set([
    ...graph.inputs.map((input) => input.name),
    ...graph.initializers.keys(),
    ...producers(graph).keys(),
  ]);
}

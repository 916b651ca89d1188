import { subgraphsOf } from '../../onnx/index.js';
import type { Graph, Model } from '../../onnx/index.js';

/** How often an operator is in each of two models. */
export interface OperatorCount {
  /** With its domain where that is not ai.onnx. */
  readonly operator: string;
  readonly a: number;
  readonly b: number;
  /** Nodes that compute a value which the other model does not compute with this operator. */
  readonly onlyA: number;
  readonly onlyB: number;
}

/** The operators of both models, subgraphs included, those with the most nodes of one model alone first. */
export function operatorCounts(a: Model, b: Model): OperatorCount[] {
  const [inA, inB] = [nodesOf(a.graph), nodesOf(b.graph)];
  const operators = [...new Set([...inA.values(), ...inB.values()])].sort();
  const counts = operators.map((operator) => ({
    operator,
    a: count(inA, operator),
    b: count(inB, operator),
    onlyA: count(inA, operator, inB),
    onlyB: count(inB, operator, inA),
  }));
  return counts.sort((x, y) => y.onlyA + y.onlyB - (x.onlyA + x.onlyB));
}

/** The operator of each node, by where it stands and what it computes. */
function nodesOf(graph: Graph, path = '', nodes = new Map<string, string>()): ReadonlyMap<string, string> {
  for (const node of graph.nodes) {
    const place = `${path}/${node.outputs.join()}`;
    nodes.set(place, node.domain === '' ? node.op : `${node.domain}:${node.op}`);
    subgraphsOf(node).forEach((subgraph, index) => nodesOf(subgraph, `${place}#${index}`, nodes));
  }
  return nodes;
}

/** Nodes of the operator, or those of them that `others` has not. */
function count(
  nodes: ReadonlyMap<string, string>,
  operator: string,
  others?: ReadonlyMap<string, string>,
): number {
  return [...nodes].filter(([place, op]) => op === operator && others?.get(place) !== op).length;
}

import { must } from '../core/index.js';
import { producers, valuesRead } from './edit.js';
import type { Graph, Node } from './model.js';

/**
 * The graph with each node after those it reads from; nodes that already are keep their order. ONNX demands this order,
 * but ONNX Runtime's own optimizer writes graphs without it. In a ring no order helps: `checkModel` names the node.
 */
export function sortNodes(graph: Graph): Graph {
  const producerOf = producers(graph);
  const sources = (node: Node): Node[] => [...valuesRead(node)].flatMap((name) => producerOf.get(name) ?? []);
  const sorted = new Set<Node>();
  const entered = new Set<Node>();
  // Depth first with a stack of its own, because real graphs are deeper than the call stack.
  for (const root of graph.nodes) {
    const stack = [root];
    for (let node = stack.at(-1); node !== undefined; node = stack.at(-1)) {
      const waiting = entered.has(node) ? [] : sources(node).filter((source) => !entered.has(source));
      entered.add(node);
      if (waiting.length > 0) stack.push(...waiting.reverse());
      else sorted.add(must(stack.pop(), 'node'));
    }
  }
  return { ...graph, nodes: [...sorted] };
}

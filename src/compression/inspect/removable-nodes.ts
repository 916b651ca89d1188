import { subgraphsOf } from '../../onnx/index.js';
import type { Graph, Model } from '../../onnx/index.js';
import { removeNoOps } from '../simplify/no-ops.js';
import { removeDead } from '../simplify/unused.js';

/**
 * How many nodes of the main graph `simplify` would remove at least: Constant nodes, those that depend on constants
 * alone, those that give back their input, and those that no output depends on.
 */
export function removableNodes({ graph, opsets }: Model): number {
  const alive = removeDead(graph).graph;
  const folded = withoutFolded(alive);
  const useful = removeNoOps(folded, opsets.get('') ?? 0).graph;
  return graph.nodes.length - useful.nodes.length;
}

/** Random operators give something else at each run. */
const RANDOM = /^(Random|Bernoulli$|Multinomial$)/;

function withoutFolded(graph: Graph): Graph {
  const constant = new Set(graph.initializers.keys());
  const nodes = graph.nodes.filter((node) => {
    const inputs = node.inputs.filter((input) => input !== '');
    const folds =
      node.domain === '' &&
      node.op !== 'DequantizeLinear' &&
      !RANDOM.test(node.op) &&
      subgraphsOf(node).length === 0 &&
      (node.op === 'Constant' || inputs.length > 0) &&
      inputs.every((input) => constant.has(input));
    if (folds) for (const output of node.outputs) constant.add(output);
    return !folds;
  });
  return { ...graph, nodes };
}

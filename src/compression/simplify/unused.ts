import { elementCount } from '../../core/index.js';
import { removeUnused } from '../../onnx/index.js';
import type { Graph } from '../../onnx/index.js';
import { removalOf, unchanged } from './removal.js';
import type { Removal, Step } from './removal.js';

/** Nodes that no output depends on go, and initializers and recorded shapes that nothing reads. */
export function removeDead(graph: Graph): Step {
  const used = removeUnused(graph);
  const kept = new Set(used.nodes);
  const shapes = new Set(used.valueInfos);
  const nodes = graph.nodes.filter((node) => !kept.has(node));
  const initializers = [...graph.initializers.values()].filter(({ name }) => !used.initializers.has(name));
  const removals: Removal[] = [
    ...nodes.map((node) => removalOf(node, 'read by nothing')),
    ...initializers.map(({ name, dims }) => ({
      op: 'initializer',
      name,
      why: 'read by nothing',
      weights: elementCount(dims),
    })),
    ...graph.valueInfos
      .filter((value) => !shapes.has(value))
      .map(({ name }) => ({ op: 'recorded shape', name, why: 'of no value', weights: 0 })),
  ];
  return removals.length === 0 ? unchanged(graph) : { graph: used, removals, changed: [], left: [] };
}

import { elementCount } from '../../core/index.js';
import { removeUnused } from '../../onnx/index.js';
import type { Graph } from '../../onnx/index.js';
import { removalOf, unchanged } from './removal.js';
import type { Removal, Step } from './removal.js';

/** Nodes that no output depends on go, and initializers and recorded shapes that nothing reads. */
export function removeDead(graph: Graph): Step {
  const used = removeUnused(graph);
  const kept = new Set(used.nodes);
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
  ];
  const fewer = removals.length > 0 || used.valueInfos.length < graph.valueInfos.length;
  return fewer ? { graph: used, removals, changed: [], left: [] } : unchanged(graph);
}

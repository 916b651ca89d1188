import type { Graph, Node } from '../../onnx/index.js';
import { layerName } from '../graph/dense-layers.js';
import type { LayerChange, LeftLayer } from '../pass.js';

/** Something of a graph that is no longer there. */
export interface Removal {
  /** The operator, or `initializer`. */
  readonly op: string;
  readonly name: string;
  /** Why nothing is lost without it. */
  readonly why: string;
  /** Elements of a constant that are stored less. */
  readonly weights: number;
}

/** What one step made of a graph. */
export interface Step {
  readonly graph: Graph;
  readonly removals: readonly Removal[];
  /** Layers whose weights changed. */
  readonly changed: readonly LayerChange[];
  readonly left: readonly LeftLayer[];
}

/** A step that found nothing to do. */
export function unchanged(graph: Graph, left: readonly LeftLayer[] = []): Step {
  return { graph, removals: [], changed: [], left };
}

export function removalOf(node: Node, why: string): Removal {
  return { op: node.op, name: layerName(node), why, weights: 0 };
}

/** One change for each operator and reason, which names all that went. */
export function changesOf(removals: readonly Removal[]): LayerChange[] {
  const groups = new Map<string, Removal[]>();
  for (const removal of removals) {
    const key = `${removal.op}: ${removal.why}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [removal]);
    else group.push(removal);
  }
  return [...groups].map(([layer, group]) => ({
    layer,
    change: `${group.length} gone: ${group.map(({ name }) => name).join(', ')}`,
    weightsBefore: group.reduce((sum, { weights }) => sum + weights, 0),
    weightsAfter: 0,
    relativeError: 0,
  }));
}

import { constantInfo, consumers, producers } from '../../onnx/index.js';
import type { Node } from '../../onnx/index.js';
import type { Scope } from './scopes.js';
import { visibleGraph } from './scopes.js';

/**
 * Whether anything but `readers` reads the stored tensor behind a constant value of a graph: a node of whatever kind,
 * also in a subgraph, or the graph's outputs. Identity, Transpose and others that only move constants are looked through.
 */
export function readElsewhere(scope: Scope, value: string, readers: ReadonlySet<Node>): boolean {
  const { graph } = scope;
  const visible = visibleGraph(scope);
  const readersOf = consumers(graph);
  const outputs = new Set(graph.outputs.map(({ name }) => name));
  const seen = new Set<string>();
  const isRead = (name: string): boolean => {
    if (seen.has(name)) return false;
    seen.add(name);
    return (
      outputs.has(name) ||
      (readersOf.get(name) ?? []).some((node) => {
        if (readers.has(node)) return false;
        const [output = ''] = node.outputs;
        return constantInfo(visible, output) === undefined || isRead(output);
      })
    );
  };
  return isRead(storedName(scope, value));
}

/** Name of the initializer or Constant node's output whose elements a constant value has. */
export function storedName({ graph }: Scope, value: string): string {
  const producerOf = producers(graph);
  const seen = new Set<string>();
  let name = value;
  while (!seen.has(name) && !graph.initializers.has(name)) {
    seen.add(name);
    name = producerOf.get(name)?.inputs[0] ?? name;
  }
  return name;
}

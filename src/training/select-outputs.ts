import { WhittleError } from '../core/index.js';
import { producers, removeUnused, valuesRead } from '../onnx/index.js';
import type { Graph, ValueInfo } from '../onnx/index.js';

/**
 * The graph cut down to some of its values: they become its outputs, and only the nodes, initializers and inputs they
 * need stay. @throws INPUT_INVALID for a name that no node computes.
 */
export function selectOutputs(graph: Graph, outputs: readonly string[]): Graph {
  const known = new Map([...graph.valueInfos, ...graph.outputs].map((info) => [info.name, info]));
  const computed = producers(graph);
  const infos = outputs.map((name): ValueInfo => {
    if (computed.has(name)) return known.get(name) ?? { name, dtype: undefined, dims: undefined };
    throw new WhittleError('INPUT_INVALID', `No node computes the value ${name}`, {
      field: 'outputs',
      value: name,
      allowed: 'names of values that nodes of the graph compute',
    });
  });
  return withoutUnreadInputs(removeUnused({ ...graph, outputs: infos }));
}

/** The graph without inputs that nothing reads. */
function withoutUnreadInputs(graph: Graph): Graph {
  const read = new Set(graph.nodes.flatMap((node) => [...valuesRead(node)]));
  return { ...graph, inputs: graph.inputs.filter(({ name }) => read.has(name)) };
}

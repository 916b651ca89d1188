import { must, WhittleError } from '../core/index.js';
import type { DataType, OpenSession, Tensor, TensorMap } from '../core/index.js';
import type { Graph, Model, ValueInfo } from './model.js';
import { withModelSession } from './model-session.js';

/** Type and shape of a value as it was seen. */
export interface ProbedValue {
  readonly dtype: DataType;
  /** Dimensions in the first run. */
  readonly dims: readonly number[];
  /** Which dimensions differed in the second run; all false where there was only one. */
  readonly dynamic: readonly boolean[];
}

/**
 * Types and shapes of all tensors of the main graph (inputs, initializers, every node's outputs), found by running the
 * model with each of them as an output. Feed batches of different sizes to learn which dimensions depend on the batch.
 * Sequences and values inside subgraphs are left out. Models of any size can be probed.
 * @throws MODEL_INVALID where ONNX Runtime cannot run the model; GRAPH_UNSUPPORTED where a rank changes between runs.
 */
export async function probeShapes(
  model: Model,
  openSession: OpenSession,
  feeds: TensorMap,
  otherFeeds?: TensorMap,
): Promise<ReadonlyMap<string, ProbedValue>> {
  // Optimizations would remove nodes, and some break where an inner value is an output.
  return withModelSession(
    { ...model, graph: withAllOutputs(model.graph) },
    openSession,
    async (session) => {
      const first: TensorMap = { ...feeds, ...(await session.run(feeds)) };
      const second: TensorMap =
        otherFeeds === undefined ? first : { ...otherFeeds, ...(await session.run(otherFeeds)) };
      const shapes = new Map<string, ProbedValue>();
      for (const { name, dtype, dims } of model.graph.initializers.values())
        shapes.set(name, { dtype, dims, dynamic: dims.map(() => false) });
      for (const [name, tensor] of Object.entries(first))
        shapes.set(name, compare(name, tensor, must(second[name], `second run's ${name}`)));
      return shapes;
    },
    { optimization: 'disabled' },
  );
}

function withAllOutputs(graph: Graph): Graph {
  const known = new Map(graph.outputs.map((output) => [output.name, output]));
  const outputs = graph.nodes.flatMap((node) => node.outputs).filter((name) => name !== '');
  const untyped = (name: string): ValueInfo => ({ name, dtype: undefined, dims: undefined });
  return { ...graph, outputs: [...new Set(outputs)].map((name) => known.get(name) ?? untyped(name)) };
}

function compare(name: string, first: Tensor, second: Tensor): ProbedValue {
  if (first.dims.length !== second.dims.length)
    throw new WhittleError('GRAPH_UNSUPPORTED', `The rank of ${name} depends on the batch`, {
      value: name,
      dims: [first.dims, second.dims],
    });
  const dynamic = first.dims.map((dim, axis) => dim !== second.dims[axis]);
  return { dtype: first.dtype, dims: first.dims, dynamic };
}

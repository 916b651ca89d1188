import { elementCount } from '../../core/index.js';
import type { OpenSession, TensorMap } from '../../core/index.js';
import { byteLength, intAttribute, probeShapes, subgraphsOf } from '../../onnx/index.js';
import type { Graph, Initializer, Model, Node } from '../../onnx/index.js';

/** Constants of a model, main graph and subgraphs, by what reads them. */
export interface ModelStats {
  /** Elements that MatMul, Gemm and MatMulInteger multiply with. */
  readonly denseWeights: number;
  /** Elements of tables, which Gather reads. */
  readonly tableWeights: number;
  /** All other elements: biases, scales, convolutions, shapes. */
  readonly otherWeights: number;
  /** Bytes of the constants, whether inside the file or beside it. */
  readonly denseBytes: number;
  readonly tableBytes: number;
  readonly otherBytes: number;
}

const DENSE = new Set(['MatMul', 'Gemm', 'MatMulInteger']);

type Kind = 'dense' | 'table' | 'other';

/** Counts a model's constants. One that both a table's Gather and a dense layer read is a table. */
export function modelStats({ graph }: Model): ModelStats {
  const elements = { dense: 0, table: 0, other: 0 };
  const bytes = { dense: 0, table: 0, other: 0 };
  const count = (current: Graph): void => {
    const kinds = constantKinds(current);
    for (const [name, tensor] of constantsOf(current)) {
      const kind = kinds.get(name) ?? 'other';
      elements[kind] += elementCount(tensor.dims);
      bytes[kind] += byteLength(tensor);
    }
    for (const node of current.nodes) subgraphsOf(node).forEach(count);
  };
  count(graph);
  return {
    denseWeights: elements.dense,
    tableWeights: elements.table,
    otherWeights: elements.other,
    denseBytes: bytes.dense,
    tableBytes: bytes.table,
    otherBytes: bytes.other,
  };
}

function* constantsOf(graph: Graph): Generator<readonly [string, Initializer]> {
  yield* graph.initializers;
  for (const node of graph.nodes) {
    const value = node.op === 'Constant' ? node.attributes.get('value') : undefined;
    if (value?.kind === 'tensor') yield [node.outputs[0] ?? '', value.value];
  }
}

/** By name: what reads a value, here or in a subgraph. */
function constantKinds(graph: Graph, kinds = new Map<string, Kind>()): ReadonlyMap<string, Kind> {
  for (const node of graph.nodes) {
    const [first = '', second = ''] = node.inputs;
    if (node.op === 'Gather') kinds.set(first, 'table');
    if (DENSE.has(node.op) && node.domain === '')
      for (const name of [first, second]) if (!kinds.has(name)) kinds.set(name, 'dense');
    for (const subgraph of subgraphsOf(node)) constantKinds(subgraph, kinds);
  }
  return kinds;
}

/**
 * Multiply-adds of the main graph's MatMul, Gemm and MatMulInteger nodes in a run on `feed`, scaled to 100 rows of the
 * model's first output. Convolutions and subgraphs are not counted.
 * @throws MODEL_INVALID where ONNX Runtime cannot run the model on `feed`.
 */
export async function multiplyAddsPer100Rows(
  model: Model,
  feed: TensorMap,
  openSession: OpenSession,
): Promise<number> {
  const shapes = await probeShapes(model, openSession, feed);
  const dimsOf = (name = ''): readonly number[] => shapes.get(name)?.dims ?? [];
  const rows = dimsOf(model.graph.outputs[0]?.name)[0] ?? 1;
  const counts = model.graph.nodes
    .filter((node) => DENSE.has(node.op) && node.domain === '')
    .map((node) => elementCount(dimsOf(node.outputs[0])) * innerLength(node, dimsOf(node.inputs[0])));
  return (100 * counts.reduce((sum, count) => sum + count, 0)) / Math.max(1, rows);
}

/** Length of the axis that is summed over. */
function innerLength(node: Node, left: readonly number[]): number {
  const transposed = node.op === 'Gemm' && intAttribute(node, 'transA', 0) !== 0;
  return left.at(transposed ? 0 : -1) ?? 1;
}

import { elementCount } from '../../core/index.js';
import type { OpenSession, TensorMap } from '../../core/index.js';
import { byteLength, probeShapes, subgraphsOf } from '../../onnx/index.js';
import type { Graph, Initializer, Model, Node } from '../../onnx/index.js';
import { scopesOf } from '../graph/scopes.js';
import { weightUses } from '../graph/weight-uses.js';
import type { WeightUse } from '../graph/weight-uses.js';
import { nodeMultiplyAdds } from './node-multiply-adds.js';
import type { DimsOf } from './node-multiply-adds.js';

/**
 * Constants of a model, main graph and subgraphs, by what they are for. Scales and zero points count in the bytes of
 * what they are stored with, but among the other elements.
 */
export interface ModelStats {
  /** Elements that dense layers multiply with: MatMul, Gemm, attention and their quantized forms. */
  readonly denseWeights: number;
  /** Elements of tables, which Gather reads, and of id maps in front of them. */
  readonly tableWeights: number;
  /** Elements of convolutions. */
  readonly convWeights: number;
  /** All other elements: biases, normalisations, recurrent layers, scales, shapes. */
  readonly otherWeights: number;
  /** Bytes of the constants, whether inside the file or beside it. */
  readonly denseBytes: number;
  readonly tableBytes: number;
  readonly convBytes: number;
  readonly otherBytes: number;
}

/** A constant of a model. */
export interface Constant extends WeightUse {
  readonly name: string;
  /** Where it is stored. */
  readonly graph: Graph;
  readonly dtype: Initializer['dtype'];
  readonly dims: readonly number[];
  readonly bytes: number;
}

/** Counts a model's constants. One that both a table's Gather and a dense layer read is a table. */
export function modelStats(model: Model): ModelStats {
  const elements = { dense: 0, table: 0, conv: 0, other: 0 };
  const bytes = { dense: 0, table: 0, conv: 0, other: 0 };
  for (const constant of constantsOf(model)) {
    elements[constant.role === 'scales' ? 'other' : constant.kind] += elementCount(constant.dims);
    bytes[constant.kind] += constant.bytes;
  }
  return {
    denseWeights: elements.dense,
    tableWeights: elements.table,
    convWeights: elements.conv,
    otherWeights: elements.other,
    denseBytes: bytes.dense,
    tableBytes: bytes.table,
    convBytes: bytes.conv,
    otherBytes: bytes.other,
  };
}

/** Every constant of a model with its kind: initializers and Constant nodes of all graphs. No values are read. */
export function* constantsOf(model: Model): Generator<Constant> {
  const useOf = weightUses(model);
  for (const { graph } of scopesOf(model))
    for (const [name, tensor] of tensorsOf(graph)) {
      const { dtype, dims } = tensor;
      yield { name, graph, ...useOf(graph, name), dtype, dims, bytes: byteLength(tensor) };
    }
}

function* tensorsOf(graph: Graph): Generator<readonly [string, Initializer]> {
  yield* graph.initializers;
  for (const node of graph.nodes) {
    const value = node.op === 'Constant' ? node.attributes.get('value') : undefined;
    if (value?.kind === 'tensor') yield [node.outputs[0] ?? '', value.value];
  }
}

/**
 * Multiply-adds of a run on `feed`, scaled to 100 rows of the model's first output: see {@link multiplyAddsAt}.
 * @throws MODEL_INVALID where ONNX Runtime cannot run the model on `feed`.
 */
export async function multiplyAddsPer100Rows(
  model: Model,
  feed: TensorMap,
  openSession: OpenSession,
): Promise<number> {
  const shapes = await probeShapes(model, openSession, feed);
  const dimsOf: DimsOf = (name) => shapes.get(name)?.dims;
  return (100 * multiplyAddsAt(model, dimsOf)) / outputRows(model, dimsOf);
}

/**
 * Multiply-adds of a run in which values have these shapes: of matrix products, convolutions, recurrent layers and
 * attention, also quantized. Inside subgraphs those count whose shapes the model records: of an If the branch with more,
 * of a Loop or Scan one turn.
 */
export function multiplyAddsAt({ graph }: Model, dimsOf: DimsOf): number {
  return graphMultiplyAdds(graph, dimsOf);
}

/** Rows of the model's first output in such a run; at least 1. */
export function outputRows({ graph }: Model, dimsOf: DimsOf): number {
  return Math.max(1, dimsOf(graph.outputs[0]?.name ?? '')?.[0] ?? 1);
}

function graphMultiplyAdds({ nodes }: Graph, dimsOf: DimsOf): number {
  return nodes.reduce(
    (sum, node) => sum + (nodeMultiplyAdds(node, dimsOf) ?? insideMultiplyAdds(node, dimsOf)),
    0,
  );
}

function insideMultiplyAdds(node: Node, outer: DimsOf): number {
  const counts = subgraphsOf(node).map((graph) => {
    const own = recordedDims(graph);
    return graphMultiplyAdds(graph, (name) => own.get(name) ?? outer(name));
  });
  return Math.max(0, ...counts);
}

function recordedDims(graph: Graph): ReadonlyMap<string, readonly number[]> {
  const dims = new Map<string, readonly number[]>();
  for (const { name, dims: recorded } of [...graph.inputs, ...graph.valueInfos, ...graph.outputs]) {
    const lengths = recorded?.filter((dim) => typeof dim === 'number');
    if (lengths?.length === recorded?.length && lengths !== undefined) dims.set(name, lengths);
  }
  for (const [name, tensor] of tensorsOf(graph)) dims.set(name, tensor.dims);
  return dims;
}

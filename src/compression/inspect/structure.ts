import { consumers, modelInputs } from '../../onnx/index.js';
import type { Graph, Model, Node, ValueInfo } from '../../onnx/index.js';
import { layerName } from '../graph/dense-layers.js';
import { definingScope, scopesOf } from '../graph/scopes.js';
import { constantsOf } from '../measure/model-stats.js';
import type { WeightKind } from '../graph/weight-uses.js';

export interface OperatorCount {
  /** With its domain, where that is not ai.onnx: `com.microsoft.MatMulNBits`. */
  readonly operator: string;
  readonly count: number;
}

/** An input or output. */
export interface ValueFacts {
  readonly name: string;
  /** Null for sequences, maps and optionals. */
  readonly dtype: string | null;
  /** A dynamic dimension is its name, or '' where it has none; null where the rank is not known. */
  readonly dims: readonly (number | string)[] | null;
}

/** What a model consists of, read from its graphs alone. */
export interface Structure {
  /** Nodes of all graphs. */
  readonly nodes: number;
  /** Graphs inside nodes: branches of If, bodies of Loop and Scan, decoders. */
  readonly subgraphs: number;
  /** Of all graphs, the most frequent first. */
  readonly operators: readonly OperatorCount[];
  /** Operator set version by domain. */
  readonly opsets: Readonly<Record<string, number>>;
  readonly inputs: readonly ValueFacts[];
  readonly outputs: readonly ValueFacts[];
}

export function structureOf(model: Model): Structure {
  const scopes = scopesOf(model);
  const nodes = scopes.flatMap(({ graph }) => graph.nodes);
  const counts = new Map<string, number>();
  for (const { domain, op } of nodes) {
    const operator = domain === '' ? op : `${domain}.${op}`;
    counts.set(operator, (counts.get(operator) ?? 0) + 1);
  }
  const operators = [...counts].map(([operator, count]) => ({ operator, count }));
  return {
    nodes: nodes.length,
    subgraphs: scopes.length - 1,
    operators: operators.sort((a, b) => b.count - a.count || (a.operator < b.operator ? -1 : 1)),
    opsets: Object.fromEntries([...model.opsets].map(([domain, version]) => [domain || 'ai.onnx', version])),
    inputs: modelInputs(model.graph).map(factsOf),
    outputs: model.graph.outputs.map(factsOf),
  };
}

function factsOf({ name, dtype, dims }: ValueInfo): ValueFacts {
  return { name, dtype: dtype ?? null, dims: dims ?? null };
}

/** A stored tensor. */
export interface LargeTensor {
  readonly name: string;
  readonly kind: WeightKind;
  readonly dtype: string;
  readonly dims: readonly number[];
  readonly bytes: number;
  /** Of the bytes of all constants. */
  readonly share: number;
  /** Nodes that read it, as operator and name. */
  readonly readers: readonly string[];
}

/** The `count` tensors with most bytes, the largest first. */
export function largestTensors(model: Model, count: number): LargeTensor[] {
  const constants = [...constantsOf(model)];
  const total = constants.reduce((sum, { bytes }) => sum + bytes, 0);
  const largest = constants.sort((a, b) => b.bytes - a.bytes).slice(0, count);
  const readersOf = readersByGraph(model);
  return largest.map(({ name, graph, kind, dtype, dims, bytes }) => ({
    name,
    kind,
    dtype,
    dims,
    bytes,
    share: total === 0 ? 0 : bytes / total,
    readers: readersOf(graph, name).map((node) => `${node.op} ${layerName(node)}`),
  }));
}

/** Nodes that read a value of a graph, inside subgraphs too. */
function readersByGraph(model: Model): (graph: Graph, name: string) => readonly Node[] {
  const readers = new Map<Graph, Map<string, Node[]>>();
  for (const scope of scopesOf(model))
    for (const [name, nodes] of consumers(scope.graph)) {
      const { graph } = definingScope(scope, name);
      const known = readers.get(graph) ?? new Map<string, Node[]>();
      // What a subgraph reads counts for the node around it too: the inner node says more.
      const inner = nodes.filter((node) => node.inputs.includes(name));
      readers.set(graph, known.set(name, [...(known.get(name) ?? []), ...inner]));
    }
  return (graph, name) => readers.get(graph)?.get(name) ?? [];
}

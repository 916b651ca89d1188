import { elementCount, must } from '../../core/index.js';
import type { DataType } from '../../core/index.js';
import { constantInfo, intAttribute } from '../../onnx/index.js';
import type { Graph, Model, Node, TensorInfo } from '../../onnx/index.js';
import type { LeftLayer } from '../pass.js';
import { layerName } from './dense-layers.js';
import { definingScope, scopesOf, visibleGraph } from './scopes.js';
import type { Scope } from './scopes.js';

/** A node that takes rows of a table by their ids: its inputs are the table and the ids. */
export interface Lookup {
  readonly node: Node;
  readonly scope: Scope;
}

/** A constant float table `[rows, ...]` that nothing but lookups read, with all of them. */
export interface LookupTable {
  /** Of the stored tensor. */
  readonly name: string;
  readonly dtype: DataType;
  readonly dims: readonly number[];
  readonly rows: number;
  /** Elements of a row. */
  readonly width: number;
  /** In the order of the graphs; at least one. */
  readonly lookups: readonly [Lookup, ...Lookup[]];
}

export interface LookupTables {
  readonly tables: readonly LookupTable[];
  /** Nodes that read a table which is none of `tables`, and why. */
  readonly left: readonly LeftLayer[];
}

/** A use of a value: by a node, or by a graph as its output. */
interface Use extends Lookup {
  /** Which input. */
  readonly position: number;
}

/** What reads one stored tensor, also behind Identity, Transpose and the like. */
interface Readers {
  /** By the value that they read, Identities looked through: one table each. */
  readonly lookups: Map<string, Lookup[]>;
  /** Nodes that read it as a table, but not row by row; with the reason. */
  readonly refused: { readonly node: Node; readonly reason: string }[];
  /** For people: what else reads it. */
  readonly others: string[];
}

const FLOATS: readonly (DataType | undefined)[] = ['float32', 'float16'];

/** Operators that read tables inside themselves, and where the tables stand. */
const FUSED: Readonly<Record<string, readonly number[]>> = {
  EmbedLayerNormalization: [2, 3, 4],
  GatherElements: [0],
};

/**
 * The tables of all graphs of a model: constant float32 or float16 tensors of two or more dimensions, also behind
 * Identity, Transpose, Reshape and other operators that move constants, which Gather (axis 0) or GatherND (of whole
 * rows) reads. All lookups of one table are together, in whatever graphs they stand. A table that something else reads
 * too (a MatMul with the tied output embedding, a graph's output) is left, and so is one whose ids are all constant,
 * which ONNX Runtime looks up when it loads.
 */
export function findLookups(model: Model): LookupTables {
  const scopes = scopesOf(model);
  const uses = usesByValue(scopes);
  const tables: LookupTable[] = [];
  const reasons = new Map<Node, ReadonlySet<string>>();
  const leave = (node: Node, table: string, reason: string): void => {
    reasons.set(node, new Set([...(reasons.get(node) ?? []), `table ${table}: ${reason}`]));
  };
  for (const scope of scopes)
    for (const name of storedTables(scope.graph)) {
      const readers: Readers = { lookups: new Map(), refused: [], others: [] };
      collectReaders(readers, uses, scope, name, name);
      const shared = refusal(readers);
      for (const lookups of readers.lookups.values()) {
        const reason = shared ?? constantIds(lookups);
        if (reason === undefined) tables.push(tableOf(name, lookups));
        else for (const { node } of lookups) leave(node, name, reason);
      }
      for (const { node, reason } of readers.refused) leave(node, name, reason);
    }
  const left = [...reasons].map(([node, why]) => ({
    layer: layerName(node),
    op: node.op,
    reason: [...why].join('; '),
  }));
  return { tables, left };
}

/** Names of the float tensors that a graph stores. */
function storedTables(graph: Graph): string[] {
  const constants = graph.nodes.filter((node) => node.op === 'Constant' && node.domain === '');
  const names = [...graph.initializers.keys(), ...constants.map((node) => node.outputs[0] ?? '')];
  return names.filter((name) => isTable(constantInfo(graph, name)));
}

function isTable(info: TensorInfo | undefined): boolean {
  return (
    info !== undefined && FLOATS.includes(info.dtype) && info.dims.length >= 2 && elementCount(info.dims) > 0
  );
}

/** Uses of each value, by the graph that has the value. */
type Uses = ReadonlyMap<Graph, ReadonlyMap<string, readonly (Use | 'output')[]>>;

function usesByValue(scopes: readonly Scope[]): Uses {
  const uses = new Map<Graph, Map<string, (Use | 'output')[]>>();
  const add = (scope: Scope, name: string, use: Use | 'output'): void => {
    const { graph } = definingScope(scope, name);
    const ofGraph = uses.get(graph) ?? new Map<string, (Use | 'output')[]>();
    uses.set(graph, ofGraph.set(name, [...(ofGraph.get(name) ?? []), use]));
  };
  for (const scope of scopes) {
    for (const node of scope.graph.nodes)
      node.inputs.forEach((name, position) => {
        if (name !== '') add(scope, name, { node, scope, position });
      });
    for (const { name } of scope.graph.outputs) add(scope, name, 'output');
  }
  return uses;
}

/** Follows `value` of `scope` to all that reads it; `root` is the value whose tensor it has. */
function collectReaders(readers: Readers, uses: Uses, scope: Scope, value: string, root: string): void {
  for (const use of uses.get(scope.graph)?.get(value) ?? []) {
    if (use === 'output') {
      readers.others.push('an output');
      continue;
    }
    const { node } = use;
    const match = matchLookup(use);
    if (match === 'lookup') readers.lookups.set(root, [...(readers.lookups.get(root) ?? []), use]);
    else if (match !== undefined) readers.refused.push({ node, reason: match });
    else if (movesConstant(use)) {
      const output = must(node.outputs[0], 'output');
      collectReaders(readers, uses, use.scope, output, node.op === 'Identity' ? root : output);
    } else readers.others.push(`${node.op} ${layerName(node)}`);
  }
}

/** Whether the use is the lookup of rows, or a table's use of another kind, and then which; undefined for neither. */
function matchLookup({ node, scope, position }: Use): string | undefined {
  if (FUSED[node.op]?.includes(position) === true) return `${node.op} does more than look up its rows`;
  if (node.domain !== '' || position !== 0) return undefined;
  const graph = visibleGraph(scope);
  if (node.op === 'Gather') {
    const axis = intAttribute(node, 'axis', 0);
    const rank = constantInfo(graph, node.inputs[0] ?? '')?.dims.length ?? 0;
    return axis === 0 || axis === -rank ? 'lookup' : `it is gathered along axis ${axis}`;
  }
  if (node.op !== 'GatherND') return undefined;
  if (intAttribute(node, 'batch_dims', 0) !== 0) return 'GatherND has batch dimensions';
  return lastDimension(graph, node.inputs[1] ?? '') === 1 ? 'lookup' : 'GatherND may take less than rows';
}

function lastDimension(graph: Graph, name: string): number | string | undefined {
  const known = [...graph.inputs, ...graph.valueInfos].find((value) => value.name === name);
  return (known?.dims ?? constantInfo(graph, name)?.dims)?.at(-1);
}

function movesConstant({ node, scope, position }: Use): boolean {
  return position === 0 && constantInfo(visibleGraph(scope), node.outputs[0] ?? '') !== undefined;
}

function refusal({ others }: Readers): string | undefined {
  if (others.length === 0) return undefined;
  return `${[...new Set(others)].join(', ')} reads it too, so that two copies would be needed`;
}

function constantIds(lookups: readonly Lookup[]): string | undefined {
  const constant = lookups.every(
    ({ node, scope }) => constantInfo(visibleGraph(scope), node.inputs[1] ?? '') !== undefined,
  );
  return constant ? 'the ids are constant, so its rows are looked up at load' : undefined;
}

/** The names that an exclusion may go by: the table's and its lookups'. */
export function namesOfTable({ name, lookups }: LookupTable): readonly string[] {
  return [name, ...lookups.map(({ node }) => layerName(node))];
}

/** All lookups of a table, as left for a reason. */
export function leftLookups({ name, lookups }: LookupTable, reason: string): LeftLayer[] {
  return lookups.map(({ node }) => ({
    layer: layerName(node),
    op: node.op,
    reason: `table ${name}: ${reason}`,
  }));
}

function tableOf(name: string, lookups: readonly Lookup[]): LookupTable {
  const [first, ...others] = lookups;
  const lookup = must(first, 'lookup');
  const read = lookup.node.inputs[0] ?? '';
  const { dtype, dims } = must(constantInfo(visibleGraph(lookup.scope), read), `table ${name}`);
  const [rows = 0] = dims;
  return { name, dtype, dims, rows, width: elementCount(dims) / rows, lookups: [lookup, ...others] };
}

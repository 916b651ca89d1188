import { AttributeProtoSchema, GraphProtoSchema, ModelProtoSchema } from 'onnx-buf';
import type { GraphProto, SparseTensorProto } from 'onnx-buf';
import { elementCount, WhittleError } from '../core/index.js';
import { decodeGraph } from './codec-graph.js';
import { canonicalDomain, decodeNode } from './codec-node.js';
import type { Graph, Model, Node } from './model.js';
import { subgraphsOf } from './names.js';
import { opaqueMessage } from './preserved.js';

/** Far above what a ranking model needs, and below what takes a machine's memory before a single run. */
const MAX_NODES = 100_000;
const MAX_TENSORS = 100_000;
/** Subgraphs and functions inside each other. */
const MAX_DEPTH = 32;
const MAX_ELEMENTS = 2 ** 31 - 1;

/** Operator sets that ONNX Runtime brings for the CPU, beside the functions that a model brings itself. */
const DOMAINS: ReadonlySet<string> = new Set([
  '',
  'ai.onnx.ml',
  'ai.onnx.preview.training',
  'ai.onnx.training',
  'com.microsoft',
  'com.microsoft.nchwc',
  'com.ms.internal.nhwc',
]);

/** Bodies of a model's own functions, by `domain:name`. */
type Functions = ReadonlyMap<string, readonly Node[]>;

/**
 * Refuses a model that is too large to be meant, before anything is allocated for it: nodes after every function is
 * written out, tensors, nesting, declared shapes, sparse tensors by what they are unpacked to, and operators of
 * domains that ONNX Runtime does not have. What a run makes of its inputs is not seen here: that is for a first run
 * under caps.
 * @throws MODEL_INVALID naming what was found and what is allowed.
 */
export function checkModelLimits(model: Model): void {
  const functions = functionsOf(model);
  let tensors = 0;
  const expanded = new Map<string, number>();
  const domains = new Set([...DOMAINS, ...[...functions.keys()].map(domainOf)]);

  const countNodes = (nodes: readonly Node[], depth: number): number => {
    if (depth > MAX_DEPTH) throw tooMuch('levels of subgraphs and functions', depth, MAX_DEPTH);
    let count = 0;
    for (const node of nodes) {
      if (!domains.has(node.domain)) throw unknownDomain(node, [...domains]);
      count += 1 + countFunction(node, depth);
      for (const subgraph of subgraphsOf(node)) count += countGraph(subgraph, depth + 1);
      checkSparseAttributes(node);
      if (count > MAX_NODES) throw tooMuch('nodes', count, MAX_NODES);
    }
    return count;
  };
  // A body is counted once and added for each call: functions that call functions twice each grow without end.
  const countFunction = (node: Node, depth: number): number => {
    const key = `${node.domain}:${node.op}`;
    const body = functions.get(key);
    if (body === undefined) return 0;
    const known = expanded.get(key) ?? countNodes(body, depth + 1);
    expanded.set(key, known);
    return known;
  };
  const countGraph = (graph: Graph, depth: number): number => {
    tensors += graph.initializers.size;
    if (tensors > MAX_TENSORS) throw tooMuch('initializers', tensors, MAX_TENSORS);
    checkTensors(graph);
    return countNodes(graph.nodes, depth);
  };
  countGraph(model.graph, 0);
}

/** Values behind a declared shape, an initializer's shape, and a sparse initializer once it is dense. */
function checkTensors(graph: Graph): void {
  for (const { name, dims } of graph.initializers.values()) checkDims(`initializer ${name}`, dims);
  for (const { name, dims } of [...graph.inputs, ...graph.outputs, ...graph.valueInfos])
    checkDims(
      `value ${name}`,
      (dims ?? []).filter((dim): dim is number => typeof dim === 'number'),
    );
  for (const sparse of opaqueMessage(GraphProtoSchema, graph.preserved)?.sparseInitializer ?? [])
    checkSparse(sparse);
}

function checkSparseAttributes(node: Node): void {
  for (const attribute of node.attributes.values()) {
    if (attribute.kind !== 'opaque') continue;
    const message = opaqueMessage(AttributeProtoSchema, attribute.preserved);
    if (message?.sparseTensor !== undefined) checkSparse(message.sparseTensor);
    for (const sparse of message?.sparseTensors ?? []) checkSparse(sparse);
  }
}

function checkSparse({ values, dims }: SparseTensorProto): void {
  checkDims(`sparse tensor ${values?.name ?? ''}`, dims.map(Number));
}

/** A shape with a 0 in it holds nothing, but its other dimensions are multiplied all the same. */
function checkDims(what: string, dims: readonly number[]): void {
  const elements = elementCount(dims.filter((dim) => dim !== 0));
  if (dims.some((dim) => dim < 0) || elements > MAX_ELEMENTS)
    throw tooMuch(`elements of ${what}, [${dims.join(', ')}]`, elements, MAX_ELEMENTS);
}

function functionsOf(model: Model): Functions {
  // Functions hold no external data: what is only passed on may have none.
  const source = { directory: undefined };
  const decoder = { source, decodeGraph: (inner: GraphProto) => decodeGraph(inner, source) };
  const functions = opaqueMessage(ModelProtoSchema, model.preserved)?.functions ?? [];
  return new Map(
    functions.map(({ domain, name, node }) => [
      `${canonicalDomain(domain)}:${name}`,
      node.map((one) => decodeNode(one, decoder)),
    ]),
  );
}

function domainOf(key: string): string {
  return key.slice(0, key.indexOf(':'));
}

function unknownDomain({ name, op, domain }: Node, allowed: readonly string[]): WhittleError {
  const remedy = 'save the model with operators of ONNX, or as functions inside it';
  return new WhittleError(
    'MODEL_INVALID',
    `Node ${name} is ${domain}.${op}, an operator that ONNX Runtime does not have; ${remedy}`,
    { node: name, op, domain, allowed, remedy },
  );
}

function tooMuch(what: string, found: number, allowed: number): WhittleError {
  return new WhittleError('MODEL_INVALID', `The model has ${found} ${what}; at most ${allowed} are served`, {
    field: what,
    found,
    allowed,
  });
}

import { elementCount, must, toWhittleError } from '../../core/index.js';
import type { DataType, OpenSession, Tensor, TensorMap } from '../../core/index.js';
import {
  byteLength,
  encodeModel,
  initializerOf,
  packedBytes,
  subgraphsOf,
  tensorOf,
  withInitializers,
} from '../../onnx/index.js';
import type { Graph, Initializer, Model, Node, ValueInfo } from '../../onnx/index.js';
import { layerName } from '../graph/dense-layers.js';
import { removalOf, unchanged } from './removal.js';
import type { Removal, Step } from './removal.js';
import { resultElements } from './result-size.js';
import { isRandom } from './rewrite.js';

/** A node whose inputs are larger is left to ONNX Runtime, which folds it when it loads the model. */
const MAX_INPUT_BYTES = 2 ** 24;
/** A result may be larger than what it is made of up to this size. */
const MAX_GROWN_BYTES = 2 ** 16;

/** Types that ONNX Runtime's binding takes and gives. */
const TYPES = new Set<DataType>(
  'float32 float64 int8 uint8 int16 uint16 int32 uint32 int64 uint64 bool'.split(' ') as DataType[],
);

/**
 * Evaluates nodes of ai.onnx whose inputs are all constant, in ONNX Runtime, and stores the results: Constant nodes
 * become initializers, and shapes, masks and positions that do not depend on the inputs become numbers. Left and named
 * are nodes that are random, that read quantized weights (DequantizeLinear), whose operator's result has no known bound,
 * whose inputs take more than 16 MiB, and whose result would take more than 64 KiB and more than its inputs.
 */
export async function foldConstants(model: Model, openSession: OpenSession): Promise<Step> {
  const start = constantsFromNodes(model.graph);
  let { graph } = start;
  const removals = [...start.removals];
  const refused = new Map<Node, string>();
  for (;;) {
    const ready = readyNodes(graph, refused);
    if (ready.length === 0) break;
    const folded = await evaluateAll({ ...model, graph }, ready, refused, openSession);
    const gone = new Set(ready.filter((node) => !refused.has(node)));
    removals.push(...[...gone].map((node) => removalOf(node, 'folded to a constant')));
    graph = withoutNodes(withInitializers(graph, folded), gone);
  }
  const left = [...refused].map(([node, reason]) => ({ layer: layerName(node), op: node.op, reason }));
  return removals.length === 0 ? unchanged(model.graph, left) : { graph, removals, changed: [], left };
}

function withoutNodes(graph: Graph, gone: ReadonlySet<Node>): Graph {
  return { ...graph, nodes: graph.nodes.filter((node) => !gone.has(node)) };
}

/** Constant nodes as initializers, whatever their type. */
function constantsFromNodes(graph: Graph): { graph: Graph; removals: Removal[] } {
  const outputs = outputNames(graph);
  const initializers: Initializer[] = [];
  const gone = new Set<Node>();
  for (const node of graph.nodes) {
    const [name = ''] = node.outputs;
    const value = node.op === 'Constant' && node.domain === '' ? node.attributes.get('value') : undefined;
    if (value?.kind !== 'tensor' || outputs.has(name)) continue;
    initializers.push({ ...value.value, name });
    gone.add(node);
  }
  const removals = [...gone].map((node) => removalOf(node, 'stored as an initializer'));
  return { graph: withoutNodes(withInitializers(graph, initializers), gone), removals };
}

function outputNames(graph: Graph): ReadonlySet<string> {
  return new Set(graph.outputs.map((output) => output.name));
}

/** Nodes that can be evaluated now; those that could be but must not are added to `refused`. */
function readyNodes(graph: Graph, refused: Map<Node, string>): Node[] {
  const outputs = outputNames(graph);
  return graph.nodes.filter((node) => {
    const names = node.inputs.filter((input) => input !== '');
    const constant = names.every((name) => graph.initializers.has(name));
    // An output keeps its node, for not every reader of models takes a constant for an output.
    if (!constant || refused.has(node) || node.outputs.some((output) => outputs.has(output))) return false;
    const reason = refusal(graph, node, names);
    if (reason !== undefined) refused.set(node, reason);
    return reason === undefined;
  });
}

function refusal(graph: Graph, node: Node, names: readonly string[]): string | undefined {
  if (isRandom(node)) return 'its result differs from run to run';
  if (node.domain !== '') return `it is an operator of ${node.domain}`;
  if (subgraphsOf(node).length > 0) return 'it has a graph inside';
  if (node.op === 'DequantizeLinear') return 'folding would store the quantized weights as floats';
  if (names.length === 0 && node.op !== 'Constant') return 'it has no inputs';
  const inputs = names.map((name) => must(graph.initializers.get(name), name));
  const bytes = inputs.reduce((sum, input) => sum + byteLength(input), 0);
  if (bytes > MAX_INPUT_BYTES) return `its inputs take ${bytes} bytes, more than ${MAX_INPUT_BYTES}`;
  const foreign = inputs.find(({ dtype }) => !TYPES.has(dtype));
  if (foreign !== undefined) return `its input ${foreign.name} is ${foreign.dtype}`;
  return sizeRefusal(graph, node, inputs);
}

function sizeRefusal(graph: Graph, node: Node, inputs: readonly Initializer[]): string | undefined {
  if (node.op === 'Constant') return undefined;
  const tensors = node.inputs.map((name) => (name === '' ? undefined : graph.initializers.get(name)));
  const known = tensors.map((tensor) => tensor && tensorOf(tensor));
  if (['Div', 'Mod'].includes(node.op) && dividesByZero(known[1])) return 'it divides integers by zero';
  const elements = resultElements(node, known);
  if (elements === undefined) return 'how large its result would be is not known';
  const given = inputs.reduce((sum, input) => sum + elementCount(input.dims), 0);
  return elements <= Math.max(given, MAX_GROWN_BYTES) ? undefined : tooLarge(elements, 'elements');
}

function tooLarge(size: number, unit: string): string {
  return `its result would have ${size} ${unit}, more than its inputs`;
}

/** ONNX Runtime would end the process. */
function dividesByZero(divisor: Tensor | undefined): boolean {
  if (divisor === undefined || divisor.dtype.startsWith('float')) return false;
  return Array.from(divisor.data, Number).includes(0);
}

/** The results as initializers. Nodes that cannot run, or whose result is too large, are added to `refused`. */
async function evaluateAll(
  model: Model,
  nodes: readonly Node[],
  refused: Map<Node, string>,
  openSession: OpenSession,
): Promise<Initializer[]> {
  try {
    const results = await evaluate(model, nodes, openSession);
    return nodes.flatMap((node) => resultsOf(model.graph, node, results, refused));
  } catch (thrown) {
    const [only, ...others] = nodes;
    if (only !== undefined && others.length === 0) {
      refused.set(only, `ONNX Runtime cannot evaluate it: ${toWhittleError(thrown).message}`);
      return [];
    }
    const results: Initializer[] = [];
    for (const node of nodes) results.push(...(await evaluateAll(model, [node], refused, openSession)));
    return results;
  }
}

function resultsOf(graph: Graph, node: Node, results: TensorMap, refused: Map<Node, string>): Initializer[] {
  const own = node.outputs.filter((output) => output !== '');
  const tensors = own.map((output) => initializerOf(output, must(results[output], output)));
  const sizeOf = ({ dtype, dims }: Initializer): number => packedBytes(dtype, elementCount(dims));
  const bytes = tensors.reduce((sum, tensor) => sum + sizeOf(tensor), 0);
  const inputs = new Set(node.inputs.filter((input) => input !== ''));
  const given = [...inputs].reduce((sum, name) => sum + sizeOf(must(graph.initializers.get(name), name)), 0);
  if (bytes <= Math.max(given, MAX_GROWN_BYTES)) return tensors;
  refused.set(node, tooLarge(bytes, 'bytes'));
  return [];
}

async function evaluate(model: Model, nodes: readonly Node[], openSession: OpenSession): Promise<TensorMap> {
  const { graph } = model;
  const names = new Set(nodes.flatMap((node) => node.inputs).filter((name) => name !== ''));
  const outputs = nodes.flatMap((node) => node.outputs).filter((name) => name !== '');
  const initializers = [...names].map((name) => [name, must(graph.initializers.get(name), name)] as const);
  const small: Graph = {
    name: 'constants',
    inputs: [],
    outputs: outputs.map((name): ValueInfo => ({ name, dtype: undefined, dims: undefined })),
    valueInfos: [],
    initializers: new Map(initializers),
    nodes,
  };
  // As it is: optimizations would only do the same work while loading.
  const session = await openSession(encodeModel({ ...model, graph: small }), { optimization: 'disabled' });
  try {
    return await session.run({});
  } finally {
    await session.release();
  }
}

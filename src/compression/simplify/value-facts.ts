import type { DataType } from '../../core/index.js';
import { dataTypeOfCode, intAttribute } from '../../onnx/index.js';
import type { Graph, Node } from '../../onnx/index.js';

type Dims = readonly (number | string)[];

/** What is known of a value without running the model. */
export interface ValueFacts {
  readonly dtype: DataType | undefined;
  /** A dimension that depends on the inputs is a text; '' is not even the same as another ''. */
  readonly dims: Dims | undefined;
}

const NOTHING: ValueFacts = { dtype: undefined, dims: undefined };

/** The output has the type and shape of the first input. */
const LIKE_INPUT = new Set(
  (
    'Abs BatchNormalization Ceil Celu Clip Cos CumSum Dropout Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity ' +
    'LayerNormalization LeakyRelu Log LogSoftmax Neg Not Reciprocal Relu Round Selu Sigmoid Sign Sin Softmax ' +
    'Softplus Softsign Sqrt Tan Tanh ThresholdedRelu Trilu'
  ).split(' '),
);
/** The output has the type of the first input. */
const TYPE_OF_INPUT = new Set(
  (
    'Compress Concat Conv ConvTranspose Expand Flatten Gather GatherElements GatherND Gemm MatMul Pad ReduceL2 ' +
    'ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Reshape ScatterElements ScatterND Slice Split Squeeze Tile ' +
    'Transpose Unsqueeze'
  ).split(' '),
);
const BROADCAST = new Set('Add Div Max Mean Min Mod Mul PRelu Pow Sub Sum'.split(' '));

/** What the file says of each value of a graph, and what follows from it for plain operators. */
export function valueFacts(graph: Graph): ReadonlyMap<string, ValueFacts> {
  const facts = new Map<string, ValueFacts>();
  for (const value of [...graph.valueInfos, ...graph.outputs, ...graph.inputs]) facts.set(value.name, value);
  for (const [name, { dtype, dims }] of graph.initializers) facts.set(name, { dtype, dims });
  for (const node of graph.nodes) {
    const [output = ''] = node.outputs;
    const declared = facts.get(output) ?? NOTHING;
    const derived = derive(node, (name) => facts.get(name) ?? NOTHING);
    facts.set(output, { dtype: declared.dtype ?? derived.dtype, dims: declared.dims ?? derived.dims });
  }
  return facts;
}

function derive(node: Node, factsOf: (name: string) => ValueFacts): ValueFacts {
  const inputs = node.inputs.map(factsOf);
  const [first = NOTHING, second = NOTHING] = inputs;
  const { op } = node;
  if (node.domain !== '') return NOTHING;
  if (LIKE_INPUT.has(op)) return first;
  if (BROADCAST.has(op)) return { dtype: first.dtype, dims: broadcast(inputs.map(({ dims }) => dims)) };
  if (op === 'MatMul') return { dtype: first.dtype, dims: productDims(first.dims, second.dims) };
  if (op === 'Gemm') return { dtype: first.dtype, dims: gemmDims(node, first.dims, second.dims) };
  if (op === 'Conv') return { dtype: first.dtype, dims: first.dims?.map(() => '') };
  if (TYPE_OF_INPUT.has(op)) return { dtype: first.dtype, dims: undefined };
  if (op === 'Cast') return { dtype: dataTypeOfCode(intAttribute(node, 'to', 0)), dims: first.dims };
  if (op === 'Shape' || op === 'Size' || op === 'NonZero' || op === 'ArgMax' || op === 'ArgMin')
    return { dtype: 'int64', dims: undefined };
  return NOTHING;
}

/** The shape that operands of these shapes are spread to; undefined where one is not known. */
function broadcast(all: readonly (Dims | undefined)[]): Dims | undefined {
  const rank = Math.max(...all.map((dims) => dims?.length ?? 0));
  if (all.some((dims) => dims === undefined)) return undefined;
  return Array.from({ length: rank }, (_, axis) =>
    all.map((dims) => dims?.at(axis - rank) ?? 1).reduce(broadcastDim),
  );
}

function broadcastDim(a: number | string, b: number | string): number | string {
  if (a === 1) return b;
  if (b === 1) return a;
  if (typeof a === 'number') return a;
  return a === b || typeof b === 'number' ? b : '';
}

function productDims(left: Dims | undefined, right: Dims | undefined): Dims | undefined {
  return left !== undefined && left.length >= 2 && right?.length === 2
    ? [...left.slice(0, -1), right[1] ?? '']
    : undefined;
}

function gemmDims(node: Node, left: Dims | undefined, right: Dims | undefined): Dims {
  const rows = left?.[intAttribute(node, 'transA', 0) === 0 ? 0 : 1] ?? '';
  return [rows, right?.[intAttribute(node, 'transB', 0) === 0 ? 1 : 0] ?? ''];
}

/** Whether an operand of shape `small` leaves another of shape `dims` as it is, or may for all that is known not. */
export function spreadsInto(small: readonly number[], dims: Dims | undefined): boolean {
  if (small.length === 0) return true;
  if (dims === undefined || small.length > dims.length) return false;
  return small.every((length, axis) => length === 1 || length === dims[dims.length - small.length + axis]);
}

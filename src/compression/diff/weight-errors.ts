import { float32, float32Data, int64, must } from '../../core/index.js';
import type { OpenSession, Session, Tensor } from '../../core/index.js';
import {
  bytesOf,
  constantInfo,
  constantTensor,
  modelInputs,
  producers,
  removeUnused,
  tensorOf,
  valuesRead,
  withModelSession,
} from '../../onnx/index.js';
import type { Graph, Initializer, Model, Node, ValueInfo } from '../../onnx/index.js';
import { findDenseLayers, layerName, weightOf } from '../graph/dense-layers.js';
import { addDifference, errorOf, newSums } from './difference-kernel.js';
import type { Floats, TensorError } from './difference-kernel.js';

/** Weights of the first model against what stands for them in the second. */
export interface WeightError extends TensorError {
  readonly weight: string;
  /** The layer or lookup that uses it; the weight's own name where it was compared by that. */
  readonly layer: string;
  readonly dims: readonly number[];
  /**
   * `stored`: both models have it under this name. `effective`: what the second model multiplies with, or looks up,
   * between the same two values, dequantized and multiplied out.
   */
  readonly compared: 'stored' | 'effective';
}

/** A weight that has no counterpart that can be said, and why. */
export interface UncomparedWeight {
  readonly weight: string;
  readonly layer: string;
  readonly reason: string;
}

export interface WeightErrors {
  /** Weights that both models store with the same bytes. */
  readonly identical: number;
  readonly differing: readonly WeightError[];
  readonly uncompared: readonly UncomparedWeight[];
}

/**
 * Compares the float weights of the first model's main graph with the second's: by name, else by what the second computes
 * in place of the layer (MatMul, Gemm or a table's Gather), found by running that part on unit vectors or on all rows.
 */
export async function weightErrors(a: Model, b: Model, openSession: OpenSession): Promise<WeightErrors> {
  const stored = storedErrors(a.graph, b.graph);
  const differing = [...stored.differing];
  const uncompared: UncomparedWeight[] = [];
  const done = new Set(stored.names);
  for (const user of weightUsers(a)) {
    if (done.has(user.weight)) continue;
    const { weight, layer } = user;
    const found = await effectiveError(b, user, openSession);
    if (typeof found === 'string') uncompared.push({ weight, layer, reason: found });
    else {
      differing.push({ weight, layer, dims: user.dims, compared: 'effective', ...found });
      done.add(weight);
    }
  }
  return {
    identical: stored.identical,
    differing,
    uncompared: uncompared.filter(({ weight }) => !done.has(weight)),
  };
}

function storedErrors(
  a: Graph,
  b: Graph,
): { names: readonly string[]; identical: number; differing: readonly WeightError[] } {
  const names: string[] = [];
  const differing: WeightError[] = [];
  let identical = 0;
  for (const [name, mine] of a.initializers) {
    const other = b.initializers.get(name);
    if (!sameForm(mine, other)) continue;
    names.push(name);
    if (Buffer.compare(bytesOf(mine), bytesOf(other)) === 0) identical++;
    else if (mine.dtype === 'float32' || mine.dtype === 'float64') {
      const sums = newSums();
      addDifference(sums, tensorOf(mine).data as Floats, tensorOf(other).data as Floats);
      differing.push({ weight: name, layer: name, dims: mine.dims, compared: 'stored', ...errorOf(sums) });
    }
  }
  return { names, identical, differing };
}

function sameForm(mine: Initializer, other: Initializer | undefined): other is Initializer {
  return other?.dtype === mine.dtype && other.dims.join() === mine.dims.join() && mine.dtype !== 'string';
}

/** A layer of the first model that uses a weight between two values. */
interface WeightUser {
  readonly weight: string;
  readonly layer: string;
  readonly input: string;
  readonly output: string;
  readonly dims: readonly [rows: number, columns: number];
  readonly kind: 'dense' | 'table';
  /** `[rows, columns]` of the first model. */
  readonly read: () => Floats;
}

function weightUsers(model: Model): WeightUser[] {
  const dense = findDenseLayers(model).layers.map((layer): WeightUser => ({
    weight: layer.weightName,
    layer: layer.name,
    input: layer.input,
    output: layer.output,
    dims: [layer.inputs, layer.outputs],
    kind: 'dense',
    read: () => weightOf(model.graph, layer),
  }));
  return [...dense, ...model.graph.nodes.flatMap((node) => tableOf(model.graph, node))];
}

function tableOf(graph: Graph, node: Node): WeightUser[] {
  const [table = '', input = ''] = node.inputs;
  if (node.op !== 'Gather' || node.domain !== '' || constantInfo(graph, input) !== undefined) return [];
  const info = constantInfo(graph, table);
  const axis = node.attributes.get('axis');
  const onRows = axis === undefined || (axis.kind === 'int' && axis.value === 0n);
  const [rows = 0, columns = 0] = info?.dims ?? [];
  if (info?.dtype !== 'float32' || info.dims.length !== 2 || !onRows) return [];
  const read = (): Floats => float32Data(must(constantTensor(graph, table), 'table'));
  const output = must(node.outputs[0], 'output');
  return [
    { weight: table, layer: layerName(node), input, output, dims: [rows, columns], kind: 'table', read },
  ];
}

/** Unit vectors, or rows, of one run. */
const ROWS_PER_RUN = 512;

async function effectiveError(
  b: Model,
  user: WeightUser,
  openSession: OpenSession,
): Promise<TensorError | string> {
  const part = partBetween(b, user);
  if (typeof part === 'string') return part;
  const [rows, columns] = user.dims;
  const reference = user.read();
  const sums = newSums();
  try {
    return await withModelSession(part, openSession, async (session) => {
      const shift =
        user.kind === 'dense'
          ? await rowsOf(session, user, float32(new Float32Array(rows), [1, rows]))
          : undefined;
      for (let start = 0; start < rows; start += ROWS_PER_RUN) {
        const count = Math.min(ROWS_PER_RUN, rows - start);
        const actual = await rowsOf(session, user, probe(user, start, count));
        if (actual.length !== count * columns)
          return `it has ${actual.length / count} columns there, here ${columns}`;
        if (shift !== undefined) subtractRow(actual, shift);
        addDifference(sums, floatsAt(reference, start * columns, count * columns), actual);
      }
      return errorOf(sums);
    });
  } catch (thrown) {
    return `what computes it does not run alone: ${thrown instanceof Error ? thrown.message : String(thrown)}`;
  }
}

function floatsAt(values: Floats, start: number, length: number): Floats {
  return values.subarray(start, start + length);
}

/** Unit vectors `start` and following, or the ids of those rows. */
function probe({ kind, dims: [rows] }: WeightUser, start: number, count: number): Tensor {
  if (kind === 'table') return int64(Array.from({ length: count }, (_, index) => start + index));
  const units = new Float32Array(count * rows);
  for (let row = 0; row < count; row++) units[row * rows + start + row] = 1;
  return float32(units, [count, rows]);
}

async function rowsOf(session: Session, { input, output }: WeightUser, fed: Tensor): Promise<Float32Array> {
  const dtype = session.inputs.find(({ name }) => name === input)?.dtype;
  const tensor: Tensor =
    dtype === 'int32'
      ? { dtype, dims: fed.dims, data: Int32Array.from(fed.data as BigInt64Array, Number) }
      : fed;
  const results = await session.run({ [input]: tensor });
  return float32Data(must(results[output], output));
}

function subtractRow(values: Float32Array, row: Float32Array): void {
  for (let i = 0; i < values.length; i++) values[i] = (values[i] ?? 0) - (row[i % row.length] ?? 0);
}

/** Operators of which a quantized or factorised linear layer is made. */
const LINEAR = new Set(
  (
    'Add Cast Concat Constant DequantizeLinear DynamicQuantizeLinear Gemm Identity MatMul MatMulInteger MatMulNBits Mul ' +
    'Reshape Shape Slice Squeeze Sub Sum Transpose Unsqueeze'
  ).split(' '),
);

/** The part of the second model between the user's two values, or the reason why it cannot be taken out. */
function partBetween(model: Model, { input, output, kind, dims: [rows] }: WeightUser): Model | string {
  const graph = withoutActivationRounding(model.graph);
  const producerOf = producers(graph);
  if (!producerOf.has(output)) return `the second model does not compute ${output}`;
  const known = modelInputs(graph).find(({ name }) => name === input);
  if (known === undefined && !producerOf.has(input)) return `the second model does not compute ${input}`;
  const end: ValueInfo =
    kind === 'dense'
      ? { name: input, dtype: 'float32', dims: ['rows', rows] }
      : { name: input, dtype: known?.dtype ?? 'int64', dims: ['rows'] };
  const nodes = graph.nodes.filter(({ outputs }) => !outputs.includes(input));
  const cut = removeUnused({
    ...graph,
    inputs: [end],
    outputs: [{ name: output, dtype: undefined, dims: undefined }],
    valueInfos: [],
    nodes,
  });
  // Rows looked up may be computed in any way; unit vectors say what a layer does only where it is linear.
  const odd = kind === 'dense' ? cut.nodes.find(({ op }) => !LINEAR.has(op)) : undefined;
  if (odd !== undefined) return `${layerName(odd)} (${odd.op}) is among what computes it`;
  const computed = new Set([
    input,
    ...cut.initializers.keys(),
    ...cut.nodes.flatMap(({ outputs }) => outputs),
  ]);
  const outer = cut.nodes.flatMap((node) => [...valuesRead(node)]).find((name) => !computed.has(name));
  if (outer !== undefined) return `it also depends on ${outer}`;
  return { ...model, graph: cut };
}

/** The graph with pairs of QuantizeLinear and DequantizeLinear on computed values bridged: they only round. */
function withoutActivationRounding(graph: Graph): Graph {
  const producerOf = producers(graph);
  const nodes = graph.nodes.map((node): Node => {
    const source = node.op === 'DequantizeLinear' ? producerOf.get(node.inputs[0] ?? '') : undefined;
    const value = source?.inputs[0];
    if (source?.op !== 'QuantizeLinear' || value === undefined || constantInfo(graph, value) !== undefined)
      return node;
    return { ...node, op: 'Identity', domain: '', inputs: [value], attributes: new Map() };
  });
  return { ...graph, nodes };
}

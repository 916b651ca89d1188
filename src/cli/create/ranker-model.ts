import { silentLog, WhittleError, type DataType } from '../../core/index.js';
import { dynamicBatch } from '../../compression/index.js';
import { modelInputs, readModel, type Graph, type Model, type ValueInfo } from '../../onnx/index.js';
import { openSession } from '../../runtime/index.js';
import { namesScore } from './input-names.js';
import type { RowInput } from './sources.js';

/** A model as it came, with what a contract needs to know of it. */
export interface RankerModel {
  readonly model: Model;
  readonly inputs: readonly RowInput[];
  /** Whether it takes one row a run. */
  readonly isSingleRow: boolean;
}

/** Element types that a contract can fill. */
const BINDABLE: readonly DataType[] = ['float32', 'float64', 'int32', 'int64'];

/**
 * Reads a model that is to rank.
 * @throws FILE_MISSING; MODEL_INVALID where it is not ONNX or ONNX Runtime does not load it; GRAPH_UNSUPPORTED naming inputs that nothing can feed.
 */
export async function readRanker(path: string): Promise<RankerModel> {
  const model = await readModel(path);
  const inputs = modelInputs(model.graph);
  const isSingleRow = inputs.every(({ dims }) => dims?.[0] === 1);
  const faults = inputs.flatMap((input) => {
    const fault = faultOf(input, isSingleRow);
    return fault === undefined ? [] : [`${input.name} ${fault}`];
  });
  if (inputs.length === 0) faults.push('it has no inputs');
  if (faults.length > 0)
    throw new WhittleError('GRAPH_UNSUPPORTED', `${path} cannot rank items: ${faults.join('; ')}`, {
      path,
      inputs: inputs.map(({ name, dtype, dims }) => ({ name, dtype, dims })),
      allowed: `inputs of ${BINDABLE.join(', ')} with a dynamic first dimension, or all with 1`,
    });
  const session = await openSession(path);
  await session.release();
  return { model, inputs: inputs.map((input) => rowInput(input, model.graph)), isSingleRow };
}

function faultOf({ dtype, dims }: ValueInfo, isSingleRow: boolean): string | undefined {
  if (dtype === undefined || !BINDABLE.includes(dtype))
    return `is ${dtype ?? 'not a tensor'}; a contract fills ${BINDABLE.join(', ')}`;
  if (dims === undefined || dims.length === 0) return 'has no row dimension';
  if (typeof dims[0] === 'number' && !isSingleRow)
    return `has shape [${dims.map((dim) => (dim === '' ? '?' : dim)).join(', ')}], whose first dimension is not the rows: export it with a dynamic one`;
  return undefined;
}

function rowInput({ name, dtype, dims = [] }: ValueInfo, graph: Graph): RowInput {
  const rowDims = dims.slice(1).map((dim) => (dim === '' ? '?' : dim));
  const width = rowDims.reduce<number | undefined>(
    (product, dim) => (product === undefined || typeof dim === 'string' ? undefined : product * dim),
    1,
  );
  const tableRows = lookedUpRows(graph, name);
  return {
    name,
    dtype: dtype ?? 'float32',
    rowDims,
    width,
    ...(tableRows === undefined ? {} : { tableRows }),
  };
}

/** Operators that hand ids on as they are. */
const KEEPING_IDS = ['Cast', 'Identity', 'Reshape', 'Squeeze', 'Unsqueeze', 'Flatten'];

/** Rows of the tables that an input's ids look up; undefined where it looks up none or tables of several sizes. */
function lookedUpRows({ nodes, initializers }: Graph, input: string): number | undefined {
  const ids = new Set([input]);
  const sizes = new Set<number>();
  for (const { op, inputs, outputs } of nodes) {
    const [data = '', indices = ''] = inputs;
    if (KEEPING_IDS.includes(op) && ids.has(data)) for (const output of outputs) ids.add(output);
    const rows = initializers.get(data)?.dims[0];
    if (op === 'Gather' && ids.has(indices) && rows !== undefined) sizes.add(rows);
  }
  const [size] = sizes;
  return sizes.size === 1 ? size : undefined;
}

/**
 * The output with one score a row: the one asked for, the only one that can be, or the only one with a score's name.
 * @throws USAGE_INVALID where one must be chosen; GRAPH_UNSUPPORTED where none can be.
 */
export function chooseOutput({ model, isSingleRow }: RankerModel, asked: string | undefined): string {
  const { outputs } = model.graph;
  const fitting = outputs.filter((output) => isScore(output, isSingleRow)).map(({ name }) => name);
  const named = fitting.filter(namesScore);
  const chosen = asked ?? (fitting.length === 1 ? fitting[0] : named.length === 1 ? named[0] : undefined);
  if (chosen !== undefined && fitting.includes(chosen)) return chosen;
  const found = outputs
    .map(({ name, dtype, dims }) => `${name} ${dtype ?? '?'} [${dims?.join(', ') ?? '?'}]`)
    .join(', ');
  const details = { field: 'output', value: asked, allowed: fitting };
  if (fitting.length === 0)
    throw new WhittleError(
      'GRAPH_UNSUPPORTED',
      `No output is one float32 score a row, [rows] or [rows, 1]: the model has ${found}`,
      details,
    );
  const wrong = asked === undefined ? 'several outputs could be the score' : `${asked} is not a score a row`;
  throw new WhittleError(
    'USAGE_INVALID',
    `--output: ${wrong}; give --output ${fitting.join(' or --output ')} (the model has ${found})`,
    details,
  );
}

/** An output without a shape may be one: the request that checks the bundle will tell. */
function isScore({ dtype, dims }: ValueInfo, isSingleRow: boolean): boolean {
  if (dtype !== 'float32') return false;
  if (dims === undefined) return true;
  const [rows, one, ...others] = dims;
  const hasRows = typeof rows === 'string' || (isSingleRow && rows === 1);
  return hasRows && (one === undefined || one === 1 || typeof one === 'string') && others.length === 0;
}

/** The model as it takes any number of rows, with what was done for it. */
export interface BatchedModel {
  readonly model: Model;
  /** For people; undefined where the model took them already. */
  readonly change?: string;
}

/**
 * Lets a model of one row take many, if it must; the result gives each row what the original gives it alone.
 * @throws GRAPH_UNSUPPORTED with the reason and the node where rows cannot be batched.
 */
export async function withDynamicRows({ model, isSingleRow }: RankerModel): Promise<BatchedModel> {
  if (!isSingleRow) return { model };
  const { model: batched, report } = await dynamicBatch()(model, { openSession, seed: 1, log: silentLog });
  const worst = Math.max(...report.changed.map(({ relativeError }) => relativeError));
  return {
    model: batched,
    change: `the model took one row a run; now any number, each row with the original’s output (largest difference ${worst.toExponential(1)} of the largest value)`,
  };
}

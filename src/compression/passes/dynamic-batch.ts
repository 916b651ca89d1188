import { int64, must, WhittleError } from '../../core/index.js';
import { constantTensor, intAttribute, modelInputs, valuesRead } from '../../onnx/index.js';
import type { Graph, Model, Node, ValueInfo } from '../../onnx/index.js';
import { layerName } from '../graph/dense-layers.js';
import { GraphEdit } from '../graph/graph-edit.js';
import type { LayerChange, LeftLayer, Pass, PassDefinition } from '../pass.js';
import { checkRowByRow } from '../measure/row-check.js';

export interface DynamicBatchParameters {
  /** Name of the dynamic dimension. Default `batch`. */
  readonly name?: string;
}

/**
 * Makes a model exported for one row take any number of rows: inputs whose first dimension is 1 get a dynamic one, and
 * so do outputs that depend on them and the constant shapes of Reshape nodes on the way. The result is kept only if it
 * gives each of several random rows what the model given gives that row alone, within 1e-5 of the output's largest
 * value. Handles whatever operators keep rows apart, any opset from 5 on (in which Reshape reads its shape).
 * @throws GRAPH_UNSUPPORTED naming the node where rows cannot be batched, or the inputs where none has a first
 *   dimension of 1.
 */
export function dynamicBatch({ name = 'batch' }: DynamicBatchParameters = {}): Pass {
  return async (model, context) => {
    const rowInputs = modelInputs(model.graph).filter(({ dims }) => dims?.[0] === 1);
    if (rowInputs.length === 0) return { model, report: { changed: [], left: alreadyDynamic(model.graph) } };
    const batched = batchedValues(
      model.graph,
      rowInputs.map((input) => input.name),
    );
    const { edit, changes } = withDynamicShapes(model, batched);
    const changed = withDynamicEnds(edit.build(), rowInputs, batched, name);
    const outputs = model.graph.outputs.map((output) => output.name).filter((output) => batched.has(output));
    const relativeError = await checkRowByRow(model, changed, rowInputs, outputs, context);
    const change = `first dimension 1 to ${name}`;
    const inputs = rowInputs.map((input) => layerChange(input.name, change, relativeError));
    return { model: changed, report: { changed: [...inputs, ...changes], left: [] } };
  };
}

function layerChange(layer: string, change: string, relativeError: number): LayerChange {
  return { layer, change, weightsBefore: 0, weightsAfter: 0, relativeError };
}

function alreadyDynamic(graph: Graph): LeftLayer[] {
  const inputs = modelInputs(graph);
  const dynamic = inputs.filter(({ dims }) => typeof dims?.[0] === 'string');
  if (dynamic.length > 0)
    return dynamic.map((input) => ({
      layer: input.name,
      op: 'input',
      reason: 'its first dimension is dynamic already',
    }));
  throw new WhittleError(
    'GRAPH_UNSUPPORTED',
    'No input has a first dimension of 1 that could become the batch',
    {
      inputs: inputs.map((input) => ({ name: input.name, dims: input.dims })),
      allowed: 'an input with first dimension 1',
    },
  );
}

/** Values that depend on the inputs; what is computed from constants alone does not grow with the batch. */
function batchedValues(graph: Graph, inputs: readonly string[]): ReadonlySet<string> {
  const batched = new Set(inputs);
  for (const node of graph.nodes)
    if ([...valuesRead(node)].some((value) => batched.has(value)))
      for (const output of node.outputs) batched.add(output);
  return batched;
}

function withDynamicShapes(
  model: Model,
  batched: ReadonlySet<string>,
): { edit: GraphEdit; changes: LayerChange[] } {
  const edit = new GraphEdit(model);
  const changes: LayerChange[] = [];
  for (const node of model.graph.nodes) {
    const shape = fixedShape(model.graph, node, batched);
    if (shape === undefined) continue;
    const dynamic = dynamicShape(node, shape);
    const name = edit.tensor(`${must(node.inputs[1], 'shape')}/batch`, int64(dynamic));
    edit.replace(node, [{ ...node, inputs: node.inputs.with(1, name) }]);
    changes.push(layerChange(layerName(node), `shape [${shape.join(', ')}] to [${dynamic.join(', ')}]`, 0));
  }
  for (const value of batched) edit.reshape(value);
  return { edit, changes };
}

/** The constant shape of a Reshape of batched values whose first entry is a number. */
function fixedShape(graph: Graph, node: Node, batched: ReadonlySet<string>): number[] | undefined {
  const [data = '', shapeName = ''] = node.inputs;
  if (node.op !== 'Reshape' || node.domain !== '' || !batched.has(data)) return undefined;
  const constant = constantTensor(graph, shapeName);
  const shape = constant === undefined ? [] : Array.from(constant.data as BigInt64Array, Number);
  const first = shape[0] ?? -1;
  return first > 0 ? shape : undefined;
}

/** The shape with its first entry left to the data: −1 where nothing else is, else 0, which copies the input's. */
function dynamicShape(node: Node, shape: readonly number[]): number[] {
  if (!shape.includes(-1)) return [-1, ...shape.slice(1)];
  if (shape[0] === 1 && intAttribute(node, 'allowzero', 0) === 0) return [0, ...shape.slice(1)];
  throw new WhittleError(
    'GRAPH_UNSUPPORTED',
    `${layerName(node)} (Reshape) has shape [${shape.join(', ')}], whose first entry cannot follow the batch`,
    { node: layerName(node), shape },
  );
}

/** Names the first dimension of the inputs and of the outputs that depend on them. */
function withDynamicEnds(
  model: Model,
  inputs: readonly ValueInfo[],
  batched: ReadonlySet<string>,
  name: string,
): Model {
  const names = new Set(inputs.map((input) => input.name));
  const renamed = (value: ValueInfo): ValueInfo =>
    value.dims === undefined ? value : { ...value, dims: [name, ...value.dims.slice(1)] };
  const { graph } = model;
  return {
    ...model,
    graph: {
      ...graph,
      inputs: graph.inputs.map((input) => (names.has(input.name) ? renamed(input) : input)),
      outputs: graph.outputs.map((output) => (batched.has(output.name) ? renamed(output) : output)),
    },
  };
}

/** As recipes name it. */
export const dynamicBatchPass: PassDefinition<DynamicBatchParameters> = {
  summary: 'Lets a model that was exported for one row take any number of rows.',
  parameters: { name: { type: 'string', minLength: 1 } },
  create: dynamicBatch,
};

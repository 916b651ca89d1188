import { WhittleError } from '../core/index.js';
import { freshName, initializerOf, intsAttribute, namesInUse, subgraphsOf } from '../onnx/index.js';
import type { Attribute, Graph, Initializer, Model, Node, ValueInfo } from '../onnx/index.js';

const OLDEST_OPSET = 13;
/** Gradient rules write operators as they are since this version. */
const WRITTEN_OPSET = 18;

/** Number of outputs that the gradient rule of an operator reads. */
const OUTPUTS_READ: Readonly<Record<string, number>> = { LayerNormalization: 3, SoftmaxCrossEntropyLoss: 2 };

/**
 * The model in the form that `backward` takes: operators of opset 18 or later, the outputs that gradient rules need,
 * and the parameters as inputs. What it computes stays the same.
 * @throws INPUT_INVALID where a parameter is not a float32 initializer; GRADIENT_UNSUPPORTED for an opset below 13.
 */
export function toDifferentiable(model: Model, parameters: readonly string[]): Model {
  const lifted = liftOpset(model);
  const names = namesInUse(lifted.graph);
  const nodes = lifted.graph.nodes.map((node) => withOutputs(node, names));
  return { ...lifted, graph: parametersAsInputs({ ...lifted.graph, nodes }, parameters) };
}

/** The graph with the named initializers fed by the caller. @throws INPUT_INVALID as {@link toDifferentiable}. */
export function parametersAsInputs(graph: Graph, parameters: readonly string[]): Graph {
  const initializers = new Map(graph.initializers);
  const inputs = parameters.map((name): ValueInfo => {
    const { dtype, dims } = trainable(initializers, name);
    initializers.delete(name);
    return { name, dtype, dims };
  });
  const others = graph.inputs.filter((input) => !parameters.includes(input.name));
  return { ...graph, initializers, inputs: [...others, ...inputs] };
}

function trainable(initializers: ReadonlyMap<string, Initializer>, name: string): Initializer {
  const initializer = initializers.get(name);
  if (initializer?.dtype === 'float32') return initializer;
  const reason = initializer ? `is ${initializer.dtype}` : 'is not an initializer of the model';
  throw new WhittleError('INPUT_INVALID', `Parameter ${name} ${reason}`, {
    field: 'parameters',
    value: name,
    allowed: 'names of float32 initializers, each once',
  });
}

function withOutputs(node: Node, names: Set<string>): Node {
  const wanted = node.domain === '' ? (OUTPUTS_READ[node.op] ?? 0) : 0;
  if (!needsOutputs(node, wanted)) return node;
  const outputs = Array.from({ length: wanted }, (_, index) => {
    const output = node.outputs[index] ?? '';
    return output === '' ? freshName(names, `${node.op}_statistics`) : output;
  });
  return { ...node, outputs };
}

function needsOutputs(node: Node, wanted: number): boolean {
  return Array.from({ length: wanted }, (_, index) => node.outputs[index] ?? '').includes('');
}

/** Rewrites what changed between opset 13 and 18: axes of reductions became an input, Split counts an attribute. */
function liftOpset(model: Model): Model {
  const opset = model.opsets.get('') ?? 0;
  if (opset >= WRITTEN_OPSET) return model;
  const hasSubgraphs = model.graph.nodes.some((node) => subgraphsOf(node).length > 0);
  if (opset < OLDEST_OPSET || hasSubgraphs) throw tooOld(opset);
  const names = namesInUse(model.graph);
  const initializers = new Map(model.graph.initializers);
  const nodes = model.graph.nodes.map((node) => liftNode(node, initializers, names));
  const irVersion = model.irVersion < 8n ? 8n : model.irVersion;
  const opsets = new Map(model.opsets).set('', WRITTEN_OPSET);
  return { ...model, irVersion, opsets, graph: { ...model.graph, nodes, initializers } };
}

function tooOld(opset: number): WhittleError {
  return new WhittleError('GRADIENT_UNSUPPORTED', `The model is written in opset ${opset}: export it in 18`, {
    opset,
    allowed: `${WRITTEN_OPSET} or later; from ${OLDEST_OPSET} on for a model without subgraphs`,
  });
}

function liftNode(node: Node, initializers: Map<string, Initializer>, names: Set<string>): Node {
  if (node.domain !== '') return node;
  const axes = intsAttribute(node, 'axes', undefined);
  if (node.op.startsWith('Reduce') && axes !== undefined) {
    const name = freshName(names, `${node.name}_axes`);
    const data = BigInt64Array.from(axes, BigInt);
    initializers.set(name, initializerOf(name, { dtype: 'int64', dims: [data.length], data }));
    const attributes = new Map([...node.attributes].filter(([key]) => key !== 'axes'));
    return { ...node, inputs: [node.inputs[0] ?? '', name], attributes };
  }
  if (node.op !== 'Split' || node.inputs.length > 1) return node;
  const count: Attribute = { kind: 'int', value: BigInt(node.outputs.length) };
  return { ...node, attributes: new Map(node.attributes).set('num_outputs', count) };
}

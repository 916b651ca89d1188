import type { Tensor } from '../../src/core/index.js';
import { dataTypeCode, initializerOf, tensorOf } from '../../src/onnx/index.js';
import type { Attribute, Graph, Initializer, Model, ValueInfo } from '../../src/onnx/index.js';

/** The model with every float32 in it made float64, so that central differences are exact to about 1e-10. */
export function toFloat64(model: Model): Model {
  return { ...model, graph: retypedGraph(model.graph) };
}

export function tensorToFloat64(tensor: Tensor): Tensor {
  if (tensor.dtype !== 'float32') return tensor;
  return { dtype: 'float64', dims: tensor.dims, data: Float64Array.from(tensor.data, Number) };
}

function retypedGraph(graph: Graph): Graph {
  const retyped = (info: ValueInfo): ValueInfo =>
    info.dtype === 'float32' ? { ...info, dtype: 'float64' } : info;
  const nodes = graph.nodes.map((node) => ({
    ...node,
    attributes: new Map([...node.attributes].map(([name, value]) => [name, retypedAttribute(name, value)])),
  }));
  const initializers = new Map(
    [...graph.initializers].map(([name, value]) => [name, retypedInitializer(value)]),
  );
  return {
    ...graph,
    nodes,
    initializers,
    inputs: graph.inputs.map(retyped),
    outputs: graph.outputs.map(({ name }) => ({ name, dtype: undefined, dims: undefined })),
    valueInfos: [],
  };
}

function retypedInitializer(initializer: Initializer): Initializer {
  return initializerOf(initializer.name, tensorToFloat64(tensorOf(initializer)));
}

function retypedAttribute(name: string, attribute: Attribute): Attribute {
  if (attribute.kind === 'tensor') return { kind: 'tensor', value: retypedInitializer(attribute.value) };
  const isCast = name === 'to' && attribute.kind === 'int';
  if (isCast && attribute.value === BigInt(dataTypeCode('float32')))
    return { kind: 'int', value: BigInt(dataTypeCode('float64')) };
  return attribute;
}

import {
  AttributeProto_AttributeType as AttributeType,
  AttributeProtoSchema,
  NodeProtoSchema,
} from 'onnx-buf';
import type { AttributeProto, GraphProto, NodeProto } from 'onnx-buf';
import { WhittleError } from '../core/index.js';
import { decodeTensor, encodeTensor } from './codec-tensor.js';
import type { Placement, TensorSource } from './codec-tensor.js';
import type { Attribute, Graph, Initializer, Node } from './model.js';
import { preserve, preservedIn, restore } from './preserved.js';

/** How to read and write the graphs inside attributes; given by the graph's codec, which itself reads nodes. */
export interface GraphDecoder {
  readonly source: TensorSource;
  readonly decodeGraph: (graph: GraphProto) => Graph;
}
export interface GraphEncoder {
  readonly placement: Placement;
  readonly encodeGraph: (graph: Graph) => GraphProto;
}

const MODELLED = ['name', 'opType', 'domain', 'input', 'output', 'attribute'];

/** @throws MODEL_INVALID for an attribute given twice. */
export function decodeNode(node: NodeProto, decoder: GraphDecoder): Node {
  const attributes = new Map<string, Attribute>();
  for (const attribute of node.attribute) {
    if (attributes.has(attribute.name))
      throw new WhittleError(
        'MODEL_INVALID',
        `Node ${node.name} (${node.opType}) has attribute ${attribute.name} twice`,
        { node: node.name, op: node.opType, attribute: attribute.name },
      );
    attributes.set(attribute.name, decodeAttribute(attribute, decoder));
  }
  return {
    name: node.name,
    op: node.opType,
    domain: canonicalDomain(node.domain),
    inputs: node.input,
    outputs: node.output,
    attributes,
    ...preservedIn(preserve(NodeProtoSchema, node, MODELLED)),
  };
}

export function encodeNode(node: Node, encoder: GraphEncoder): NodeProto {
  return restore(NodeProtoSchema, node.preserved, {
    opType: node.op,
    input: [...node.inputs],
    output: [...node.outputs],
    attribute: [...node.attributes].map(([name, value]) => encodeAttribute(name, value, encoder)),
    ...(node.name === '' ? {} : { name: node.name }),
    ...(node.domain === '' ? {} : { domain: node.domain }),
  });
}

/** 'ai.onnx' is another way to write ''. */
export function canonicalDomain(domain: string): string {
  return domain === 'ai.onnx' ? '' : domain;
}

function decodeAttribute(attribute: AttributeProto, decoder: GraphDecoder): Attribute {
  const plain = attribute.refAttrName === '' ? plainAttribute(attribute, decoder) : undefined;
  if (plain === undefined)
    return {
      kind: 'opaque',
      preserved: preserve(AttributeProtoSchema, attribute, ['name']) ?? { opaque: undefined },
    };
  const field = FIELDS[plain.kind];
  return { ...plain, ...preservedIn(preserve(AttributeProtoSchema, attribute, ['name', 'type', field])) };
}

type PlainAttribute = Exclude<Attribute, { kind: 'opaque' }>;

const FIELDS: Readonly<Record<PlainAttribute['kind'], string>> = {
  float: 'f',
  int: 'i',
  string: 's',
  floats: 'floats',
  ints: 'ints',
  strings: 'strings',
  tensor: 't',
  tensors: 'tensors',
  graph: 'g',
  graphs: 'graphs',
};

function plainAttribute(attribute: AttributeProto, decoder: GraphDecoder): PlainAttribute | undefined {
  switch (attribute.type) {
    case AttributeType.FLOAT:
      return { kind: 'float', value: attribute.f };
    case AttributeType.INT:
      return { kind: 'int', value: attribute.i };
    case AttributeType.STRING:
      return { kind: 'string', value: attribute.s };
    case AttributeType.FLOATS:
      return { kind: 'floats', value: attribute.floats };
    case AttributeType.INTS:
      return { kind: 'ints', value: attribute.ints };
    case AttributeType.STRINGS:
      return { kind: 'strings', value: attribute.strings };
    case AttributeType.GRAPH:
      return attribute.g === undefined
        ? undefined
        : { kind: 'graph', value: decoder.decodeGraph(attribute.g) };
    case AttributeType.GRAPHS:
      return { kind: 'graphs', value: attribute.graphs.map(decoder.decodeGraph) };
    default:
      return tensorAttribute(attribute, decoder);
  }
}

function tensorAttribute(attribute: AttributeProto, decoder: GraphDecoder): PlainAttribute | undefined {
  const { type, t, tensors } = attribute;
  if (type === AttributeType.TENSOR && t !== undefined) {
    const value = decodeTensor(t, decoder.source);
    return value === undefined ? undefined : { kind: 'tensor', value };
  }
  if (type !== AttributeType.TENSORS) return undefined;
  const value = tensors.map((tensor) => decodeTensor(tensor, decoder.source));
  const known = value.filter((tensor): tensor is Initializer => tensor !== undefined);
  return known.length === value.length ? { kind: 'tensors', value: known } : undefined;
}

function encodeAttribute(name: string, attribute: Attribute, encoder: GraphEncoder): AttributeProto {
  return restore(AttributeProtoSchema, attribute.preserved, { name, ...attributeFields(attribute, encoder) });
}

function attributeFields(attribute: Attribute, encoder: GraphEncoder): Partial<AttributeProto> {
  switch (attribute.kind) {
    case 'float':
      return { type: AttributeType.FLOAT, f: attribute.value };
    case 'int':
      return { type: AttributeType.INT, i: attribute.value };
    case 'string':
      return { type: AttributeType.STRING, s: Uint8Array.from(attribute.value) };
    case 'floats':
      return { type: AttributeType.FLOATS, floats: [...attribute.value] };
    case 'ints':
      return { type: AttributeType.INTS, ints: [...attribute.value] };
    case 'strings':
      return { type: AttributeType.STRINGS, strings: attribute.value.map((text) => Uint8Array.from(text)) };
    case 'tensor':
      return { type: AttributeType.TENSOR, t: encodeTensor(attribute.value, inside) };
    case 'tensors':
      return {
        type: AttributeType.TENSORS,
        tensors: attribute.value.map((value) => encodeTensor(value, inside)),
      };
    case 'graph':
      return { type: AttributeType.GRAPH, g: encoder.encodeGraph(attribute.value) };
    case 'graphs':
      return { type: AttributeType.GRAPHS, graphs: attribute.value.map(encoder.encodeGraph) };
    case 'opaque':
      return {};
  }
}

// ONNX Runtime reads external data for initializers only, so the tensors of attributes stay in the model.
const inside: Placement = () => undefined;

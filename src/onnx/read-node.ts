import { float32, int64, WhittleError } from '../core/index.js';
import type { Tensor } from '../core/index.js';
import type { Attribute, Graph, Node } from './model.js';
import { producers } from './edit.js';
import { tensorOf } from './tensors.js';

/** An integer attribute, or `otherwise` where the node has none. @throws MODEL_INVALID where it is of another kind. */
export function intAttribute<Default>(node: Node, name: string, otherwise: Default): number | Default {
  const attribute = attributeOf(node, name, 'int');
  return attribute === undefined ? otherwise : Number(attribute.value);
}

/** A float attribute, or `otherwise` where the node has none. @throws MODEL_INVALID where it is of another kind. */
export function floatAttribute<Default>(node: Node, name: string, otherwise: Default): number | Default {
  return attributeOf(node, name, 'float')?.value ?? otherwise;
}

/** A list of integers, or `otherwise` where the node has none. @throws MODEL_INVALID where it is of another kind. */
export function intsAttribute<Default>(
  node: Node,
  name: string,
  otherwise: Default,
): readonly number[] | Default {
  return attributeOf(node, name, 'ints')?.value.map(Number) ?? otherwise;
}

/** A text attribute, or `otherwise` where the node has none. @throws MODEL_INVALID where it is of another kind. */
export function stringAttribute<Default>(node: Node, name: string, otherwise: Default): string | Default {
  const attribute = attributeOf(node, name, 'string');
  return attribute === undefined ? otherwise : new TextDecoder().decode(attribute.value);
}

/**
 * The constant behind a value of this graph: an initializer, a Constant node, or an Identity of one; undefined where
 * the value is computed, fed, or belongs to an outer graph. An initializer that is also listed as an input counts as
 * constant: Whittle never feeds it. Do not write to the tensor.
 * @throws FILE_MISSING, FILE_CORRUPT, MODEL_TOO_LARGE as `tensorOf`, where its values are in a file.
 */
export function constantTensor(graph: Graph, valueName: string): Tensor | undefined {
  const producerOf = producers(graph);
  // A chain of Identities in a broken graph may be a ring.
  const seen = new Set<string>();
  for (let name = valueName; !seen.has(name);) {
    seen.add(name);
    const initializer = graph.initializers.get(name);
    if (initializer !== undefined) return tensorOf(initializer);
    const node = producerOf.get(name);
    if (node?.domain !== '') return undefined;
    if (node.op === 'Constant') return tensorOfConstant(node);
    if (node.op === 'Identity') name = node.inputs[0] ?? name;
  }
  return undefined;
}

function tensorOfConstant(node: Node): Tensor | undefined {
  const [name, attribute] = [...node.attributes][0] ?? [];
  if (attribute === undefined || name?.startsWith('value') !== true) return undefined;
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  switch (attribute.kind) {
    case 'tensor':
      return tensorOf(attribute.value);
    case 'float':
      return float32(Float32Array.of(attribute.value), []);
    case 'floats':
      return float32(Float32Array.from(attribute.value));
    case 'int':
      return int64(BigInt64Array.of(attribute.value), []);
    case 'ints':
      return int64(BigInt64Array.from(attribute.value));
    case 'string':
      return { dtype: 'string', dims: [], data: [text(attribute.value)] };
    case 'strings':
      return { dtype: 'string', dims: [attribute.value.length], data: attribute.value.map(text) };
    default:
      return undefined;
  }
}

function attributeOf<Kind extends Attribute['kind']>(
  node: Node,
  name: string,
  kind: Kind,
): (Attribute & { kind: Kind }) | undefined {
  const attribute = node.attributes.get(name);
  if (attribute === undefined || isKind(attribute, kind)) return attribute;
  throw new WhittleError(
    'MODEL_INVALID',
    `Attribute ${name} of node ${node.name} (${node.op}) is of kind ${attribute.kind}, not ${kind}`,
    { node: node.name, op: node.op, attribute: name, kind: attribute.kind, allowed: kind },
  );
}

function isKind<Kind extends Attribute['kind']>(
  attribute: Attribute,
  kind: Kind,
): attribute is Attribute & { kind: Kind } {
  return attribute.kind === kind;
}

import { WhittleError } from '../core/index.js';
import type { Attribute, Node } from './model.js';

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

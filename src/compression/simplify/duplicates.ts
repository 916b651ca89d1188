import { createHash } from 'node:crypto';
import { elementCount } from '../../core/index.js';
import { byteLength, contentChunks, subgraphsOf } from '../../onnx/index.js';
import type { Attribute, Graph, Initializer, Node } from '../../onnx/index.js';
import { removalOf, unchanged } from './removal.js';
import type { Removal, Step } from './removal.js';
import { isRandom, Rewrite } from './rewrite.js';

/**
 * Initializers of equal type, shape and bytes become one, and so do nodes of ai.onnx that compute the same from the same
 * inputs. Nodes with graphs inside and random ones stay.
 */
export function shareDuplicates(graph: Graph): Step {
  const rewrite = new Rewrite(graph);
  const removals = [...shareInitializers(graph, rewrite), ...shareNodes(graph, rewrite)];
  if (removals.length === 0) return unchanged(graph);
  return { graph: rewrite.build(), removals, changed: [], left: [] };
}

function shareInitializers(graph: Graph, rewrite: Rewrite): Removal[] {
  const removals: Removal[] = [];
  const firstOf = new Map<string, string>();
  for (const initializer of lookAlikes(graph)) {
    const key = contentHash(initializer);
    const first = firstOf.get(key);
    const { name, dims } = initializer;
    if (first === undefined) firstOf.set(key, name);
    else if (rewrite.alias(name, first))
      removals.push({
        op: 'initializer',
        name,
        why: `the same as ${first}`,
        weights: elementCount(dims),
      });
  }
  return removals;
}

/** Initializers that have a type, a shape and a length in common with another: only these need be read. */
function lookAlikes({ initializers }: Graph): Initializer[] {
  const groups = new Map<string, Initializer[]>();
  for (const initializer of initializers.values()) {
    if (initializer.content.kind === 'strings') continue;
    const key = `${initializer.dtype} ${initializer.dims.join()} ${byteLength(initializer)}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [initializer]);
    else group.push(initializer);
  }
  return [...groups.values()].filter((group) => group.length > 1).flat();
}

function contentHash(initializer: Initializer): string {
  const hash = createHash('sha256');
  for (const chunk of contentChunks(initializer)) hash.update(chunk);
  return `${initializer.dtype} ${initializer.dims.join()} ${hash.digest('hex')}`;
}

function shareNodes(graph: Graph, rewrite: Rewrite): Removal[] {
  const removals: Removal[] = [];
  const firstOf = new Map<string, Node>();
  for (const node of graph.nodes) {
    if (node.domain !== '' || isRandom(node) || subgraphsOf(node).length > 0) continue;
    const key = nodeKey(node, rewrite);
    if (key === undefined) continue;
    const first = firstOf.get(key);
    if (first === undefined) firstOf.set(key, node);
    else if (aliasAll(node, first, rewrite)) {
      rewrite.remove(node);
      removals.push(removalOf(node, 'computed twice'));
    }
  }
  return removals;
}

function aliasAll(node: Node, first: Node, rewrite: Rewrite): boolean {
  const pairs = node.outputs.map((output, index) => [output, first.outputs[index] ?? ''] as const);
  const own = pairs.filter(([output]) => output !== '');
  // Of several outputs one might be an output of the graph that cannot give up its name.
  if (own.length > 1 && !own.every(([output, same]) => rewrite.canAlias(output, same))) return false;
  return own.every(([output, same]) => rewrite.alias(output, same));
}

/** Equal for nodes that compute the same; undefined for a node with an attribute that cannot be compared. */
function nodeKey({ op, inputs, outputs, attributes }: Node, rewrite: Rewrite): string | undefined {
  const sorted = [...attributes].sort(([a], [b]) => (a < b ? -1 : 1));
  const keys = sorted.map(([name, attribute]) => [name, attributeKey(attribute)] as const);
  if (keys.some(([, key]) => key === undefined)) return undefined;
  return JSON.stringify([
    op,
    inputs.map((input) => rewrite.resolve(input)),
    outputs.map((output) => output === ''),
    keys,
  ]);
}

function attributeKey(attribute: Attribute): unknown {
  const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
  switch (attribute.kind) {
    case 'int':
      return String(attribute.value);
    case 'ints':
      return attribute.value.map(String);
    case 'float':
      return floatKey(attribute.value);
    case 'floats':
      return attribute.value.map(floatKey);
    case 'string':
      return text(attribute.value);
    case 'strings':
      return attribute.value.map(text);
    case 'tensor':
      return attribute.value.content.kind === 'strings' ? undefined : contentHash(attribute.value);
    default:
      return undefined;
  }
}

/** JSON has no infinities, and no sign of zero. */
function floatKey(value: number): string {
  return Object.is(value, -0) ? '-0' : String(value);
}

import type { Attribute, Graph, Node, ValueInfo } from '../../onnx/index.js';
import { producers, subgraphsOf } from '../../onnx/index.js';

/** Operators that give other values at each run. */
const RANDOM = new Set(
  'RandomNormal RandomNormalLike RandomUniform RandomUniformLike Multinomial Bernoulli'.split(' '),
);

/** Whether the node, or one inside it, gives other values at each run. */
export function isRandom(node: Node): boolean {
  return RANDOM.has(node.op) || subgraphsOf(node).some((graph) => graph.nodes.some(isRandom));
}

/**
 * Collects which values of a graph are the same as others, and what becomes of nodes, and then makes the changed graph.
 * Names of inputs and outputs stay.
 */
export class Rewrite {
  readonly #graph: Graph;
  readonly #outputs: ReadonlySet<string>;
  readonly #produced: ReadonlyMap<string, Node>;
  readonly #aliases = new Map<string, string>();
  /** New names of values that take over that of an output. */
  readonly #renamed = new Map<string, string>();
  readonly #replacements = new Map<Node, Node | undefined>();

  constructor(graph: Graph) {
    this.#graph = graph;
    this.#outputs = new Set(graph.outputs.map((output) => output.name));
    this.#produced = producers(graph);
  }

  get changed(): boolean {
    return this.#aliases.size + this.#renamed.size + this.#replacements.size > 0;
  }

  /** The first value that is the same as `name`, under the name that it had. */
  resolve(name: string): string {
    let found = name;
    for (let next = this.#aliases.get(found); next !== undefined; next = this.#aliases.get(found))
      found = next;
    return found;
  }

  /** Whether {@link alias} would say yes. */
  canAlias(from: string, to: string): boolean {
    if (!this.#outputs.has(from)) return true;
    const root = this.resolve(to);
    return this.#produced.has(root) && !this.#outputs.has(root) && !this.#renamed.has(root);
  }

  /**
   * Says that `from` is the same as `to`, which is known before it, so that nobody need compute it. The answer is no
   * where `from` is an output and `to` cannot take its name.
   */
  alias(from: string, to: string): boolean {
    if (!this.canAlias(from, to)) return false;
    const root = this.resolve(to);
    if (this.#outputs.has(from)) this.#renamed.set(root, from);
    else this.#aliases.set(from, root);
    return true;
  }

  /** Takes the node out; all its outputs are aliases. */
  remove(node: Node): void {
    this.#replacements.set(node, undefined);
  }

  replace(node: Node, by: Node): void {
    this.#replacements.set(node, by);
  }

  /** The changed graph, with what nothing reads any more still in it. */
  build(): Graph {
    const name = (given: string): string => {
      const root = this.resolve(given);
      return this.#renamed.get(root) ?? root;
    };
    const nodes = this.#graph.nodes.flatMap((node) => {
      const now = this.#replacements.has(node) ? this.#replacements.get(node) : node;
      return now === undefined ? [] : [renameNode(now, name)];
    });
    const gone = (value: ValueInfo): boolean => name(value.name) !== value.name;
    const valueInfos = this.#graph.valueInfos.filter((value) => !gone(value));
    return { ...this.#graph, valueInfos, nodes };
  }
}

type NewName = (name: string) => string;

function renameNode(node: Node, name: NewName): Node {
  const changed = [...node.inputs, ...node.outputs].some((each) => name(each) !== each);
  const attributes = renameInside(node, name);
  if (!changed && attributes === node.attributes) return node;
  return { ...node, inputs: node.inputs.map(name), outputs: node.outputs.map(name), attributes };
}

/** What the graphs inside a node take from around it, under its new names. */
function renameInside(node: Node, name: NewName): Node['attributes'] {
  if (subgraphsOf(node).length === 0) return node.attributes;
  const renamed = (attribute: Attribute): Attribute => {
    if (attribute.kind === 'graph') return { ...attribute, value: renameGraph(attribute.value, name) };
    if (attribute.kind === 'graphs')
      return { ...attribute, value: attribute.value.map((graph) => renameGraph(graph, name)) };
    return attribute;
  };
  return new Map([...node.attributes].map(([key, attribute]) => [key, renamed(attribute)]));
}

function renameGraph(graph: Graph, name: NewName): Graph {
  const own = new Set([
    ...graph.inputs.map((input) => input.name),
    ...graph.initializers.keys(),
    ...producers(graph).keys(),
  ]);
  const outer: NewName = (given) => (own.has(given) ? given : name(given));
  const outputs = graph.outputs.map((output) => ({ ...output, name: outer(output.name) }));
  return { ...graph, outputs, nodes: graph.nodes.map((node) => renameNode(node, outer)) };
}

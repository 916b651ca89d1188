import { sha256 } from '../../core/index.js';
import type { Tensor } from '../../core/index.js';
import {
  attributesOf,
  bytesOf,
  freshName,
  initializerOf,
  namesInUse,
  removeUnused,
  replaceNodes,
  subgraphsOf,
  withInitializers,
} from '../../onnx/index.js';
import type { Attribute, Attributes, Graph, Initializer, Model, Node } from '../../onnx/index.js';

/** Domain of ONNX Runtime's own operators. */
export const CONTRIB = 'com.microsoft';

/**
 * Collects the new tensors and the nodes that stand in for others, of the main graph and of every graph inside it, and
 * then makes the changed model. New names are new everywhere. Tensors go into the main graph, where every graph sees
 * them and a file of their own can hold them.
 */
export class GraphEdit {
  /** The main graph as it was; nothing here changes it. */
  readonly graph: Graph;
  readonly #model: Model;
  readonly #names: Set<string>;
  readonly #tensors: Initializer[] = [];
  readonly #contents = new Map<string, string>();
  readonly #replacements = new Map<Node, readonly Node[]>();
  readonly #reshaped = new Set<string>();

  constructor(model: Model) {
    this.#model = model;
    this.graph = model.graph;
    this.#names = namesInUse(model.graph);
  }

  /** Stores a tensor, whose buffer is shared, and answers its name: `base`, or that with a number. */
  tensor(base: string, tensor: Tensor): string {
    const name = freshName(this.#names, base);
    this.#tensors.push(initializerOf(name, tensor));
    return name;
  }

  /** As {@link tensor}, but answers the name of one that was given here before where the two are equal. */
  sharedTensor(base: string, tensor: Tensor): string {
    const key = `${tensor.dtype}[${tensor.dims.join()}]${sha256(bytesOf(initializerOf('', tensor)))}`;
    const name = this.#contents.get(key) ?? this.tensor(base, tensor);
    this.#contents.set(key, name);
    return name;
  }

  /** Nodes to be, named after `base`. */
  writer(base: string): NodeWriter {
    return new NodeWriter(base, this.#names);
  }

  /** Puts `nodes` in the place of `node` of whatever graph; they must give all its outputs that are used. */
  replace(node: Node, nodes: readonly Node[]): void {
    this.#replacements.set(node, nodes);
  }

  /** Says that a value's shape is another now, so that a recorded one is dropped. */
  reshape(value: string): void {
    this.#reshaped.add(value);
  }

  /** The changed model, without the nodes and tensors that nothing uses any more. */
  build(): Model {
    const graph = withInitializers(this.#edited(this.graph), this.#tensors);
    return { ...this.#model, opsets: this.#opsets(), graph: removeUnused(graph) };
  }

  #edited(graph: Graph): Graph {
    const valueInfos = graph.valueInfos.filter((value) => !this.#reshaped.has(value.name));
    const replaced = replaceNodes({ ...graph, valueInfos }, this.#replacements);
    return { ...replaced, nodes: replaced.nodes.map((node) => this.#inside(node)) };
  }

  /** The node with the graphs inside it changed; itself where they stay. */
  #inside(node: Node): Node {
    if (!subgraphsOf(node).some((graph) => this.#concerns(graph))) return node;
    const attributes = [...node.attributes].map(([name, value]) => [name, this.#attribute(value)] as const);
    return { ...node, attributes: new Map(attributes) };
  }

  #concerns(graph: Graph): boolean {
    return (
      graph.valueInfos.some((value) => this.#reshaped.has(value.name)) ||
      graph.nodes.some(
        (node) =>
          this.#replacements.has(node) || subgraphsOf(node).some((subgraph) => this.#concerns(subgraph)),
      )
    );
  }

  #attribute(attribute: Attribute): Attribute {
    const changed = (graph: Graph): Graph =>
      this.#concerns(graph) ? removeUnused(this.#edited(graph)) : graph;
    if (attribute.kind === 'graph') return { ...attribute, value: changed(attribute.value) };
    if (attribute.kind === 'graphs') return { ...attribute, value: attribute.value.map(changed) };
    return attribute;
  }

  #opsets(): ReadonlyMap<string, number> {
    const domains = [...this.#replacements.values()].flat().map((node) => node.domain);
    const { opsets } = this.#model;
    return domains.includes(CONTRIB) && !opsets.has(CONTRIB) ? new Map([...opsets, [CONTRIB, 1]]) : opsets;
  }
}

/** Writes nodes one after the other, each with a name of its own. */
export class NodeWriter {
  readonly nodes: Node[] = [];
  readonly #base: string;
  readonly #names: Set<string>;

  constructor(base: string, names: Set<string>) {
    this.#base = base;
    this.#names = names;
  }

  /** Adds an ai.onnx node with one output, `output` or a new name, which is the answer. */
  value(
    op: string,
    inputs: readonly string[],
    attributes: Attributes = {},
    output?: string,
    domain = '',
  ): string {
    const name = freshName(this.#names, `${this.#base}/${op}`);
    const result = output ?? freshName(this.#names, `${name}_output`);
    const outputs = [result];
    this.nodes.push({ name, op, domain, inputs, outputs, attributes: attributesOf(attributes) });
    return result;
  }

  /** As {@link value}, with one of ONNX Runtime's own operators. */
  contrib(op: string, inputs: readonly string[], attributes: Attributes, output?: string): string {
    return this.value(op, inputs, attributes, output, CONTRIB);
  }

  /** Adds a node with three outputs. */
  triple(op: string, inputs: readonly string[]): readonly [string, string, string] {
    const name = freshName(this.#names, `${this.#base}/${op}`);
    const output = (index: number): string => freshName(this.#names, `${name}_output_${String(index)}`);
    const outputs = [output(0), output(1), output(2)] as const;
    this.nodes.push({ name, op, domain: '', inputs, outputs, attributes: new Map() });
    return outputs;
  }
}

import type { Tensor } from '../../core/index.js';
import {
  attributesOf,
  freshName,
  initializerOf,
  namesInUse,
  removeUnused,
  replaceNodes,
  withInitializers,
} from '../../onnx/index.js';
import type { Attributes, Graph, Initializer, Model, Node } from '../../onnx/index.js';

/** Collects the new tensors and the nodes that stand in for others, and then makes the changed model. */
export class GraphEdit {
  /** The graph as it was; nothing here changes it. */
  readonly graph: Graph;
  readonly #model: Model;
  readonly #names: Set<string>;
  readonly #tensors: Initializer[] = [];
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

  /** Nodes to be, named after `base`. */
  writer(base: string): NodeWriter {
    return new NodeWriter(base, this.#names);
  }

  /** Puts `nodes` in the place of `node`; they must give all its outputs that are used. */
  replace(node: Node, nodes: readonly Node[]): void {
    this.#replacements.set(node, nodes);
  }

  /** Says that a value's shape is another now, so that a recorded one is dropped. */
  reshape(value: string): void {
    this.#reshaped.add(value);
  }

  /** The changed model, without the nodes and tensors that nothing uses any more. */
  build(): Model {
    const { graph } = this;
    const valueInfos = graph.valueInfos.filter((value) => !this.#reshaped.has(value.name));
    const replaced = replaceNodes({ ...graph, valueInfos }, this.#replacements);
    return { ...this.#model, graph: removeUnused(withInitializers(replaced, this.#tensors)) };
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
  value(op: string, inputs: readonly string[], attributes: Attributes = {}, output?: string): string {
    const name = freshName(this.#names, `${this.#base}/${op}`);
    const result = output ?? freshName(this.#names, `${name}_output`);
    this.nodes.push({
      name,
      op,
      domain: '',
      inputs,
      outputs: [result],
      attributes: attributesOf(attributes),
    });
    return result;
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

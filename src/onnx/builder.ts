import { elementCount, float32, int64, must, WhittleError } from '../core/index.js';
import type { DataType, Tensor } from '../core/index.js';
import { attributesOf } from './attributes.js';
import type { Attributes } from './attributes.js';
import type { Graph, Initializer, Model, Node, ValueInfo } from './model.js';
import { freshName, namesInUse } from './names.js';
import { OPERATORS } from './operators.js';
import type { Operator } from './operators.js';
import { bytesOf, initializerOf } from './tensors.js';

/** A value's name ('' for an absent optional input), a float32 scalar, or an int64 vector. */
export type Operand = string | number | readonly number[];

/** One method an operator: its inputs, then optionally its attributes. Answers the name of its first output. */
export type Ops = Readonly<
  Record<Operator, (...operands: readonly Operand[] | readonly [...Operand[], Attributes]) => string>
>;

export interface GraphBuilderOptions {
  /** Version of the ai.onnx operators; default 18. */
  readonly opset?: number;
  /** The graph's name; default 'graph'. */
  readonly name?: string;
}

// Constants up to this many elements are compared, so that equal ones are stored once.
const SHARED_CONSTANT_ELEMENTS = 16;

/**
 * Writes a graph node by node; formulas read as formulas: `op.Relu(op.Add(op.MatMul(x, w), b))`. Nodes must be added
 * after what they read. Names are made unique; a name given twice is an error.
 */
export class GraphBuilder {
  readonly op: Ops;
  readonly #base: Model;
  readonly #inputs: ValueInfo[];
  readonly #outputs: ValueInfo[];
  readonly #initializers: Map<string, Initializer>;
  readonly #nodes: Node[];
  readonly #opsets: Map<string, number>;
  readonly #names: Set<string>;
  readonly #constants = new Map<string, string>();

  constructor(options: GraphBuilderOptions = {}, base: Model = emptyModel(options)) {
    this.#base = base;
    this.#inputs = [...base.graph.inputs];
    this.#outputs = [...base.graph.outputs];
    this.#initializers = new Map(base.graph.initializers);
    this.#nodes = [...base.graph.nodes];
    this.#opsets = new Map(base.opsets);
    this.#names = namesInUse(base.graph);
    this.op = this.#operators();
  }

  /** Goes on writing a model's graph. The model itself stays as it is. */
  static from(model: Model): GraphBuilder {
    return new GraphBuilder({}, model);
  }

  get inputs(): readonly ValueInfo[] {
    return this.#inputs;
  }

  get outputs(): readonly ValueInfo[] {
    return this.#outputs;
  }

  get initializers(): ReadonlyMap<string, Initializer> {
    return this.#initializers;
  }

  get nodes(): readonly Node[] {
    return this.#nodes;
  }

  /** Version of the ai.onnx operators that the nodes are written in. */
  get opset(): number {
    return this.#opsets.get('') ?? 0;
  }

  /** Declares an input; a text in `dims` names a dynamic dimension. @throws MODEL_INVALID when the name is taken. */
  input(name: string, dtype: DataType, dims: readonly (number | string)[]): string {
    this.#claim(name);
    this.#inputs.push({ name, dtype, dims });
    return name;
  }

  /** Declares an existing value an output. Type and shape may be left to ONNX Runtime's inference. */
  output(name: string, dtype?: DataType, dims?: readonly (number | string)[]): string {
    if (!this.#names.has(name) || this.#outputs.some((output) => output.name === name))
      throw new WhittleError('MODEL_INVALID', `Output ${name} is not a value of the graph, or is one twice`, {
        value: name,
      });
    this.#outputs.push({ name, dtype, dims });
    return name;
  }

  /** Stores a tensor under exactly this name; its buffer is shared, not copied. @throws MODEL_INVALID when taken. */
  initializer(name: string, tensor: Tensor): string {
    this.#claim(name);
    this.#initializers.set(name, initializerOf(name, tensor));
    return name;
  }

  /** A tensor under a name of the builder's choice; small equal ones are stored once. */
  constant(tensor: Tensor): string {
    const initializer = initializerOf('', tensor);
    const shared = tensor.dtype !== 'string' && elementCount(tensor.dims) <= SHARED_CONSTANT_ELEMENTS;
    const key = shared ? constantKey(initializer) : undefined;
    const known = key === undefined ? undefined : this.#constants.get(key);
    if (known !== undefined) return known;
    const name = this.freshName('constant');
    this.#initializers.set(name, { ...initializer, name });
    if (key !== undefined) this.#constants.set(key, name);
    return name;
  }

  /**
   * Appends a node and answers its outputs' names: `outputs` is their number (default 1) or the names to give them.
   * A domain that the model does not import yet is imported with version 1.
   */
  node(
    op: string,
    operands: readonly Operand[],
    attributes: Attributes = {},
    outputs: number | readonly string[] = 1,
    domain = '',
  ): string[] {
    const inputs = operands.map((operand) => this.#valueOf(operand));
    const name = this.freshName(op);
    const names = typeof outputs === 'number' ? this.#outputNames(name, outputs) : this.#claimAll(outputs);
    if (!this.#opsets.has(domain)) this.#opsets.set(domain, 1);
    this.#nodes.push({ name, op, domain, inputs, outputs: names, attributes: attributesOf(attributes) });
    return names;
  }

  /** A name that nothing has yet: `base`, or `base_1`, `base_2`, … */
  freshName(base: string): string {
    return freshName(this.#names, base);
  }

  /** The model as written so far; the builder may go on afterwards. */
  build(): Model {
    const graph: Graph = {
      ...this.#base.graph,
      inputs: [...this.#inputs],
      outputs: [...this.#outputs],
      initializers: new Map(this.#initializers),
      nodes: [...this.#nodes],
    };
    return { ...this.#base, opsets: new Map(this.#opsets), graph };
  }

  #operators(): Ops {
    const methods = OPERATORS.map((operator) => [
      operator,
      (...args: readonly (Operand | Attributes)[]) => this.#apply(operator, args),
    ]);
    return Object.fromEntries(methods) as Ops;
  }

  #apply(operator: Operator, args: readonly (Operand | Attributes)[]): string {
    const operands = args.filter(isOperand);
    const attributes = args.find((arg): arg is Attributes => !isOperand(arg));
    return must(this.node(operator, operands, attributes)[0], 'output');
  }

  #valueOf(operand: Operand): string {
    if (typeof operand === 'string') return operand;
    if (typeof operand === 'number') return this.constant(float32(Float32Array.of(operand), []));
    return this.constant(int64(operand));
  }

  #outputNames(name: string, count: number): string[] {
    return Array.from({ length: count }, (_, index) =>
      this.freshName(count === 1 ? `${name}_out` : `${name}_out${index}`),
    );
  }

  #claimAll(names: readonly string[]): string[] {
    for (const name of names) if (name !== '') this.#claim(name);
    return [...names];
  }

  #claim(name: string): void {
    if (name === '' || this.#names.has(name))
      throw new WhittleError('MODEL_INVALID', `The name "${name}" is empty or already in use`, {
        value: name,
      });
    this.#names.add(name);
  }
}

function emptyModel(options: GraphBuilderOptions): Model {
  const { opset = 18, name = 'graph' } = options;
  return {
    irVersion: irVersionOf(opset),
    opsets: new Map([['', opset]]),
    graph: { name, inputs: [], outputs: [], valueInfos: [], initializers: new Map(), nodes: [] },
    metadata: new Map(),
  };
}

/** File format version that came with an operator set (the table of onnx/docs/Versioning.md). */
function irVersionOf(opset: number): bigint {
  if (opset <= 14) return 7n;
  if (opset <= 18) return 8n;
  if (opset <= 20) return 9n;
  return opset <= 22 ? 10n : 11n;
}

function constantKey(initializer: Initializer): string {
  const { dtype, dims } = initializer;
  return `${dtype}[${dims.join()}]${Buffer.from(bytesOf(initializer)).toString('hex')}`;
}

function isOperand(arg: Operand | Attributes): arg is Operand {
  return typeof arg !== 'object' || Array.isArray(arg);
}

import { float32, must, WhittleError } from '../core/index.js';
import { GraphBuilder, intAttribute, subgraphsOf, valuesRead } from '../onnx/index.js';
import type { Graph, Model, Node } from '../onnx/index.js';
import { GRADIENT_RULES, gradientUnsupported, RuleContext } from './gradient-rules/index.js';
import type { RuleScope, ValueShape } from './gradient-rules/index.js';
import { selectOutputs } from './select-outputs.js';

/** Gradients of the rows that one Gather read: `values` is `[...shape of indices, ...row]`. */
export interface RowGradient {
  /** The input that is fed the row numbers. */
  readonly indices: string;
  readonly values: string;
}

/** Where a parameter's gradient is found: one value of its shape, or rows to be added up by number. */
export type ParameterGradient =
  | { readonly kind: 'dense'; readonly value: string }
  | { readonly kind: 'rows'; readonly parts: readonly RowGradient[] };

export interface BackwardOptions {
  /** Name of the scalar to differentiate. */
  readonly loss: string;
  /** Inputs of the model, see `toDifferentiable`. */
  readonly parameters: readonly string[];
  /** Of every value; see `probeShapes`. */
  readonly shapes: ReadonlyMap<string, ValueShape>;
  /** Parameters that get row gradients; see {@link isRowSparse}. */
  readonly sparse?: readonly string[];
  /** Values that count as constants, such as the scale of a fake quantization. */
  readonly stopGradients?: readonly string[];
}

export interface BackwardResult {
  /** Forward and backward nodes; its only outputs are the loss and the gradients, each under a name of its own. */
  readonly model: Model;
  readonly gradients: ReadonlyMap<string, ParameterGradient>;
}

/** Operators with a floating point result that is constant almost everywhere. */
const FLAT_OPERATORS = new Set([
  'Sign',
  'EyeLike',
  'RandomNormalLike',
  'RandomUniformLike',
  'ConstantOfShape',
]);

/**
 * Appends the gradients of a scalar to a model in reverse mode: nodes are visited from the loss backwards and each
 * one's rule answers the gradients of its inputs. Nodes that neither the loss nor a gradient needs are left out.
 * @throws GRADIENT_UNSUPPORTED naming the node without a rule; INPUT_INVALID where the loss is not a scalar or does
 * not depend on a parameter, or where a table asked to be sparse is read by more than Gathers of fed rows.
 */
export function backward(model: Model, options: BackwardOptions): BackwardResult {
  return new BackwardPass(model, options).run();
}

/**
 * Whether a parameter is only read by Gathers along its first axis with row numbers that are fed: then a batch moves
 * no other row, and the gradient of those rows is all there is.
 */
export function isRowSparse(graph: Graph, parameter: string): boolean {
  const readers = graph.nodes.filter((node) => valuesRead(node).has(parameter));
  return readers.length > 0 && readers.every((node) => isFedGather(graph, node, parameter));
}

function isFedGather(graph: Graph, node: Node, parameter: string): boolean {
  const isGather = node.op === 'Gather' && node.domain === '' && intAttribute(node, 'axis', 0) === 0;
  const fed = graph.inputs.some(({ name }) => name === node.inputs[1] && !graph.initializers.has(name));
  return isGather && node.inputs[0] === parameter && fed;
}

class BackwardPass {
  readonly #forward: Graph;
  readonly #options: BackwardOptions;
  readonly #builder: GraphBuilder;
  readonly #scope: RuleScope;
  /** Values through which the loss depends on a parameter. */
  readonly #active: ReadonlySet<string>;
  /** Contributions to each value's gradient. */
  readonly #contributions = new Map<string, string[]>();
  readonly #rows = new Map<string, RowGradient[]>();
  readonly #taken = new Set<string>();

  constructor(model: Model, options: BackwardOptions) {
    this.#forward = model.graph;
    this.#options = options;
    this.#builder = GraphBuilder.from({ ...model, graph: { ...model.graph, outputs: [] } });
    const { shapes } = options;
    this.#scope = { builder: this.#builder, forward: model.graph, shapes, rowScaled: new Map() };
    this.#active = activeValues(model.graph, options);
  }

  run(): BackwardResult {
    const { loss, parameters, sparse = [] } = this.#options;
    for (const table of sparse) this.#startRows(table);
    this.#contributions.set(loss, [this.#seed(loss)]);
    for (const node of this.#forward.nodes.toReversed()) this.#visit(node);
    this.#builder.output(loss);
    this.#taken.add(loss);
    const gradients = new Map(parameters.map((name) => [name, this.#gradientOf(name)]));
    const outputs = this.#builder.outputs.map(({ name }) => name);
    const built = this.#builder.build();
    return { model: { ...built, graph: selectOutputs(built.graph, outputs) }, gradients };
  }

  #startRows(table: string): void {
    if (!isRowSparse(this.#forward, table))
      throw new WhittleError('INPUT_INVALID', `Table ${table} has no row gradients: train it densely`, {
        field: 'sparse',
        value: table,
        allowed: 'parameters that are only read by Gather on axis 0 with indices that are inputs',
      });
    this.#rows.set(table, []);
  }

  /** Gradient of the loss with respect to itself. */
  #seed(loss: string): string {
    const shape = this.#options.shapes.get(loss);
    if (shape?.dims.every((size) => size === 1) !== true)
      throw new WhittleError('INPUT_INVALID', `The loss ${loss} is not a scalar`, {
        field: 'loss',
        value: loss,
        dims: shape?.dims,
        allowed: 'a value of one element',
      });
    return this.#builder.constant(float32(Float32Array.of(1), shape.dims));
  }

  #visit(node: Node): void {
    if (![...valuesRead(node)].some((name) => this.#active.has(name))) return;
    const outputGradients = node.outputs.map((name) => this.#total(name));
    if (outputGradients.every((gradient) => gradient === undefined)) return;
    const rule = GRADIENT_RULES[node.domain === '' ? node.op : `${node.domain}:${node.op}`];
    if (rule === undefined || subgraphsOf(node).length > 0)
      throw gradientUnsupported(node, 'the operator has no gradient rule');
    if (node.op !== 'Split' && outputGradients.slice(1).some((gradient) => gradient !== undefined))
      throw gradientUnsupported(node, 'only its first output can be differentiated');
    const gradientOf = rule(new RuleContext(this.#scope, node, outputGradients));
    for (const [index, name] of node.inputs.entries()) {
      if (!this.#active.has(name)) continue;
      const rows = this.#rows.get(name);
      if (rows)
        rows.push({ indices: must(node.inputs[1], 'indices'), values: this.#firstGradient(outputGradients) });
      else this.#add(name, node, index, gradientOf(index));
    }
  }

  #firstGradient(outputGradients: readonly (string | undefined)[]): string {
    return must(outputGradients[0], 'gradient of the gathered rows');
  }

  #add(name: string, node: Node, index: number, gradient: string | undefined): void {
    if (gradient === undefined) throw gradientUnsupported(node, `input ${index} (${name}) has no gradient`);
    const contributions = this.#contributions.get(name);
    if (contributions) contributions.push(gradient);
    else this.#contributions.set(name, [gradient]);
  }

  /** The sum of all contributions; every reader of the value has been visited. */
  #total(name: string): string | undefined {
    const contributions = this.#contributions.get(name);
    if (contributions === undefined) return undefined;
    const [first, ...others] = contributions;
    const sum = others.reduce((total, next) => this.#builder.op.Add(total, next), must(first, 'gradient'));
    this.#contributions.set(name, [sum]);
    return sum;
  }

  #gradientOf(parameter: string): ParameterGradient {
    const rows = this.#rows.get(parameter);
    if (rows !== undefined && rows.length > 0)
      return { kind: 'rows', parts: rows.map((row) => ({ ...row, values: this.#asOutput(row.values) })) };
    const total = this.#total(parameter);
    if (total !== undefined) return { kind: 'dense', value: this.#asOutput(total) };
    throw new WhittleError('INPUT_INVALID', `The loss does not depend on parameter ${parameter}`, {
      field: 'parameters',
      value: parameter,
      allowed: 'parameters that the loss depends on',
    });
  }

  /** An output of its own: two parameters may have one gradient, and some gradients are inputs or constants. */
  #asOutput(value: string): string {
    const computed = this.#builder.nodes.some((node) => node.outputs.includes(value));
    const name = computed && !this.#taken.has(value) ? value : this.#builder.op.Identity(value);
    this.#taken.add(name);
    return this.#builder.output(name);
  }
}

/** Floating point values that depend on a parameter, other than through a value that counts as a constant. */
function activeValues(graph: Graph, options: BackwardOptions): ReadonlySet<string> {
  const active = new Set(options.parameters);
  const stopped = new Set(options.stopGradients);
  for (const node of graph.nodes) {
    if (FLAT_OPERATORS.has(node.op) || ![...valuesRead(node)].some((name) => active.has(name))) continue;
    for (const output of node.outputs)
      if (!stopped.has(output) && isFloat(options.shapes.get(output))) active.add(output);
  }
  return active;
}

/** Values that were not probed (inside sequences) count as floating point, so that no gradient is lost silently. */
function isFloat(shape: ValueShape | undefined): boolean {
  return shape === undefined || shape.dtype.includes('float');
}

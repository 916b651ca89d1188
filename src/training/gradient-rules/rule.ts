import { must, WhittleError } from '../../core/index.js';
import type { DataType } from '../../core/index.js';
import {
  constantTensor,
  floatAttribute,
  intAttribute,
  intsAttribute,
  stringAttribute,
} from '../../onnx/index.js';
import type { Graph, GraphBuilder, Node, Ops } from '../../onnx/index.js';

/** What is known of a value of the forward graph. */
export interface ValueShape {
  readonly dtype: DataType;
  /** As seen with the first sample; only entries that are not dynamic may be built into the graph. */
  readonly dims: readonly number[];
  /** By dimension: whether its size changes from batch to batch. */
  readonly dynamic: readonly boolean[];
}

/** A value equal to `value` times `scale`, one factor a row: `[rows, columns]` times `[rows, 1]`. */
export interface RowScaled {
  readonly value: string;
  readonly scale: string;
}

/** What the rules of one backward pass share. */
export interface RuleScope {
  readonly builder: GraphBuilder;
  /** The graph as it was before gradients were appended. */
  readonly forward: Graph;
  readonly shapes: ReadonlyMap<string, ValueShape>;
  /** Gradients known to be a product with one factor a row, by name; see {@link RuleContext.asRowScaled}. */
  readonly rowScaled: Map<string, RowScaled>;
}

/** A forward node as its gradient rule sees it. Values go by name; `op` appends nodes to the same graph. */
export class RuleContext {
  readonly op: Ops;
  readonly builder: GraphBuilder;
  /** Gradient of each output; undefined where the loss does not depend on it. */
  readonly outputGradients: readonly (string | undefined)[];
  readonly node: Node;
  readonly #scope: RuleScope;

  constructor(scope: RuleScope, node: Node, outputGradients: readonly (string | undefined)[]) {
    this.op = scope.builder.op;
    this.builder = scope.builder;
    this.outputGradients = outputGradients;
    this.#scope = scope;
    this.node = node;
  }

  /** First input. */
  get x(): string {
    return this.input(0);
  }

  /** First output. */
  get y(): string {
    return this.output(0);
  }

  /** Gradient of the first output. */
  get dy(): string {
    return must(this.outputGradients[0], `gradient of ${this.y}`);
  }

  input(index: number): string {
    return must(this.node.inputs[index], `input ${index} of ${this.node.name}`);
  }

  /** False for an optional input that is left out. */
  hasInput(index: number): boolean {
    return (this.node.inputs[index] ?? '') !== '';
  }

  output(index: number): string {
    return must(this.node.outputs[index], `output ${index} of ${this.node.name}`);
  }

  shape(value: string): ValueShape {
    return must(this.#scope.shapes.get(value), `shape of ${value}`);
  }

  dims(value: string): readonly number[] {
    return this.shape(value).dims;
  }

  rank(value: string): number {
    return this.dims(value).length;
  }

  isDynamic(value: string, axis: number): boolean {
    return this.shape(value).dynamic[axis] ?? false;
  }

  int(attribute: string, otherwise: number): number {
    return intAttribute(this.node, attribute, otherwise);
  }

  float(attribute: string, otherwise: number): number {
    return floatAttribute(this.node, attribute, otherwise);
  }

  ints(attribute: string): readonly number[] | undefined {
    return intsAttribute(this.node, attribute, undefined);
  }

  text(attribute: string, otherwise: string): string {
    return stringAttribute(this.node, attribute, otherwise);
  }

  /** Attribute `axis`, counted from the front of the first input. */
  axis(fallback: number): number {
    const axis = this.int('axis', fallback);
    return axis < 0 ? axis + this.rank(this.x) : axis;
  }

  /** The numbers of an int64 input that is a constant of the graph. @throws GRADIENT_UNSUPPORTED when it is computed. */
  constantInts(index: number): readonly number[] {
    const tensor = constantTensor(this.#scope.forward, this.input(index));
    if (!tensor) throw this.unsupported(`input ${index} is not a constant`);
    return Array.from(tensor.data, Number);
  }

  /** A scalar int64 constant. */
  integer(value: number): string {
    return this.builder.constant({ dtype: 'int64', dims: [], data: BigInt64Array.of(BigInt(value)) });
  }

  /** Zeros in the shape of `like`. */
  zerosLike(like: string): string {
    return this.op.Expand(0, this.op.Shape(like));
  }

  /** 1 where `condition` holds, else 0, as the floating point type of the first output. */
  indicator(condition: string): string {
    return this.op.Cast(condition, { to: this.shape(this.y).dtype });
  }

  /** Sums a gradient in the shape of `from` over what broadcasting `to` had repeated. */
  sumTo(gradient: string, from: string, to: string): string {
    return this.sumToShape(gradient, this.dims(from), this.shape(to));
  }

  sumToShape(gradient: string, from: readonly number[], to: ValueShape): string {
    const extra = from.length - to.dims.length;
    const repeated = to.dims.flatMap((size, axis) =>
      size === 1 && to.dynamic[axis] !== true && from[axis + extra] !== 1 ? [axis + extra] : [],
    );
    const kept = repeated.length > 0 ? this.op.ReduceSum(gradient, repeated, { keepdims: 1 }) : gradient;
    const leading = Array.from({ length: extra }, (_, axis) => axis);
    return extra > 0 ? this.op.ReduceSum(kept, leading, { keepdims: 0 }) : kept;
  }

  /**
   * `value` times one factor a row, remembered as such: a matrix product that follows can scale its small operand
   * instead, and then the large product is never computed.
   */
  scaleRows(value: string, scale: string): string {
    const product = this.op.Mul(value, scale);
    this.#scope.rowScaled.set(product, { value, scale });
    return product;
  }

  asRowScaled(gradient: string): RowScaled | undefined {
    return this.#scope.rowScaled.get(gradient);
  }

  /** The error for a form of the node that has no rule. */
  unsupported(reason: string): WhittleError {
    return gradientUnsupported(this.node, reason);
  }
}

/** The gradient of the loss with respect to one input; undefined where the rule has none for it. */
export type InputGradient = (input: number) => string | undefined;

/** Called once a node, so that what the gradients of its inputs share is computed once. */
export type Rule = (context: RuleContext) => InputGradient;

/** Rules by operator; operators of another domain are `domain:Operator`. */
export type Rules = Readonly<Record<string, Rule>>;

/** A rule for the first input alone; other inputs (axes, shapes, indices) have no gradient. */
export function firstInput(gradient: (context: RuleContext) => string): Rule {
  return (context) => (input) => (input === 0 ? gradient(context) : undefined);
}

/** A rule of an operator with broadcasting, written for equal shapes: each gradient is summed to its input's shape. */
export function broadcasting(gradient: (context: RuleContext, input: number) => string): Rule {
  return (context) => (input) => context.sumTo(gradient(context, input), context.y, context.input(input));
}

/** Names the node that stops a backward pass. */
export function gradientUnsupported(node: Node, reason: string): WhittleError {
  const operator = node.domain === '' ? node.op : `${node.domain}:${node.op}`;
  return new WhittleError(
    'GRADIENT_UNSUPPORTED',
    `No gradient for ${operator} (node ${node.name}, output ${node.outputs[0] ?? ''}): ${reason}`,
    { operator, node: node.name, outputs: node.outputs, reason },
  );
}

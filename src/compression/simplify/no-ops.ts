import {
  consumers,
  dataTypeOfCode,
  intAttribute,
  intsAttribute,
  producers,
  tensorOf,
} from '../../onnx/index.js';
import { elementCount } from '../../core/index.js';
import type { Graph, Node } from '../../onnx/index.js';
import { removalOf, unchanged } from './removal.js';
import type { Removal, Step } from './removal.js';
import { Rewrite } from './rewrite.js';
import { spreadsInto, valueFacts } from './value-facts.js';
import type { ValueFacts } from './value-facts.js';

/** Larger constants are not looked through for zeros and ones. */
const MAX_CONSTANT_ELEMENTS = 2 ** 16;

interface View {
  readonly graph: Graph;
  readonly opset: number;
  readonly facts: ReadonlyMap<string, ValueFacts>;
  readonly readersOf: (value: string) => number;
  /** The node behind a value, as it stands after what was found before. */
  readonly behind: (value: string) => Node | undefined;
}

/**
 * Removes operators that give back their input: Identity; Dropout as it is in inference; Cast to the type that there is;
 * Transpose that turns nothing, or undoes another; Add and Sub of 0, Mul and Div by 1, Pow of 1, where the constant does
 * not spread the other operand; Concat, Sum, Mean, Max and Min of one input. A Reshape of what only was reshaped, and a
 * Transpose of a Transpose, become one.
 */
export function removeNoOps(graph: Graph, opset: number): Step {
  const rewrite = new Rewrite(graph);
  const producerOf = new Map(producers(graph));
  const uses = consumers(graph);
  const outputs = new Set(graph.outputs.map((output) => output.name));
  const view: View = {
    graph,
    opset,
    readersOf: (value) => (uses.get(value)?.length ?? 0) + (outputs.has(value) ? 1 : 0),
    facts: valueFacts(graph),
    behind: (value) => producerOf.get(rewrite.resolve(value)),
  };
  const removals: Removal[] = [];
  for (const given of graph.nodes) {
    if (given.domain !== '') continue;
    const merged = mergedNode(view, given);
    if (merged !== undefined) {
      rewrite.replace(given, merged);
      for (const output of merged.outputs) producerOf.set(output, merged);
    }
    const node = merged ?? given;
    const [output = '', ...others] = node.outputs;
    const same = others.some((other) => view.readersOf(other) > 0) ? undefined : sameAs(view, node);
    if (same === undefined || !rewrite.alias(output, same)) continue;
    rewrite.remove(given);
    removals.push(removalOf(given, 'does nothing'));
  }
  if (!rewrite.changed) return unchanged(graph);
  return { graph: rewrite.build(), removals, changed: [], left: [] };
}

/** The node in place of this one and the one before it. */
function mergedNode(view: View, node: Node): Node | undefined {
  const [input = ''] = node.inputs;
  const before = view.behind(input);
  if (before?.domain !== '') return undefined;
  // With another reader the node before would stay, and nothing be won.
  if (view.readersOf(input) > 1 || view.readersOf(before.outputs[0] ?? '') > 1) return undefined;
  const [source = ''] = before.inputs;
  if (node.op === 'Transpose' && before.op === 'Transpose') {
    const [inner, outer] = [intsAttribute(before, 'perm', undefined), intsAttribute(node, 'perm', undefined)];
    if (inner === undefined || outer === undefined) return undefined;
    const perm = outer.map((axis) => BigInt(inner[axis] ?? axis));
    return { ...node, inputs: [source], attributes: new Map([['perm', { kind: 'ints', value: perm }]]) };
  }
  const keepsOrder = ['Reshape', 'Flatten', 'Squeeze', 'Unsqueeze'].includes(before.op);
  if (node.op !== 'Reshape' || !keepsOrder || view.opset < 5) return undefined;
  // A 0 takes the length from the input, which would be another one.
  const shape = smallConstant(view.graph, node.inputs[1] ?? '');
  return shape === undefined || shape.includes(0)
    ? undefined
    : { ...node, inputs: node.inputs.with(0, source) };
}

/** The input that the node gives back. */
function sameAs(view: View, node: Node): string | undefined {
  const [first = '', second = ''] = node.inputs;
  switch (node.op) {
    case 'Identity':
      return first;
    case 'Dropout':
      return isInference(view, node) ? first : undefined;
    case 'Cast':
      return isSameType(view, node, first) ? first : undefined;
    case 'Transpose':
      return intsAttribute(node, 'perm', undefined)?.every((axis, index) => axis === index) === true
        ? first
        : undefined;
    case 'Concat':
    case 'Sum':
    case 'Mean':
    case 'Max':
    case 'Min':
      return node.inputs.length === 1 ? first : undefined;
    case 'Add':
      return isAll(view, second, 0, first) ? first : isAll(view, first, 0, second) ? second : undefined;
    case 'Mul':
      return isAll(view, second, 1, first) ? first : isAll(view, first, 1, second) ? second : undefined;
    case 'Sub':
      return isAll(view, second, 0, first) ? first : undefined;
    case 'Div':
    case 'Pow':
      return isAll(view, second, 1, first) ? first : undefined;
    default:
      return undefined;
  }
}

/** Dropout only scales and drops where it is told to train: by an input since version 12, by an attribute before 7. */
function isInference({ graph, opset }: View, node: Node): boolean {
  if (opset < 7) return intAttribute(node, 'is_test', 0) !== 0;
  const training = node.inputs[2] ?? '';
  return training === '' || smallConstant(graph, training)?.every((value) => value === 0) === true;
}

function isSameType({ facts }: View, node: Node, input: string): boolean {
  const to = dataTypeOfCode(intAttribute(node, 'to', 0));
  return to !== undefined && facts.get(input)?.dtype === to;
}

/** Whether a constant holds `value` only, and leaves the shape of `other`. */
function isAll({ graph, facts, opset }: View, name: string, value: number, other: string): boolean {
  // Before version 7 an attribute said how operands are spread.
  const dims = opset < 7 ? undefined : graph.initializers.get(name)?.dims;
  if (dims === undefined || !spreadsInto(dims, facts.get(other)?.dims)) return false;
  return smallConstant(graph, name)?.every((each) => each === value) === true;
}

function smallConstant(graph: Graph, name: string): readonly number[] | undefined {
  const initializer = graph.initializers.get(name);
  if (initializer === undefined || elementCount(initializer.dims) > MAX_CONSTANT_ELEMENTS) return undefined;
  const { dtype, data } = tensorOf(initializer);
  const numeric = !['string', 'int4', 'uint4', 'float16', 'bfloat16'].includes(dtype);
  return numeric && data.length > 0 ? Array.from(data, Number) : undefined;
}

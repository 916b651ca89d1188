import { elementCount } from '../../core/index.js';
import type { Tensor } from '../../core/index.js';
import { intAttribute } from '../../onnx/index.js';
import type { Node } from '../../onnx/index.js';

/** No output has more elements than the first input. */
const NOT_LARGER = new Set(
  (
    'Abs Acos Asin Atan ArgMax ArgMin Cast Ceil Clip Cos CumSum Elu Erf Exp Flatten Floor HardSigmoid HardSwish ' +
    'Identity IsInf IsNaN LeakyRelu Log LogSoftmax Neg Not Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ' +
    'ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Round Sigmoid Sign Sin Slice ' +
    'Softmax Softplus Softsign Split Sqrt Squeeze Tan Tanh Transpose Trilu Unsqueeze'
  ).split(' '),
);
const BROADCAST = new Set(
  (
    'Add And BitShift Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod Mul Or Pow PRelu Sub Sum ' +
    'Where Xor'
  ).split(' '),
);

/**
 * Upper bound of the elements of a node's largest output, told from its inputs before anything is computed, so that a
 * small node that makes a huge tensor is never run; undefined for operators that are not known here.
 */
export function resultElements(node: Node, inputs: readonly (Tensor | undefined)[]): number | undefined {
  const [first, second, third] = inputs;
  if (node.op === 'Range') return rangeElements(first, second, third);
  if (first === undefined) return undefined;
  const elements = elementCount(first.dims);
  if (NOT_LARGER.has(node.op)) return elements;
  if (BROADCAST.has(node.op)) return spreadElements(inputs.map((input) => input?.dims ?? []));
  switch (node.op) {
    case 'Shape':
      return first.dims.length;
    case 'Size':
      return 1;
    case 'NonZero':
      return elements * first.dims.length;
    case 'Concat':
      return inputs.reduce((sum, input) => sum + elementCount(input?.dims ?? []), 0);
    case 'ConstantOfShape':
      return elementCount(numbersOf(first));
    case 'Expand':
      return second && spreadElements([first.dims, numbersOf(second)]);
    case 'Tile':
      return second && elements * elementCount(numbersOf(second));
    case 'Gather':
      return second && gatherElements(node, first, second);
    case 'GatherElements':
      return second && elementCount(second.dims);
    case 'OneHot':
      return second && elements * (numbersOf(second)[0] ?? 1);
    default:
      return undefined;
  }
}

function numbersOf(tensor: Tensor): number[] {
  return Array.from(tensor.data, Number);
}

function rangeElements(start?: Tensor, limit?: Tensor, delta?: Tensor): number | undefined {
  const [from, to, step] = [start, limit, delta].map((tensor) => tensor && numbersOf(tensor)[0]);
  if (from === undefined || to === undefined || step === undefined || step === 0) return undefined;
  return Math.max(0, Math.ceil((to - from) / step));
}

function spreadElements(all: readonly (readonly number[])[]): number {
  const rank = Math.max(...all.map((dims) => dims.length));
  const dims = Array.from({ length: rank }, (_, axis) => {
    // From the last axis on; an operand of a lower rank has length 1 before it.
    const lengths = all.map((each) => each[axis - rank + each.length] ?? 1);
    return lengths.includes(0) ? 0 : Math.max(...lengths);
  });
  return elementCount(dims);
}

function gatherElements(node: Node, data: Tensor, indices: Tensor): number {
  const axis = intAttribute(node, 'axis', 0);
  return (elementCount(data.dims) / Math.max(1, data.dims.at(axis) ?? 1)) * elementCount(indices.dims);
}

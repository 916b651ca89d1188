import { must } from '../../core/index.js';
import type { Rule, RuleContext, Rules } from './rule.js';

/**
 * The two factors of a matrix product and the gradient between them. Where the gradient is diag(scale)·G, the factors
 * take the scale: dA = diag(scale)·(G·Bᵀ) and dB = (diag(scale)·A)ᵀ·G, which spares the pass over G.
 */
interface Product {
  readonly gradient: string;
  /** A as dB needs it. */
  readonly left: string;
  readonly scaleLeft: (value: string) => string;
}

function productOf(n: RuleContext): Product {
  const scaled = n.asRowScaled(n.dy);
  if (!scaled) return { gradient: n.dy, left: n.x, scaleLeft: (value) => value };
  const scaleLeft = (value: string): string => n.op.Mul(value, scaled.scale);
  return { gradient: scaled.value, left: scaleLeft(n.x), scaleLeft };
}

const gemm: Rule = (n) => {
  const { op } = n;
  const [transA, transB] = [n.int('transA', 0), n.int('transB', 0)];
  const [alpha, beta] = [n.float('alpha', 1), n.float('beta', 1)];
  const b = n.input(1);
  // Rows of the gradient are rows of A only where A is not transposed.
  const { gradient, left, scaleLeft } =
    transA === 0 ? productOf(n) : { gradient: n.dy, left: n.x, scaleLeft: (value: string) => value };
  const multiply = (p: string, q: string, transP: number, transQ: number): string =>
    op.Gemm(p, q, { alpha, transA: transP, transB: transQ });
  return (input) => {
    if (input === 2) return n.sumTo(beta === 1 ? n.dy : op.Mul(n.dy, beta), n.y, n.input(2));
    if (input === 1)
      return transB === 1 ? multiply(gradient, left, 1, transA) : multiply(left, gradient, 1 - transA, 0);
    if (transA === 1) return multiply(b, n.dy, transB, 1);
    return scaleLeft(multiply(gradient, b, 0, 1 - transB));
  };
};

/** Two matrices. */
function plainProduct(n: RuleContext): (input: number) => string {
  const { gradient, left, scaleLeft } = productOf(n);
  return (input) =>
    input === 0
      ? scaleLeft(n.op.Gemm(gradient, n.input(1), { transB: 1 }))
      : n.op.Gemm(left, gradient, { transA: 1 });
}

/** Stacks of matrices with broadcasting; a vector stands for a matrix of one row (left) or one column (right). */
function stackedProduct(n: RuleContext): (input: number) => string {
  const { op } = n;
  const [a, b] = [n.x, n.input(1)];
  const [rankA, rankB] = [n.rank(a), n.rank(b)];
  const leftVector = rankA === 1;
  const rightVector = rankB === 1;
  const matrixA = leftVector ? op.Unsqueeze(a, [0]) : a;
  const matrixB = rightVector ? op.Unsqueeze(b, [1]) : b;
  const withColumn = rightVector ? op.Unsqueeze(n.dy, [-1]) : n.dy;
  const dy = leftVector ? op.Unsqueeze(withColumn, [-2]) : withColumn;
  const stack = n.dims(n.y).slice(0, n.rank(n.y) - (leftVector ? 0 : 1) - (rightVector ? 0 : 1));
  return (input) => {
    if (input === 1 && rankB === 2 && !leftVector) return sharedRight(n);
    const product =
      input === 0
        ? op.MatMul(dy, transposed(n, matrixB, rankB))
        : op.MatMul(transposed(n, matrixA, rankA), dy);
    return sumStack(n, product, stack, input);
  };
}

/** One matrix for a whole stack: all rows in one product. */
function sharedRight(n: RuleContext): string {
  const [inner, columns] = n.dims(n.input(1));
  const rows = n.op.Reshape(n.x, [-1, must(inner, 'rows of the right matrix')]);
  const gradients = n.op.Reshape(n.dy, [-1, must(columns, 'columns of the right matrix')]);
  return n.op.Gemm(rows, gradients, { transA: 1 });
}

/** Undoes broadcasting of the stack, then the column or row that stood for a vector. */
function sumStack(n: RuleContext, product: string, stack: readonly number[], input: number): string {
  const { dims, dynamic } = n.shape(n.input(input));
  const vector = dims.length === 1;
  const [size, sizeDynamic] = [dims[0] ?? 0, dynamic[0] ?? false];
  const matrix = !vector
    ? { dims, dynamic }
    : input === 0
      ? { dims: [1, size], dynamic: [false, sizeDynamic] }
      : { dims: [size, 1], dynamic: [sizeDynamic, false] };
  const from = [...stack, ...matrix.dims.slice(-2)];
  const summed = n.sumToShape(product, from, { dtype: n.shape(n.x).dtype, ...matrix });
  return vector ? n.op.Squeeze(summed, [input]) : summed;
}

/** Swaps the last two axes. `rank` is that of the input, of which a vector became a matrix. */
function transposed(n: RuleContext, value: string, rank: number): string {
  const axes = Array.from({ length: Math.max(rank, 2) }, (_, axis) => axis);
  const [last, beforeLast] = [must(axes.pop(), 'last axis'), must(axes.pop(), 'axis before it')];
  return n.op.Transpose(value, { perm: [...axes, last, beforeLast] });
}

const matMul: Rule = (n) =>
  n.rank(n.x) === 2 && n.rank(n.input(1)) === 2 ? plainProduct(n) : stackedProduct(n);

/** `ab,bc->ac`: the gradient of a factor is the same sum with that factor and the result exchanged. */
const einsum: Rule = (n) => {
  const equation = n.text('equation', '').replaceAll(/\s/g, '');
  const [left = '', result] = equation.split('->');
  const terms = left.split(',');
  checkEinsum(n, terms, result);
  return (input) => {
    const term = terms[input] ?? '';
    if (terms.length === 1) return n.op.Einsum(n.dy, { equation: `${result ?? ''}->${term}` });
    const other = terms[1 - input] ?? '';
    return n.op.Einsum(n.dy, n.input(1 - input), { equation: `${result ?? ''},${other}->${term}` });
  };
};

function checkEinsum(n: RuleContext, terms: readonly string[], result: string | undefined): void {
  if (result === undefined || terms.length > 2 || n.text('equation', '').includes('.'))
    throw n.unsupported('Einsum has a rule for one or two terms with a result and without an ellipsis');
  for (const [input, term] of terms.entries()) {
    if (new Set(term).size !== term.length) throw n.unsupported(`index repeated within term "${term}"`);
    const others = result + terms.filter((_, index) => index !== input).join('');
    const summedAlone = Array.from(term).find((index) => !others.includes(index));
    if (summedAlone !== undefined)
      throw n.unsupported(`index "${summedAlone}" is summed inside one term: use ReduceSum for it`);
  }
}

export const MATMUL_RULES: Rules = { Gemm: gemm, MatMul: matMul, Einsum: einsum };

import { firstInput } from './rule.js';
import type { RuleContext, Rules } from './rule.js';

/** Axes that a reduction sums over, counted from the front; none given means all, unless it is told to do nothing. */
function reducedAxes(n: RuleContext): readonly number[] {
  const rank = n.rank(n.x);
  const given = n.hasInput(1) ? n.constantInts(1) : (n.ints('axes') ?? []);
  if (given.length > 0) return given.map((axis) => (axis < 0 ? axis + rank : axis));
  return n.int('noop_with_empty_axes', 0) === 1 ? [] : n.dims(n.x).map((_, axis) => axis);
}

/** Repeats a value in the shape of the result along the reduced axes. */
function spread(n: RuleContext, value: string): string {
  const axes = reducedAxes(n);
  const removed = n.int('keepdims', 1) === 0 && axes.length > 0;
  return n.op.Expand(removed ? n.op.Unsqueeze(value, axes) : value, n.op.Shape(n.x));
}

function mean(n: RuleContext): string {
  const count = n.op.Div(n.op.Size(n.x), n.op.Size(n.y));
  return spread(n, n.op.Div(n.dy, n.op.Cast(count, { to: n.shape(n.x).dtype })));
}

/** The gradient goes to every element that equals the extreme. */
function extreme(n: RuleContext): string {
  return n.op.Mul(spread(n, n.dy), n.indicator(n.op.Equal(n.x, spread(n, n.y))));
}

/** The Euclidean norm. */
function norm(n: RuleContext): string {
  return n.op.Mul(n.x, spread(n, n.op.Div(n.dy, n.y)));
}

export const REDUCTION_RULES: Rules = {
  ReduceSum: firstInput((n) => spread(n, n.dy)),
  ReduceMean: firstInput(mean),
  ReduceMax: firstInput(extreme),
  ReduceMin: firstInput(extreme),
  ReduceL2: firstInput(norm),
  ReduceSumSquare: firstInput((n) => n.op.Mul(n.x, spread(n, n.op.Mul(n.dy, 2)))),
  ReduceLogSumExp: firstInput((n) => n.op.Mul(spread(n, n.dy), n.op.Exp(n.op.Sub(n.x, spread(n, n.y))))),
};

import { broadcasting, firstInput } from './rule.js';
import type { Rule, RuleContext, Rules } from './rule.js';

const passOn = firstInput((n) => n.dy);

/** Inputs of a sum: the gradient itself. */
const sum = broadcasting((n) => n.dy);

/** Maximum and minimum: the gradient goes to every input that equals the result. */
const selected = broadcasting((n, input) => n.op.Mul(n.dy, n.indicator(n.op.Equal(n.input(input), n.y))));

function power(n: RuleContext, input: number): string {
  const [base, exponent] = [n.x, n.input(1)];
  if (input === 1) return n.op.Mul(n.dy, n.op.Mul(n.y, n.op.Log(base)));
  return n.op.Mul(n.dy, n.op.Mul(exponent, n.op.Pow(base, n.op.Sub(exponent, 1))));
}

const where: Rule = (n) => (input) => {
  if (input === 0) return undefined;
  const [condition, zero] = [n.x, 0];
  const gradient = input === 1 ? n.op.Where(condition, n.dy, zero) : n.op.Where(condition, zero, n.dy);
  return n.sumTo(gradient, n.y, n.input(input));
};

/** Bounds are scalars: they get the gradient of every element they cut. */
const clip: Rule = (n) => (input) => {
  if (input === 0) return n.op.Mul(n.dy, n.indicator(n.op.Equal(n.x, n.y)));
  const bound = n.input(input);
  const cut = input === 1 ? n.op.Less(n.x, bound) : n.op.Greater(n.x, bound);
  return n.sumTo(n.op.Where(cut, n.dy, 0), n.y, bound);
};

const mean: Rule = (n) => (input) => n.sumTo(n.op.Mul(n.dy, 1 / n.node.inputs.length), n.y, n.input(input));

export const ELEMENTWISE_RULES: Rules = {
  Identity: passOn,
  // Straight-through (Bengio et al. 2013): rounding counts as the identity, which is what fake quantization needs.
  Round: passOn,
  Floor: passOn,
  Ceil: passOn,
  Cast: firstInput((n) => n.op.Cast(n.dy, { to: n.shape(n.x).dtype })),
  Add: sum,
  Sum: sum,
  Mean: mean,
  Sub: broadcasting((n, input) => (input === 0 ? n.dy : n.op.Neg(n.dy))),
  Mul: broadcasting((n, input) => n.op.Mul(n.dy, n.input(1 - input))),
  Div: broadcasting((n, input) =>
    input === 0 ? n.op.Div(n.dy, n.input(1)) : n.op.Neg(n.op.Mul(n.dy, n.op.Div(n.y, n.input(1)))),
  ),
  Pow: broadcasting(power),
  Max: selected,
  Min: selected,
  Where: where,
  Clip: clip,
  Neg: firstInput((n) => n.op.Neg(n.dy)),
  // Cast(Greater) instead of Sign, whose kernel is slow.
  Abs: firstInput((n) => n.op.Where(n.op.Greater(n.x, 0), n.dy, n.op.Neg(n.dy))),
  Exp: firstInput((n) => n.op.Mul(n.dy, n.y)),
  Log: firstInput((n) => n.op.Div(n.dy, n.x)),
  Sqrt: firstInput((n) => n.op.Div(n.op.Mul(n.dy, 0.5), n.y)),
  Reciprocal: firstInput((n) => n.op.Neg(n.op.Mul(n.dy, n.op.Mul(n.y, n.y)))),
  Sin: firstInput((n) => n.op.Mul(n.dy, n.op.Cos(n.x))),
  Cos: firstInput((n) => n.op.Neg(n.op.Mul(n.dy, n.op.Sin(n.x)))),
};

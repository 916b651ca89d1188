import { broadcasting, firstInput } from './rule.js';
import type { RuleContext, Rules } from './rule.js';

const positive = (n: RuleContext): string => n.op.Greater(n.x, 0);

/** d/dx of x·Φ(x): Φ(x) + x·φ(x), with the normal distribution's Φ and φ (Hendrycks & Gimpel 2016). */
function gelu(n: RuleContext): string {
  if (n.text('approximate', 'none') !== 'none') throw n.unsupported('only the exact form has a rule');
  const { op, x } = n;
  const cumulative = op.Mul(0.5, op.Add(1, op.Erf(op.Mul(x, Math.SQRT1_2))));
  const density = op.Mul(1 / Math.sqrt(2 * Math.PI), op.Exp(op.Mul(-0.5, op.Mul(x, x))));
  return op.Mul(n.dy, op.Add(cumulative, op.Mul(x, density)));
}

function elu(n: RuleContext): string {
  const alpha = n.float('alpha', 1);
  return n.op.Where(positive(n), n.dy, n.op.Mul(n.dy, n.op.Add(n.y, alpha)));
}

function parametricRelu(n: RuleContext, input: number): string {
  const negative = n.op.Less(n.x, 0);
  if (input === 0) return n.op.Where(negative, n.op.Mul(n.dy, n.input(1)), n.dy);
  return n.op.Where(negative, n.op.Mul(n.dy, n.x), 0);
}

function softmax(n: RuleContext): string {
  const product = n.op.Mul(n.dy, n.y);
  return n.op.Sub(product, n.op.Mul(n.y, n.op.ReduceSum(product, [n.axis(-1)], { keepdims: 1 })));
}

function logSoftmax(n: RuleContext): string {
  const total = n.op.ReduceSum(n.dy, [n.axis(-1)], { keepdims: 1 });
  return n.op.Sub(n.dy, n.op.Mul(n.op.Exp(n.y), total));
}

export const ACTIVATION_RULES: Rules = {
  Relu: firstInput((n) => n.op.Mul(n.dy, n.indicator(n.op.Greater(n.y, 0)))),
  LeakyRelu: firstInput((n) =>
    n.op.Where(positive(n), n.dy, n.op.Mul(n.dy, n.float('alpha', Math.fround(0.01)))),
  ),
  PRelu: broadcasting(parametricRelu),
  Elu: firstInput(elu),
  Sigmoid: firstInput((n) => n.op.Mul(n.dy, n.op.Mul(n.y, n.op.Sub(1, n.y)))),
  Tanh: firstInput((n) => n.op.Mul(n.dy, n.op.Sub(1, n.op.Mul(n.y, n.y)))),
  Softplus: firstInput((n) => n.op.Mul(n.dy, n.op.Sigmoid(n.x))),
  Erf: firstInput((n) =>
    n.op.Mul(n.dy, n.op.Mul(2 / Math.sqrt(Math.PI), n.op.Exp(n.op.Neg(n.op.Mul(n.x, n.x))))),
  ),
  Gelu: firstInput(gelu),
  Softmax: firstInput(softmax),
  LogSoftmax: firstInput(logSoftmax),
};

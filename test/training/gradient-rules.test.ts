import { describe, expect, test } from 'vitest';
import { float32 } from '../../src/core/index.js';
import type { Ops } from '../../src/onnx/index.js';
import { GRADIENT_RULES } from '../../src/training/gradient-rules/index.js';
import { checkedOperators, gradientError } from './gradient-check.js';
import type { CheckOptions, Sketch } from './gradient-check.js';

// Every rule against central differences in double precision.

/** A loss in which every element of `value` has a gradient of its own. */
const lossOf = (op: Ops, value: string): string =>
  op.ReduceSum(op.Mul(value, op.Add(value, 0.3)), { keepdims: 0 });

/** x·w `[batch, 5]`, through the operator under test, to a loss. */
const through =
  (apply: (op: Ops, value: string, sketch: Sketch) => string, scale = 0.9) =>
  (sketch: Sketch): string => {
    const { op } = sketch;
    const product = op.MatMul(sketch.input('x', ['B', 4]), sketch.parameter('w', [4, 5], scale));
    return lossOf(op, apply(op, product, sketch));
  };

const positive = (op: Ops, value: string): string => op.Add(op.Mul(value, value), 1);

const unary: readonly (readonly [string, (op: Ops, value: string, sketch: Sketch) => string])[] = [
  ['Identity', (op, v) => op.Identity(v)],
  ['Relu', (op, v) => op.Relu(v)],
  ['LeakyRelu', (op, v) => op.LeakyRelu(v, { alpha: 0.25 })],
  ['Elu', (op, v) => op.Elu(v, { alpha: 0.5 })],
  ['Sigmoid', (op, v) => op.Sigmoid(v)],
  ['Tanh', (op, v) => op.Tanh(v)],
  ['Softplus', (op, v) => op.Softplus(v)],
  ['Softmax', (op, v) => op.Softmax(v, { axis: -1 })],
  ['Softmax over the batch', (op, v) => op.Softmax(v, { axis: 0 })],
  ['LogSoftmax', (op, v) => op.LogSoftmax(v, { axis: 1 })],
  ['Exp', (op, v) => op.Exp(v)],
  ['Neg', (op, v) => op.Neg(v)],
  ['Abs', (op, v) => op.Abs(v)],
  ['Sin', (op, v) => op.Sin(v)],
  ['Cos', (op, v) => op.Cos(v)],
  ['Log', (op, v) => op.Log(positive(op, v))],
  ['Sqrt', (op, v) => op.Sqrt(positive(op, v))],
  ['Reciprocal', (op, v) => op.Reciprocal(positive(op, v))],
  ['Pow', (op, v) => op.Pow(v, 3)],
  ['Clip', (op, v) => op.Clip(v, -0.4, 0.4)],
  ['Max and Min', (op, v) => op.Add(op.Max(v, 0.1), op.Min(v, -0.2))],
  ['Sum', (op, v) => op.Sum(v, op.Mul(v, v), 0.5)],
  ['Where', (op, v) => op.Where(op.Greater(v, 0.1), op.Mul(v, 2), op.Mul(v, v))],
  ['Cast', (op, v) => op.Cast(op.Mul(v, v), { to: 'float32' })],
  ['Dropout at inference', (op, v) => op.Dropout(op.Mul(v, v))],
  ['ReduceSum without dims', (op, v) => op.ReduceSum(v, [1], { keepdims: 0 })],
  ['ReduceSum from the end', (op, v) => op.ReduceSum(v, [-2], { keepdims: 0 })],
  ['ReduceSum of everything', (op, v) => op.Mul(v, op.ReduceSum(v, { keepdims: 0 }))],
  ['ReduceMean over the batch', (op, v) => op.Sub(v, op.ReduceMean(v, [0], { keepdims: 1 }))],
  ['ReduceMax', (op, v) => op.ReduceMax(v, [1], { keepdims: 1 })],
  ['ReduceMin', (op, v) => op.ReduceMin(v, [1], { keepdims: 0 })],
  ['ReduceL2', (op, v) => op.Div(v, op.ReduceL2(v, [1], { keepdims: 1 }))],
  ['ReduceSumSquare', (op, v) => op.ReduceSumSquare(v, [1], { keepdims: 0 })],
  ['ReduceLogSumExp', (op, v) => op.ReduceLogSumExp(v, [1], { keepdims: 0 })],
  ['ReduceLogSumExp of everything', (op, v) => op.Mul(v, op.ReduceLogSumExp(v, { keepdims: 0 }))],
  ['Transpose and Reshape', (op, v) => op.Mul(op.Reshape(op.Transpose(v, { perm: [1, 0] }), [5, -1]), 2)],
  ['Transpose without perm', (op, v) => op.Mul(op.Transpose(v), 2)],
  ['Transpose of three axes', (op, v) => op.Transpose(op.Reshape(v, [-1, 5, 1]), { perm: [1, 2, 0] })],
  ['Unsqueeze, Squeeze, Flatten', (op, v) => op.Flatten(op.Squeeze(op.Unsqueeze(v, [1]), [1]))],
  ['Slice', (op, v) => op.Slice(v, [1], [4], [1])],
  ['Slice backwards', (op, v) => op.Slice(v, [4], [-6], [1], [-2])],
  ['Gather of columns', (op, v) => op.Gather(v, [3, 0, 3], { axis: 1 })],
  ['Gather of activations by row', (op, v) => op.Gather(v, [1, 0, 1, -1], { axis: 0 })],
  ['GatherElements', (op, v, s) => op.GatherElements(v, s.indices('i', ['B', 2], 5), { axis: 1 })],
  ['GatherND', (op, v, s) => op.GatherND(v, s.indices('i', ['B', 2], 3))],
  ['Tile', (op, v) => op.Tile(v, [2, 3])],
  ['Pad', (op, v) => op.Pad(v, [1, 0, 2, 3])],
  [
    'Expand',
    (op, v) => op.Mul(op.Expand(op.Unsqueeze(v, [1]), [1, 3, 1]), op.Expand(op.Unsqueeze(v, [1]), [1, 3, 1])),
  ],
  ['Concat of the batch', (op, v) => op.Concat(op.Mul(v, v), v, { axis: 0 })],
  ['Concat of one', (op, v) => op.Concat(v, { axis: 1 })],
  ['Einsum of one term', (op, v) => op.Einsum(v, { equation: 'ab->ba' })],
];

describe('rules of one operator', () => {
  test.each(unary)('%s', async (_name, apply) => {
    expect(await gradientError(through(apply))).toBeLessThan(1e-7);
  });

  // ONNX Runtime has these in single precision only.
  test.each([
    ['Erf', 18, (op: Ops, v: string) => op.Erf(v)],
    ['Gelu', 20, (op: Ops, v: string) => op.Gelu(v)],
    ['Mean', 18, (op: Ops, v: string) => op.Mean(v, op.Exp(v))],
    ['PRelu', 18, (op: Ops, v: string, s: Sketch) => op.PRelu(v, s.parameter('slope', [5]))],
  ] as const)('%s in single precision', async (_name, opset, apply) => {
    expect(await gradientError(through(apply), { opset, single: true })).toBeLessThan(5e-3);
  });

  test('Concat and Split, of which one part is not used', async () => {
    const error = await gradientError(
      through((op, value, { builder }) => {
        const [a = '', , c = ''] = builder.node('Split', [value, [2, 1, 2]], { axis: 1 }, 3);
        return op.Concat(op.Mul(a, a), value, op.Mul(c, 2), { axis: 1 });
      }),
    );
    expect(error).toBeLessThan(1e-7);
  });
});

/** Cases with parameters of their own. */
type Case = readonly [string, (sketch: Sketch) => string, CheckOptions?];
const cases: readonly Case[] = [
  [
    'broadcasting Add, Sub, Mul, Div',
    (s) => {
      const { op } = s;
      const [w, v, t] = [s.parameter('w', [3, 1]), s.parameter('v', [5]), s.parameter('t', [])];
      const x = s.input('x', ['B', 3, 5]);
      return lossOf(op, op.Div(op.Sub(op.Mul(op.Add(x, w), v), t), op.Add(op.Mul(w, w), 1)));
    },
  ],
  [
    'Pow with a trained exponent, Clip with trained bounds',
    (s) => {
      const { op } = s;
      const base = op.Exp(op.MatMul(s.input('x', ['B', 4]), s.parameter('w', [4, 5])));
      const powered = op.Pow(base, s.parameter('exponent', [5]));
      const low = op.Sub(1, op.Mul(s.parameter('low', []), 0.1));
      return lossOf(op, op.Clip(powered, low, op.Add(low, 0.3)));
    },
  ],
  [
    'Gemm with transposes, alpha and beta',
    (s) => {
      const { op } = s;
      const [w, b, c] = [s.parameter('w', [5, 4]), s.parameter('b', [5]), s.parameter('c', [4, 3])];
      const x = s.input('x', [4, 'B']);
      const first = op.Gemm(x, w, b, { transA: 1, transB: 1, alpha: 0.5, beta: 2 });
      return lossOf(op, op.Gemm(first, op.Gemm(w, c, { alpha: 1.5 })));
    },
  ],
  [
    'MatMul of stacks with broadcasting',
    (s) => {
      const { op } = s;
      const [w, u] = [s.parameter('w', [4, 5]), s.parameter('u', [3, 5, 2])];
      return lossOf(op, op.MatMul(op.MatMul(s.input('x', ['B', 3, 2, 4]), w), u));
    },
  ],
  [
    'MatMul of one matrix with a stack',
    (s) => {
      const { op } = s;
      return lossOf(
        op,
        op.MatMul(s.parameter('w', [3, 4]), op.Mul(s.input('x', ['B', 4, 2]), s.parameter('v', [2]))),
      );
    },
  ],
  [
    'MatMul with vectors on either side',
    (s) => {
      const { op } = s;
      const [v, u, w] = [s.parameter('v', [4]), s.parameter('u', [3]), s.parameter('w', [4])];
      const x = s.input('x', ['B', 3, 4]);
      const right = op.MatMul(x, v); // [B, 3]
      const left = op.MatMul(u, op.Mul(x, w)); // [B, 4]
      const dot = op.MatMul(v, w); // []
      return op.Add(op.Add(lossOf(op, right), lossOf(op, left)), op.Mul(dot, dot));
    },
  ],
  [
    'Einsum of two terms',
    (s) => {
      const x = s.input('x', ['B', 3, 4]);
      return lossOf(s.op, s.op.Einsum(x, s.parameter('w', [4, 2, 5]), { equation: 'btd,dhk->bhtk' }));
    },
  ],
  [
    'LayerNormalization',
    (s) => {
      const { op } = s;
      const z = op.MatMul(s.input('x', ['B', 3, 4]), s.parameter('w', [4, 6]));
      const [scale, bias] = [s.parameter('scale', [6]), s.parameter('bias', [6])];
      return lossOf(op, op.LayerNormalization(z, scale, bias, { axis: -1, epsilon: 1e-5 }));
    },
  ],
  [
    'LayerNormalization over two axes',
    (s) => {
      const { op } = s;
      const z = op.MatMul(s.input('x', ['B', 3, 4]), s.parameter('w', [4, 6]));
      return lossOf(op, op.LayerNormalization(z, s.parameter('scale', [3, 6]), { axis: 1, epsilon: 1e-5 }));
    },
  ],
  [
    'normalisation from primitives',
    (s) => {
      const { op } = s;
      const z = op.MatMul(s.input('x', ['B', 3, 4]), s.parameter('w', [4, 6]));
      const centred = op.Sub(z, op.ReduceMean(z, [-1], { keepdims: 1 }));
      const variance = op.ReduceMean(op.Pow(centred, 2), [-1], { keepdims: 1 });
      return lossOf(op, op.Mul(s.parameter('scale', [6]), op.Div(centred, op.Sqrt(op.Add(variance, 1e-5)))));
    },
  ],
  ...[[], [2]].map((spatial): Case => [
    `BatchNormalization with stored statistics, ${String(spatial.length)} spatial axes`,
    (s) => {
      const { op, builder } = s;
      const z = op.Reshape(op.MatMul(s.input('x', ['B', 4]), s.parameter('w', [4, 3 * (spatial[0] ?? 1)])), [
        -1,
        3,
        ...spatial,
      ]);
      const [scale, bias] = [s.parameter('scale', [3]), s.parameter('bias', [3])];
      const mean = builder.initializer('mean', s.uniform([3], 0.5));
      const variance = builder.initializer('variance', float32(Float32Array.of(1, 2, 0.5)));
      return lossOf(op, op.BatchNormalization(z, scale, bias, mean, variance, { epsilon: 1e-5 }));
    },
  ]),
  ...(['mean', 'sum', 'none'] as const).map((reduction): Case => [
    `SoftmaxCrossEntropyLoss, ${reduction}`,
    (s) => {
      const { op } = s;
      const logits = op.MatMul(s.input('x', ['B', 4]), s.parameter('w', [4, 5]));
      const loss = op.SoftmaxCrossEntropyLoss(logits, s.indices('label', ['B'], 5), { reduction });
      return op.ReduceSum(op.Mul(loss, loss), { keepdims: 0 });
    },
  ]),
  [
    'SoftmaxCrossEntropyLoss with an ignored label, from Gemm with a shared table',
    (s) => {
      const { op } = s;
      const table = s.parameter('table', [5, 4]);
      const rows = op.Mul(op.Gather(table, s.indices('i', ['B'], 5)), s.parameter('w', [4]));
      const logits = op.Gemm(rows, table, { transB: 1 });
      return op.SoftmaxCrossEntropyLoss(logits, s.indices('label', ['B'], 5), {
        reduction: 'mean',
        ignore_index: 2,
      });
    },
  ],
  [
    'Gather of a table, dense',
    (s) => lossOf(s.op, s.op.Gather(s.parameter('table', [7, 4]), s.indices('i', ['B', 3], 7))),
  ],
  [
    'Gather of a shared table, by row',
    (s) => {
      const { op } = s;
      const table = s.parameter('table', [7, 4]);
      const [i, j] = [s.indices('i', ['B', 3], 7), s.indices('j', ['B'], 7)];
      return lossOf(op, op.Mul(op.Gather(table, i), op.Unsqueeze(op.Gather(table, j), [1])));
    },
    { sparse: ['table'] },
  ],
  [
    'two tables with one and the same gradient, by row',
    (s) => {
      const { op } = s;
      const [a, b] = [s.parameter('a', [7, 4]), s.parameter('b', [7, 4])];
      return lossOf(
        op,
        op.Add(op.Gather(a, s.indices('i', ['B'], 7)), op.Gather(b, s.indices('j', ['B'], 7))),
      );
    },
    { sparse: ['a', 'b'] },
  ],
];

describe('rules with parameters in several places', () => {
  for (const [name, write, options] of cases)
    test(name, async () => {
      expect(await gradientError(write, options)).toBeLessThan(1e-6);
    });
});

test('every operator with a rule was checked above', () => {
  // Rounding has no derivative to compare with; its straight-through rule is tested in backward.test.ts.
  const straightThrough = new Set(['Round', 'Floor', 'Ceil']);
  const unchecked = Object.keys(GRADIENT_RULES).filter((operator) => !checkedOperators.has(operator));
  expect(unchecked.filter((operator) => !straightThrough.has(operator))).toEqual([]);
});

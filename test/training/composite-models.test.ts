import { describe, expect, test } from 'vitest';
import { float32 } from '../../src/core/index.js';
import { gradientError } from './gradient-check.js';
import type { Sketch } from './gradient-check.js';

// Whole recommenders, small, against central differences in double precision.

const dense = (s: Sketch, x: string, name: string, inputs: number, outputs: number): string =>
  s.op.Gemm(x, s.parameter(`${name}_w`, [inputs, outputs]), s.parameter(`${name}_b`, [outputs]));

const linear = (s: Sketch, x: string, name: string, inputs: number, outputs: number): string =>
  s.op.Add(s.op.MatMul(x, s.parameter(`${name}_w`, [inputs, outputs])), s.parameter(`${name}_b`, [outputs]));

const embedding = (s: Sketch, name: string, dims: number): string =>
  s.op.Gather(s.parameter(name, [6, dims]), s.indices(`${name}_id`, ['B'], 6));

/** Mean of softplus(z) − z·y. */
const binaryCrossEntropy = ({ op }: Sketch, logits: string, target: string): string =>
  op.ReduceMean(op.Sub(op.Softplus(logits), op.Mul(logits, target)), { keepdims: 0 });

function dcnV2(s: Sketch): string {
  const { op } = s;
  const x0 = op.Concat(...['a', 'b', 'c'].map((name) => embedding(s, name, 4)), { axis: 1 });
  let x = x0;
  for (let layer = 0; layer < 2; layer++)
    x = op.Add(op.Mul(x0, dense(s, x, `cross${String(layer)}`, 12, 12)), x);
  const deep = op.Relu(dense(s, x0, 'deep', 12, 5));
  const logits = dense(s, op.Concat(x, deep, { axis: 1 }), 'out', 17, 1);
  return binaryCrossEntropy(s, logits, s.input('y', ['B', 1]));
}

function pairwiseDots(s: Sketch): string {
  const { op } = s;
  const embeddings = ['a', 'b', 'c', 'd'].map((name) => embedding(s, name, 3));
  const stacked = op.Concat(...embeddings.map((value) => op.Unsqueeze(value, [1])), { axis: 1 });
  const products = op.MatMul(stacked, op.Transpose(stacked, { perm: [0, 2, 1] }));
  const dots = op.Gather(op.Reshape(products, [-1, 16]), [4, 8, 9, 12, 13, 14], { axis: 1 });
  const logits = dense(s, op.Concat(dots, embeddings[0] ?? '', { axis: 1 }), 'out', 9, 1);
  return binaryCrossEntropy(s, logits, s.input('y', ['B', 1]));
}

function twoTower(s: Sketch): string {
  const { op } = s;
  const tower = (name: string): string => {
    const hidden = op.Relu(dense(s, embedding(s, name, 4), `${name}1`, 4, 5));
    const vector = dense(s, hidden, `${name}2`, 5, 3);
    return op.Div(vector, op.ReduceL2(vector, [1], { keepdims: 1 }));
  };
  const scores = op.Mul(op.MatMul(tower('user'), op.Transpose(tower('item'), { perm: [1, 0] })), 10);
  const rows = op.Range(
    constantInteger(s, 0),
    op.Gather(op.Shape(scores), constantInteger(s, 0)),
    constantInteger(s, 1),
  );
  return op.SoftmaxCrossEntropyLoss(scores, rows, { reduction: 'mean' });
}

function constantInteger(s: Sketch, value: number): string {
  return s.builder.constant({ dtype: 'int64', dims: [], data: BigInt64Array.of(BigInt(value)) });
}

/** Causal attention with two heads, normalisation in front, and a feed-forward part; `score` ends it. */
function sasRec(s: Sketch, score: (hidden: string) => string): string {
  const { op } = s;
  const [dims, length] = [4, 3];
  const causal = Array.from({ length: length ** 2 }, (_, at) =>
    at % length > Math.floor(at / length) ? -1e9 : 0,
  );
  const mask = s.builder.initializer('mask', float32(Float32Array.from(causal), [length, length]));
  const normalise = (x: string, name: string): string =>
    op.LayerNormalization(x, s.parameter(`${name}_s`, [dims]), s.parameter(`${name}_o`, [dims]), {
      axis: -1,
      epsilon: 1e-5,
    });
  // No bias: one added to every key would leave the attention as it is and have no gradient.
  const heads = (x: string, name: string, perm: readonly number[]): string =>
    op.Transpose(op.Reshape(op.MatMul(x, s.parameter(name, [dims, dims])), [0, 0, 2, 2]), {
      perm: [...perm],
    });
  let x = op.Add(
    op.Gather(s.parameter('table', [9, dims]), s.indices('history', ['B', length], 9)),
    s.parameter('position', [length, dims]),
  );
  const query = normalise(x, 'norm1');
  const products = op.MatMul(heads(query, 'q', [0, 2, 1, 3]), heads(x, 'k', [0, 2, 3, 1]));
  const attention = op.Softmax(op.Add(op.Mul(products, Math.SQRT1_2), mask), { axis: -1 });
  const mixed = op.Transpose(op.MatMul(attention, heads(x, 'v', [0, 2, 1, 3])), { perm: [0, 2, 1, 3] });
  x = op.Add(x, linear(s, op.Reshape(mixed, [0, 0, -1]), 'o', dims, dims));
  x = op.Add(x, linear(s, op.Relu(linear(s, normalise(x, 'norm2'), 'f1', dims, 6)), 'f2', 6, dims));
  return score(normalise(x, 'norm3'));
}

const sampledSasRec = (s: Sketch): string =>
  sasRec(s, (hidden) => {
    const { op } = s;
    const scored = (name: string): string =>
      op.ReduceSum(op.Mul(hidden, op.Gather('table', s.indices(name, ['B', 3], 9))), [2], { keepdims: 0 });
    const loss = op.Add(op.Softplus(op.Neg(scored('positive'))), op.Softplus(scored('negative')));
    return op.ReduceMean(loss, { keepdims: 0 });
  });

/** The table is read by Gather and by the product that scores every item. */
const fullSasRec = (s: Sketch): string =>
  sasRec(s, (hidden) => {
    const logits = s.op.Gemm(s.op.Reshape(hidden, [-1, 4]), 'table', { transB: 1 });
    const labels = s.op.Reshape(s.indices('next', ['B', 3], 9), [-1]);
    return s.op.SoftmaxCrossEntropyLoss(logits, labels, { reduction: 'mean', ignore_index: 0 });
  });

/** Hinton et al. 2015: cross-entropy to the teacher's softened distribution, times the temperature squared. */
function distillation(s: Sketch): string {
  const { op, builder } = s;
  const kept = builder.initializer(
    'mask',
    float32(
      Float32Array.from({ length: 20 }, (_, at) => Math.min(1, at % 3)),
      [4, 5],
    ),
  );
  const student = op.MatMul(s.input('x', ['B', 4]), op.Mul(s.parameter('w', [4, 5]), kept));
  const teacher = op.Softmax(op.Div(s.input('teacher', ['B', 5], 2), 2), { axis: 1 });
  const losses = op.Mul(teacher, op.Neg(op.LogSoftmax(op.Div(student, 2), { axis: 1 })));
  return op.Mul(op.ReduceMean(op.ReduceSum(losses, [1], { keepdims: 0 }), { keepdims: 0 }), 4);
}

describe('gradients of whole models', () => {
  test('DCN-v2 over sparse tables', async () => {
    expect(await gradientError(dcnV2, { sparse: ['a', 'b', 'c'] })).toBeLessThan(1e-7);
  });

  test('pairwise dots of embeddings (DLRM)', async () => {
    expect(await gradientError(pairwiseDots, { sparse: ['a', 'b', 'c', 'd'] })).toBeLessThan(1e-7);
  });

  test('two towers with in-batch softmax', async () => {
    expect(await gradientError(twoTower, { sparse: ['user', 'item'] })).toBeLessThan(1e-7);
  });

  // ONNX Runtime keeps the statistics of LayerNormalization in single precision.
  test('SASRec block with sampled negatives and one shared sparse table', async () => {
    expect(await gradientError(sampledSasRec, { sparse: ['table'] })).toBeLessThan(1e-3);
  });

  test('SASRec block with a full softmax over its own table', async () => {
    expect(await gradientError(fullSasRec)).toBeLessThan(1e-3);
  });

  test('distillation of a masked student', async () => {
    expect(await gradientError(distillation)).toBeLessThan(1e-7);
  });
});

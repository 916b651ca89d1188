import { createRandom } from '../../src/core/index.js';
import type { Tensor, TensorMap } from '../../src/core/index.js';
import { GraphBuilder } from '../../src/onnx/index.js';
import type { Attributes, Model } from '../../src/onnx/index.js';
import { normals } from './support.js';

interface Form {
  readonly op: 'MatMul' | 'Gemm';
  /** Dimensions of the weights. */
  readonly weight: readonly number[];
  /** Dimensions of the computed operand. */
  readonly x: readonly number[];
  readonly left?: boolean;
  readonly attributes?: Attributes;
  /** Dimensions of a constant bias. */
  readonly bias?: readonly number[];
  /** Dimensions of a bias that is fed. */
  readonly fedBias?: readonly number[];
}

/** A model of one product node `y`, and a feed for its inputs. */
export function productOf({ op, weight, x, left, attributes, bias, fedBias }: Form): {
  model: Model;
  feed: TensorMap;
} {
  const random = createRandom(2);
  const builder = new GraphBuilder();
  const input = builder.input('x', 'float32', x);
  const w = builder.initializer('w', normals(random, weight, 0.2));
  const operands = left ? [w, input] : [input, w];
  const feed: Record<string, Tensor> = { x: normals(random, x) };
  if (bias) operands.push(builder.initializer('b', normals(random, bias)));
  if (fedBias) {
    operands.push(builder.input('c', 'float32', fedBias));
    feed['c'] = normals(random, fedBias);
  }
  builder.node(op, operands, attributes, ['y']);
  builder.output('y', 'float32');
  return { model: builder.build(), feed };
}

/** MatMul and Gemm in every form, with 48 inputs and 32 outputs. */
export const PRODUCT_FORMS: Readonly<Record<string, Form>> = {
  'a scalar bias, transB, alpha and beta': {
    op: 'Gemm',
    weight: [32, 48],
    x: [20, 48],
    bias: [1],
    attributes: { transB: 1, alpha: 0.5, beta: 3 },
  },
  transA: { op: 'Gemm', weight: [48, 32], x: [48, 20], bias: [32], attributes: { transA: 1 } },
  'transA and transB': { op: 'Gemm', weight: [32, 48], x: [48, 20], attributes: { transA: 1, transB: 1 } },
  'a bias by row': { op: 'Gemm', weight: [48, 32], x: [20, 48], bias: [20, 1], attributes: { alpha: -2 } },
  'a bias for each element': { op: 'Gemm', weight: [48, 32], x: [20, 48], bias: [20, 32] },
  'a computed bias': {
    op: 'Gemm',
    weight: [48, 32],
    x: [20, 48],
    fedBias: [20, 32],
    attributes: { beta: 0.5 },
  },
  'a constant on the left of a Gemm': { op: 'Gemm', weight: [32, 48], x: [48, 20], left: true, bias: [20] },
  'a constant on the left, both turned': {
    op: 'Gemm',
    weight: [48, 32],
    x: [20, 48],
    left: true,
    bias: [1],
    attributes: { transA: 1, transB: 1, beta: 2 },
  },
  'a constant on the left of a MatMul': { op: 'MatMul', weight: [32, 48], x: [48, 20], left: true },
  'a constant on the left of a batch': { op: 'MatMul', weight: [32, 48], x: [2, 3, 48, 20], left: true },
  'a constant on the left of a vector': { op: 'MatMul', weight: [32, 48], x: [48], left: true },
  'a batch of constants on the left': { op: 'MatMul', weight: [3, 32, 48], x: [48, 20], left: true },
  'a vector': { op: 'MatMul', weight: [48, 32], x: [48] },
  'three dimensions': { op: 'MatMul', weight: [48, 32], x: [3, 5, 48] },
  'a batch of weights': { op: 'MatMul', weight: [3, 48, 32], x: [3, 20, 48] },
  'a batch of weights for one input': { op: 'MatMul', weight: [2, 3, 48, 32], x: [20, 48] },
};

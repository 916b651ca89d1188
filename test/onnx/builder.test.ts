import { describe, expect, test } from 'vitest';
import { float32, float32Data, int64, must } from '../../src/core/index.js';
import type { TensorMap } from '../../src/core/index.js';
import { checkModel, decodeModel, encodeModel, GraphBuilder } from '../../src/onnx/index.js';
import type { Model } from '../../src/onnx/index.js';
import { openSession } from '../../src/runtime/index.js';
import { errorCode } from '../support/error-code.js';

async function run(model: Model, feeds: TensorMap): Promise<TensorMap> {
  checkModel(model);
  const session = await openSession(encodeModel(model));
  const outputs = await session.run(feeds);
  await session.release();
  return outputs;
}

describe('GraphBuilder', () => {
  test('formulas compute what they say', async () => {
    const builder = new GraphBuilder({ name: 'dense' });
    const { op } = builder;
    const x = builder.input('x', 'float32', ['n', 2]);
    const w = builder.initializer('w', float32(Float32Array.of(1, 2, 3, 4), [2, 2]));
    const hidden = op.LeakyRelu(op.Sub(op.MatMul(x, w), 5), { alpha: 0.5 });
    const sum = op.ReduceSum(hidden, [1], { keepdims: 0 });
    builder.node('Cast', [sum], { to: 'int64' }, ['total']);
    builder.output('total', 'int64', ['n']);
    builder.output(hidden);
    const outputs = await run(builder.build(), { x: float32(Float32Array.of(1, 1, 2, 0), [2, 2]) });
    // [1 1]·w - 5 = [-1 1] and [2 0]·w - 5 = [-3 -1]; the negative halves.
    expect(float32Data(must(outputs[hidden], hidden))).toEqual(Float32Array.of(-0.5, 1, -1.5, -0.5));
    expect(outputs['total']).toMatchObject({ dtype: 'int64', dims: [2], data: BigInt64Array.of(0n, -2n) });
  });

  test('makes nodes with several outputs, absent inputs, text and tensor attributes, and other domains', async () => {
    const builder = new GraphBuilder({ opset: 20 });
    const x = builder.input('x', 'float32', [4]);
    const [left = '', right = ''] = builder.node('Split', [x, [1, 3]], {}, 2);
    const clipped = builder.op.Clip(right, '', 2);
    const [gelu = ''] = builder.node('Gelu', [left], { approximate: 'none' });
    const [fast = ''] = builder.node('QuickGelu', [left], { alpha: 0 }, 1, 'com.microsoft');
    const three = builder.op.Constant({ value: float32(Float32Array.of(3), [1]) });
    builder.node('Concat', [clipped, gelu, fast, three], { axis: 0 }, ['y']);
    builder.output('y');
    const model = builder.build();
    expect([...model.opsets]).toEqual([
      ['', 20],
      ['com.microsoft', 1],
    ]);
    const { y } = await run(model, { x: float32(Float32Array.of(0, 1, 2, 3)) });
    expect(y?.data).toEqual(Float32Array.of(1, 2, 2, 0, 0, 3));
  });

  test('stores equal small constants once, told apart by type, shape and sign of zero', () => {
    const builder = new GraphBuilder();
    const x = builder.input('x', 'float32', []);
    builder.op.Add(x, 0.5);
    builder.op.Mul(x, 0.5);
    builder.op.Mul(x, 0);
    builder.op.Mul(x, -0);
    builder.op.Unsqueeze(x, [0]);
    builder.op.Unsqueeze(x, [0]);
    expect(builder.constant(int64([0], []))).not.toBe(builder.constant(int64([0])));
    expect(builder.initializers.size).toBe(5);
  });

  test('goes on with a model and leaves it as it was', async () => {
    const first = new GraphBuilder();
    first.output(first.op.Add(first.input('x', 'float32', [1]), 1));
    const model = decodeModel(encodeModel(first.build()));
    const before = encodeModel(model);
    const builder = GraphBuilder.from(model);
    const y = must(builder.outputs[0], 'output').name;
    builder.output(builder.op.Add(y, 1));
    expect(encodeModel(model)).toEqual(before);
    const outputs = await run(builder.build(), { x: float32(Float32Array.of(1)) });
    expect(Object.values(outputs).map((tensor) => tensor.data)).toEqual([
      Float32Array.of(2),
      Float32Array.of(3),
    ]);
    expect(builder.build().graph.nodes).toHaveLength(2);
    expect(model.graph.nodes).toHaveLength(1);
  });

  test('writes If with branches that see outer values', async () => {
    const builder = new GraphBuilder();
    const flag = builder.input('flag', 'bool', []);
    builder.input('x', 'float32', [1]);
    const branch = (name: string, factor: number) => {
      const inner = new GraphBuilder({ name });
      const [out = ''] = inner.node('Mul', ['x', factor], {}, [`${name}_out`]);
      inner.output(out);
      const { graph } = inner.build();
      const [constant] = graph.initializers.keys();
      // Names of a branch must differ from those outside.
      expect(constant).toBe('constant');
      return graph;
    };
    builder.node('If', [flag], { then_branch: branch('double', 2), else_branch: branch('triple', 3) }, ['y']);
    builder.output('y');
    const x = float32(Float32Array.of(5));
    const bool = (value: number) => ({ dtype: 'bool', dims: [], data: Uint8Array.of(value) }) as const;
    expect((await run(builder.build(), { flag: bool(1), x }))['y']?.data).toEqual(Float32Array.of(10));
    expect((await run(builder.build(), { flag: bool(0), x }))['y']?.data).toEqual(Float32Array.of(15));
  });

  test('refuses a name given twice, an unknown output and a broken integer', () => {
    const builder = new GraphBuilder();
    const x = builder.input('x', 'float32', []);
    expect(errorCode(() => builder.input('x', 'float32', []))).toBe('MODEL_INVALID');
    expect(errorCode(() => builder.initializer('x', float32(new Float32Array(1))))).toBe('MODEL_INVALID');
    expect(errorCode(() => builder.node('Relu', [x], {}, ['x']))).toBe('MODEL_INVALID');
    expect(errorCode(() => builder.output('z'))).toBe('MODEL_INVALID');
    expect(errorCode(() => builder.op.Softmax(x, { axis: 0.5 }))).toBe('GRAPH_UNSUPPORTED');
  });
});

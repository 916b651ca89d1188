import { describe, expect, test } from 'vitest';
import { float32, float32Data, int64, must } from '../../src/core/index.js';
import type { TensorMap } from '../../src/core/index.js';
import { encodeModel, GraphBuilder, probeShapes, tensorOf } from '../../src/onnx/index.js';
import type { Model } from '../../src/onnx/index.js';
import { openSession } from '../../src/runtime/index.js';
import { backward } from '../../src/training/backward.js';
import type { BackwardOptions } from '../../src/training/backward.js';
import { toDifferentiable } from '../../src/training/differentiable.js';
import { isRowSparse } from '../../src/training/index.js';

const feeds = (batch: number): TensorMap => ({
  x: float32(
    Float32Array.from({ length: batch * 3 }, (_, at) => at + 1),
    [batch, 3],
  ),
  i: int64(Array.from({ length: batch }, (_, at) => at % 3)),
});

/** A builder with inputs x `[B, 3]` and i `[B]`, and a parameter w `[3]`. */
function sketch(initial = [0.1, 0.6, -0.9], opset = 18): GraphBuilder {
  const builder = new GraphBuilder({ opset });
  builder.input('x', 'float32', ['B', 3]);
  builder.input('i', 'int64', ['B']);
  builder.initializer('w', float32(Float32Array.from(initial)));
  return builder;
}

async function differentiate(
  model: Model,
  loss: string,
  options: Partial<BackwardOptions> = {},
): Promise<Map<string, number[]>> {
  const parameters = options.parameters ?? ['w'];
  const forward = toDifferentiable(model, parameters);
  const weights = Object.fromEntries(
    parameters.map((name) => [name, tensorOf(must(model.graph.initializers.get(name), name))]),
  );
  const shapes = await probeShapes(
    forward,
    openSession,
    { ...feeds(2), ...weights },
    { ...feeds(4), ...weights },
  );
  const result = backward(forward, { loss, parameters, shapes, ...options });
  const session = await openSession(encodeModel(result.model));
  const all: TensorMap = { ...feeds(2), ...weights };
  const taken = session.inputs.map(({ name }) => [name, must(all[name], name)] as const);
  const outputs = await session.run(Object.fromEntries(taken));
  await session.release();
  const gradients = [...result.gradients].map(([name, gradient]): [string, number[]] => {
    if (gradient.kind === 'rows') throw new Error('rows are checked elsewhere');
    return [name, [...float32Data(must(outputs[gradient.value], name))]];
  });
  return new Map(gradients);
}

const total = (builder: GraphBuilder, value: string): string => builder.op.ReduceSum(value, { keepdims: 0 });

describe('backward', () => {
  test('rounding is passed straight through inside the clip, and a stopped scale is a constant', async () => {
    const builder = sketch([0.1, 0.6, -2.5]);
    const { op } = builder;
    // Scale max|w|/2 = 1.25; w/scale = 0.08, 0.48, −2; clipped to ±1, the last has no gradient.
    const scale = op.Div(op.ReduceMax(op.Abs('w'), { keepdims: 0 }), 2);
    const quantized = op.Mul(op.Clip(op.Round(op.Div('w', scale)), -1, 1), scale);
    const loss = total(builder, op.Mul(quantized, 'x'));
    const gradients = await differentiate(builder.build(), loss, { stopGradients: [scale] });
    expect(gradients.get('w')).toEqual([1 + 4, 2 + 5, 0]);
  });

  test.each(['Floor', 'Ceil'] as const)('%s is passed straight through', async (operator) => {
    const builder = sketch();
    const loss = total(builder, builder.op.Mul(builder.op[operator]('w'), 'x'));
    expect((await differentiate(builder.build(), loss)).get('w')).toEqual([5, 7, 9]);
  });

  test('a gradient that is an input, or another parameter’s too, is an output of its own', async () => {
    const builder = sketch();
    builder.initializer('v', float32(Float32Array.of(1, 2, 3)));
    const loss = total(builder, builder.op.Mul(builder.op.Add('w', 'v'), 'x'));
    const gradients = await differentiate(builder.build(), loss, { parameters: ['w', 'v'] });
    expect([...gradients]).toEqual([
      ['w', [5, 7, 9]],
      ['v', [5, 7, 9]],
    ]);
  });

  test('models of opset 13 are lifted: axes of reductions and counts of Split', async () => {
    const builder = sketch([0.1, 0.6, -0.9], 13);
    const { op } = builder;
    const [mean = ''] = builder.node('ReduceMean', [op.Mul('w', 'x')], { axes: [1], keepdims: 0 });
    const [first = ''] = builder.node('Split', [op.Concat(mean, mean, { axis: 0 })], { axis: 0 }, 2);
    const loss = total(builder, first);
    const gradients = await differentiate(builder.build(), loss);
    for (const [at, value] of [5, 7, 9].entries()) expect(gradients.get('w')?.[at]).toBeCloseTo(value / 3, 5);
  });

  test('an operator without a rule is named with its node', async () => {
    const builder = sketch();
    const [sum = ''] = builder.node('CumSum', ['w', builder.constant(int64([0], []))], {}, ['running']);
    const loss = total(builder, builder.op.Mul(sum, 'x'));
    await expect(differentiate(builder.build(), loss)).rejects.toMatchObject({
      code: 'GRADIENT_UNSUPPORTED',
      details: { operator: 'CumSum', outputs: ['running'] },
    });
  });

  test('a form without a rule and an input without a gradient are refused, not ignored', async () => {
    const tanhGelu = sketch(undefined, 20);
    const gelu = total(tanhGelu, tanhGelu.op.Mul(tanhGelu.op.Gelu('w', { approximate: 'tanh' }), 'x'));
    await expect(differentiate(tanhGelu.build(), gelu)).rejects.toMatchObject({
      code: 'GRADIENT_UNSUPPORTED',
    });
    const frozen = sketch();
    const ones = frozen.constant(float32(Float32Array.of(1, 1, 1)));
    const normal = total(frozen, frozen.op.BatchNormalization('x', ones, ones, 'w', ones));
    await expect(differentiate(frozen.build(), normal)).rejects.toMatchObject({
      code: 'GRADIENT_UNSUPPORTED',
    });
  });

  test('operators without a rule are fine where no gradient goes through them', async () => {
    const builder = sketch();
    const running = builder.op.CumSum('x', builder.constant(int64([0], [])));
    const loss = total(builder, builder.op.Mul(running, builder.op.Mul('w', builder.op.Sign('w'))));
    expect((await differentiate(builder.build(), loss)).get('w')).toEqual([1 + 5, 2 + 7, -(3 + 9)]);
  });

  test('the loss must be a scalar that depends on each parameter', async () => {
    const builder = sketch();
    const product = builder.op.Mul('w', 'x');
    await expect(differentiate(builder.build(), product)).rejects.toMatchObject({
      code: 'INPUT_INVALID',
      details: { field: 'loss' },
    });
    const apart = total(builder, 'x');
    await expect(differentiate(builder.build(), apart)).rejects.toMatchObject({
      code: 'INPUT_INVALID',
      details: { field: 'parameters' },
    });
  });

  test.each(['nothing', 'table_int'])('%s cannot be a parameter', (name) => {
    const builder = sketch();
    builder.initializer('table_int', int64([1, 2]));
    expect(() => toDifferentiable(builder.build(), [name])).toThrow(
      expect.objectContaining({ code: 'INPUT_INVALID' }),
    );
  });

  test('only a table read by Gathers of fed rows is row-sparse', async () => {
    const builder = sketch();
    const { op } = builder;
    for (const name of ['rows', 'tied', 'derived'])
      builder.initializer(name, float32(new Float32Array(9).fill(0.5), [3, 3]));
    const gathered = op.Add(
      op.Gather('rows', 'i'),
      op.Add(op.Gather('tied', 'i'), op.Gather('derived', op.Abs('i'))),
    );
    const loss = total(builder, op.MatMul(gathered, 'tied'));
    const model = builder.build();
    expect(['rows', 'tied', 'derived'].map((name) => isRowSparse(model.graph, name))).toEqual([
      true,
      false,
      false,
    ]);
    await expect(
      differentiate(model, loss, { parameters: ['tied'], sparse: ['tied'] }),
    ).rejects.toMatchObject({
      code: 'INPUT_INVALID',
      details: { field: 'sparse', value: 'tied' },
    });
  });
});

import { describe, expect, it } from 'vitest';
import { createRandom, float32, must } from '../../../src/core/index.js';
import { quantizeDynamic } from '../../../src/compression/index.js';
import { encodeModel, GraphBuilder, tensorOf } from '../../../src/onnx/index.js';
import type { Model } from '../../../src/onnx/index.js';
import {
  contextWith,
  denseWeight,
  gemmMlp,
  normals,
  ranker,
  rankerFeeds,
  relativeRms,
  rowFeeds,
  run,
  values,
} from '../support.js';

const everyLayer = quantizeDynamic({ minWeights: 0 });

function oneMatMul(
  weight: Float32Array,
  dims: readonly [number, number],
  inputDims: readonly (number | string)[],
): Model {
  const builder = new GraphBuilder();
  const x = builder.input('x', 'float32', inputDims);
  builder.node('MatMul', [x, builder.initializer('w', float32(weight, dims))], {}, ['y']);
  builder.output('y', 'float32');
  return builder.build();
}

function initializer(model: Model, name: string): number[] {
  return Array.from(tensorOf(must(model.graph.initializers.get(name), name)).data, Number);
}

function operators(model: Model): string[] {
  return model.graph.nodes.map((node) => node.op);
}

describe('quantizeDynamic', () => {
  it('stores each output in 8 bits of its own largest weight', async () => {
    const model = oneMatMul(Float32Array.of(1, -0.5, 0, 0.5, 0.25, 0), [2, 3], ['rows', 2]);
    const { model: int8, report } = await everyLayer(model, contextWith());
    expect(initializer(int8, 'w/int8')).toEqual([127, -127, 0, 64, 64, 0]);
    expect(initializer(int8, 'w/scales')).toEqual([Math.fround(1 / 127), Math.fround(0.5 / 127), 1]);
    expect(int8.graph.initializers.has('w')).toBe(false);
    expect(report.changed).toMatchObject([{ weightsBefore: 6, weightsAfter: 6 }]);
    // (64/127 − 0.5)² + (64/254 − 0.25)² over 1 + 0.25 + 0.25 + 0.0625.
    const expected = Math.sqrt(((64 / 127 - 0.5) ** 2 + (64 / 254 - 0.25) ** 2) / 1.5625);
    expect(report.changed[0]?.relativeError).toBeCloseTo(expected, 6);
  });

  it('gives the product of the quantized operands exactly', async () => {
    const model = oneMatMul(Float32Array.of(1, -0.5, 0.5, 0.25), [2, 2], ['rows', 2]);
    const { model: int8 } = await everyLayer(model, contextWith());
    const x = float32(Float32Array.of(2.55, -0, 0, 1), [2, 2]);
    // The input's range [0, 2.55] is quantized in steps of 0.01 from 0.
    const product = await values(int8, { x });
    [2.55, -2.55 * 0.5, 64 / 127, (64 * 0.5) / 127].forEach((value, i) =>
      expect(product[i]).toBeCloseTo(value, 5),
    );
  });

  it('keeps 7 bits where asked', async () => {
    const { model: int8 } = await quantizeDynamic({ minWeights: 0, reduceRange: true })(
      gemmMlp([8, 8]),
      contextWith(),
    );
    const weights = initializer(int8, 'w1/int8');
    expect(Math.max(...weights.map(Math.abs))).toBe(63);
  });

  it('handles transB, alpha, beta and a scalar bias of Gemm', async () => {
    const random = createRandom(2);
    const builder = new GraphBuilder();
    const x = builder.input('x', 'float32', ['rows', 48]);
    const weight = builder.initializer('w', normals(random, [32, 48], 0.2));
    const bias = builder.initializer('b', float32(Float32Array.of(0.7), [1]));
    builder.node('Gemm', [x, weight, bias], { transB: 1, alpha: 0.5, beta: 3 }, ['y']);
    builder.output('y', 'float32');
    const model = builder.build();
    const [feed = {}] = rowFeeds(48, 20);
    const { model: int8 } = await everyLayer(model, contextWith());
    const reference = await values(model, feed);
    expect(relativeRms(reference, await values(int8, feed))).toBeLessThan(0.01);
  });

  it('handles inputs of three dimensions', async () => {
    const model = oneMatMul(
      denseWeight(createRandom(1), 16, 12).data as Float32Array,
      [16, 12],
      ['a', 'b', 16],
    );
    const feed = { x: normals(createRandom(8), [3, 5, 16]) };
    const { model: int8 } = await everyLayer(model, contextWith());
    const output = must((await run(int8, feed))['y'], 'y');
    expect(output.dims).toEqual([3, 5, 12]);
    expect(relativeRms(await values(model, feed), Array.from(output.data, Number))).toBeLessThan(0.015);
  });

  it('quantizes a shared input once and stores shared weights once', async () => {
    const random = createRandom(4);
    const builder = new GraphBuilder();
    const x = builder.input('x', 'float32', ['rows', 8]);
    const weight = builder.initializer('w', denseWeight(random, 8, 8));
    const other = builder.initializer('v', denseWeight(random, 8, 8));
    const { op } = builder;
    builder.node('Add', [op.MatMul(op.MatMul(x, weight), weight), op.MatMul(x, other)], {}, ['y']);
    builder.output('y', 'float32');
    const model = builder.build();
    const { model: int8, report } = await everyLayer(model, contextWith());
    expect(report.changed).toHaveLength(3);
    expect(operators(int8).filter((name) => name === 'DynamicQuantizeLinear')).toHaveLength(2);
    expect([...int8.graph.initializers.keys()].sort()).toEqual(['v/int8', 'v/scales', 'w/int8', 'w/scales']);
    const [feed = {}] = rowFeeds(8, 30);
    expect(relativeRms(await values(model, feed), await values(int8, feed))).toBeLessThan(0.03);
  });

  it('changes scores of a ranker by under 2 % and leaves its table alone', async () => {
    const model = ranker();
    const [feed = {}] = rankerFeeds(1);
    const { model: int8, report } = await quantizeDynamic({ minWeights: 256 })(model, contextWith());
    expect(report.changed.map(({ layer }) => layer)).toHaveLength(5);
    expect(report.left).toMatchObject([{ op: 'Gemm', reason: '64 weights are fewer than minWeights 256' }]);
    expect(int8.graph.initializers.get('items.table')).toBe(model.graph.initializers.get('items.table'));
    const error = relativeRms(await values(model, feed, 'score'), await values(int8, feed, 'score'));
    expect(error).toBeGreaterThan(0);
    expect(error).toBeLessThan(0.02);
  });

  it('never touches the model it was given', async () => {
    const model = gemmMlp([16, 16, 4]);
    const before = encodeModel(model);
    await everyLayer(model, contextWith());
    expect(Buffer.compare(encodeModel(model), before)).toBe(0);
  });

  it('leaves an old opset, computed operands, left constants and other types, and says why', async () => {
    const old = new GraphBuilder({ opset: 10 });
    const oldX = old.input('x', 'float32', ['rows', 4]);
    old.node('MatMul', [oldX, old.initializer('w', denseWeight(createRandom(1), 4, 4))], {}, ['y']);
    old.output('y', 'float32');
    const oldModel = old.build();
    const { model: same, report: oldReport } = await everyLayer(oldModel, contextWith());
    expect(same).toBe(oldModel);
    expect(oldReport.left.map(({ reason }) => reason)).toEqual(['the model has opset 10; this needs 11']);

    const builder = new GraphBuilder();
    const x = builder.input('x', 'float32', [4, 4]);
    const d = builder.input('d', 'float64', [4, 4]);
    const { op } = builder;
    const weight = builder.initializer('w', denseWeight(createRandom(1), 4, 4));
    const three = builder.initializer('three', normals(createRandom(1), [1, 4, 4]));
    const double = builder.constant({ dtype: 'float64', dims: [4, 4], data: new Float64Array(16) });
    const square = op.MatMul(x, x);
    op.MatMul(weight, x);
    op.MatMul(x, three);
    op.MatMul(d, double);
    op.Gemm(x, weight, { transA: 1 });
    op.Gemm(x, weight, square);
    builder.output(square, 'float32');
    const model = builder.build();
    const { model: left, report } = await everyLayer(model, contextWith());
    expect(left).toBe(model);
    expect(report.left.map(({ reason }) => reason)).toEqual([
      'both operands are computed',
      'the constant is the left operand',
      'the weights have 3 dimensions, not 2',
      'the weights are float64, not float32',
      'transA is set',
      'the bias is computed',
    ]);
  });
});

import { describe, expect, it, test } from 'vitest';
import { createRandom, float32, float32Data, must } from '../../../src/core/index.js';
import type { Tensor } from '../../../src/core/index.js';
import { quantizeDynamic } from '../../../src/compression/passes/quantize-dynamic.js';
import { encodeModel, GraphBuilder, subgraphsOf, tensorOf } from '../../../src/onnx/index.js';
import type { Graph, Model } from '../../../src/onnx/index.js';
import { PRODUCT_FORMS, productOf } from '../product-forms.js';
import { testOnRealModels } from '../real-models.js';
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
    const vector = builder.initializer('v', normals(createRandom(1), [4]));
    const double = builder.constant({ dtype: 'float64', dims: [4, 4], data: new Float64Array(16) });
    const square = op.MatMul(x, x);
    op.MatMul(weight, square);
    op.MatMul(x, vector);
    op.MatMul(d, double);
    op.MatMul(weight, weight);
    builder.output(square, 'float32');
    const model = builder.build();
    const { model: left, report } = await everyLayer(model, contextWith());
    expect(left).toBe(model);
    expect(report.left.map(({ reason }) => reason)).toEqual([
      'both operands are computed',
      'the constant is the left operand, and the rank of the right one is not recorded',
      'the weights have 1 dimensions, not 2 or more',
      'the weights are float64, not float32',
      'both operands are constant',
    ]);
  });
});

describe('forms of MatMul and Gemm', () => {
  test.each(Object.entries(PRODUCT_FORMS))('%s', async (_, form) => {
    const { model, feed } = productOf(form);
    const before = must((await run(model, feed))['y'], 'y');
    for (const perChannel of [true, false]) {
      const { model: int8, report } = await quantizeDynamic({ minWeights: 0, perChannel })(
        model,
        contextWith(),
      );
      expect(report).toMatchObject({ changed: [{}], left: [] });
      expect(operators(int8)).toContain('MatMulInteger');
      const after = must((await run(int8, feed))['y'], 'y');
      expect(after.dims).toEqual(before.dims);
      expect(relativeRms(Array.from(before.data, Number), Array.from(after.data, Number))).toBeLessThan(0.02);
    }
  });

  it('keeps one scale for all where asked', async () => {
    const model = oneMatMul(Float32Array.of(1, -0.5, 0, 0.5, 0.25, 0), [2, 3], ['rows', 2]);
    const { model: int8 } = await quantizeDynamic({ minWeights: 0, perChannel: false })(model, contextWith());
    expect(initializer(int8, 'w/int8')).toEqual([127, -64, 0, 64, 32, 0]);
    expect(initializer(int8, 'w/scales')).toEqual([Math.fround(1 / 127)]);
  });

  it('quantizes weights that come out of Cast, Reshape and Transpose, and drops those nodes', async () => {
    const builder = new GraphBuilder();
    const { op } = builder;
    const half = builder.constant({
      dtype: 'float16',
      dims: [12, 4],
      // 1, 1.5, 2 and −0.5 in half precision.
      data: Uint16Array.from({ length: 48 }, (_, i) =>
        must([0x3c00, 0x3e00, 0x4000, 0xb800][(i * 7) % 4], 'bits'),
      ),
    });
    const x = builder.input('x', 'float32', ['rows', 8]);
    const weight = op.Transpose(op.Reshape(op.Cast(half, { to: 'float32' }), [6, 8]), { perm: [1, 0] });
    builder.node('MatMul', [x, weight], {}, ['y']);
    builder.output('y', 'float32');
    const model = builder.build();
    const { model: int8 } = await everyLayer(model, contextWith());
    expect(operators(int8)).toEqual(['DynamicQuantizeLinear', 'MatMulInteger', 'Cast', 'Mul', 'Mul']);
    const [feed = {}] = rowFeeds(8, 30);
    expect(relativeRms(await values(model, feed), await values(int8, feed))).toBeLessThan(0.02);
  });

  it('stores equal weights once, also of several names and scaled', async () => {
    const random = createRandom(3);
    const builder = new GraphBuilder();
    const { op } = builder;
    const x = builder.input('x', 'float32', ['rows', 8]);
    const weight = denseWeight(random, 8, 8);
    const turned = Float32Array.from(
      { length: 64 },
      (_, i) => float32Data(weight)[(i % 8) * 8 + Math.floor(i / 8)] ?? NaN,
    );
    const first = op.MatMul(x, builder.initializer('w', weight));
    const second = op.MatMul(
      first,
      builder.initializer('copy', float32(Float32Array.from(float32Data(weight)), [8, 8])),
    );
    const third = op.Gemm(second, builder.initializer('turned', float32(turned, [8, 8])), {
      transB: 1,
      alpha: 3,
    });
    builder.node('Identity', [third], {}, ['y']);
    builder.output('y', 'float32');
    const model = builder.build();
    const { model: int8 } = await everyLayer(model, contextWith());
    expect([...int8.graph.initializers.keys()].sort()).toEqual(['turned/scales', 'w/int8', 'w/scales']);
    const [feed = {}] = rowFeeds(8, 30);
    expect(relativeRms(await values(model, feed), await values(int8, feed))).toBeLessThan(0.04);
  });

  it('reaches into subgraphs, where weights of the graph around are stored once', async () => {
    const random = createRandom(6);
    const builder = new GraphBuilder();
    builder.input('x', 'float32', ['rows', 8]);
    const condition = builder.input('condition', 'bool', []);
    builder.initializer('w', denseWeight(random, 8, 8));
    const branch = (own: Tensor): Graph => {
      const inner = new GraphBuilder();
      const product = inner.op.MatMul('x', 'w');
      inner.node('MatMul', [product, inner.initializer('own', own)], {}, ['result']);
      inner.output('result', 'float32');
      return inner.build().graph;
    };
    const branches = {
      then_branch: branch(denseWeight(random, 8, 4)),
      else_branch: branch(denseWeight(random, 8, 4)),
    };
    builder.node('If', [condition], branches, ['y']);
    builder.output('y', 'float32');
    const model = builder.build();
    const { model: int8, report } = await everyLayer(model, contextWith());
    expect(report).toMatchObject({ changed: [{}, {}, {}, {}], left: [] });
    expect([...int8.graph.initializers.keys()].sort()).toEqual([
      ...['own/int8', 'own/int8_1', 'own/scales', 'own/scales_1', 'w/int8', 'w/scales'],
    ]);
    for (const graph of int8.graph.nodes.flatMap(subgraphsOf)) {
      expect(graph.initializers.size).toBe(0);
      expect(graph.nodes.map((node) => node.op).filter((op) => op === 'MatMul')).toEqual([]);
    }
    for (const chosen of [0, 1]) {
      const [{ x } = {}] = rowFeeds(8, 30);
      const feed = {
        x: must(x, 'x'),
        condition: { dtype: 'bool', dims: [], data: Uint8Array.of(chosen) },
      } as const;
      expect(relativeRms(await values(model, feed), await values(int8, feed))).toBeLessThan(0.03);
    }
  });

  it('leaves what is named, by layer or weight', async () => {
    const model = gemmMlp([16, 16, 16, 4]);
    const left = async (exclude: readonly string[]): Promise<string[]> =>
      (await quantizeDynamic({ minWeights: 0, exclude })(model, contextWith())).report.left.map(
        ({ layer, reason }) => `${layer} ${reason}`,
      );
    expect(await left(['w2'])).toEqual(['Gemm_1 excluded by name']);
    expect(await left(['Gemm?2', 'w1'])).toEqual(['Gemm excluded by name', 'Gemm_2 excluded by name']);
    expect(await left(['w*'])).toHaveLength(3);
    // A dot is a dot.
    const failure = left(['w.']).catch((error: unknown) => error);
    expect(await failure).toMatchObject({
      code: 'RECIPE_INVALID',
      details: { field: 'exclude', value: 'w.', allowed: ['Gemm', 'w1', 'Gemm_1', 'w2', 'Gemm_2', 'w3'] },
    });
  });

  it('leaves weights that are not finite', async () => {
    const model = oneMatMul(Float32Array.of(1, NaN, 0, Infinity), [2, 2], ['rows', 2]);
    const { model: same, report } = await everyLayer(model, contextWith());
    expect(same).toBe(model);
    expect(report.left).toMatchObject([{ reason: 'the weights are not all finite' }]);
  });
});

describe('models from other exporters', () => {
  testOnRealModels(quantizeDynamic({ minWeights: 1 }), {
    'TFBertForQuestionAnswering.onnx': [145, 0.05],
    // Weights are inputs.
    'attention_past_state.u8s8.onnx': [0, 0],
    'bert_toy_optimized.onnx': [34, 0.03],
    // Opset 9 has no DynamicQuantizeLinear.
    'cnn_mnist_pytorch.onnx': [0, 0],
    'dynamic_quantize_matmul_int8.onnx': [0, 0],
    'gpt2_past.onnx': [48, 0.02],
    // Convolutions and LSTMs in branches of branches.
    'silero_vad_v6.onnx': [0, 0],
    'squeezenet_tensor_input.onnx': [0, 0],
    // Everything is inside the subgraph of BeamSearch, which gives the same sequences.
    'tiny_gpt2_beamsearch.onnx': [16, 0],
    'vespa_custom_similarity.onnx': [4, 0.001],
    'vespa_pairwise_ranker.onnx': [3, 0.01],
    // Multiplies a vector from the left.
    'vespa_pca_transformer.onnx': [1, 0.03],
    'vespa_transformer.onnx': [8, 0.02],
  });
});

import { describe, expect, it, test } from 'vitest';
import { createRandom, float32, float32Data, must } from '../../../src/core/index.js';
import type { Tensor, TensorMap } from '../../../src/core/index.js';
import { quantizeWeights } from '../../../src/compression/passes/quantize-weights.js';
import { encodeModel, GraphBuilder, tensorOf } from '../../../src/onnx/index.js';
import type { Model } from '../../../src/onnx/index.js';
import { dequantized } from '../block-weights.js';
import { PRODUCT_FORMS, productOf } from '../product-forms.js';
import { testOnRealModels } from '../real-models.js';
import {
  contextWith,
  denseWeight,
  gemmMlp,
  maxDifference,
  normals,
  relativeRms,
  rowFeeds,
  run,
  values,
} from '../support.js';

function stored(model: Model, name: string): Tensor {
  return tensorOf(must(model.graph.initializers.get(name), name));
}

function bytes(model: Model, name: string): Uint8Array {
  return stored(model, name).data as Uint8Array;
}

/** A Gemm of 70 inputs, no multiple of a block, and 9 outputs. */
function gemm(): Model {
  const random = createRandom(1);
  const builder = new GraphBuilder();
  const x = builder.input('x', 'float32', ['rows', 70]);
  const operands = [
    x,
    builder.initializer('w', normals(random, [9, 70])),
    builder.initializer('b', normals(random, [9])),
  ];
  builder.node('Gemm', operands, { transB: 1, alpha: -0.5, beta: 2 }, ['y']);
  builder.output('y', 'float32');
  return builder.build();
}

/** Requests of which 6 directions explain most. */
function correlatedFeeds(width: number, count: number): readonly TensorMap[] {
  const random = createRandom(11);
  const directions = float32Data(normals(random, [6, width]));
  return Array.from({ length: count }, () => {
    const rows = 50;
    const x = new Float32Array(rows * width);
    for (let row = 0; row < rows; row++)
      for (let d = 0; d < 6; d++) {
        const size = random.normal();
        for (let i = 0; i < width; i++)
          x[row * width + i] =
            (x[row * width + i] ?? 0) + size * (directions[d * width + i] ?? 0) + 0.1 * random.normal();
      }
    return { x: float32(x, [rows, width]) };
  });
}

describe('quantizeWeights', () => {
  test.each([
    { bits: 4, blockSize: 16, symmetric: false },
    { bits: 4, blockSize: 32, symmetric: true },
    { bits: 8, blockSize: 16, symmetric: false },
    { bits: 8, blockSize: 64, symmetric: true },
  ] as const)('stores what ONNX Runtime reads: %o', async (format) => {
    const model = gemm();
    const { model: small, report } = await quantizeWeights({ ...format, accuracyLevel: 0, minWeights: 1 })(
      model,
      contextWith(),
    );
    const { bits, blockSize, symmetric } = format;
    expect(report).toMatchObject({ changed: [{ weightsBefore: 630, weightsAfter: 630 }], left: [] });
    const weights = {
      values: bytes(small, `w/int${bits}`),
      scales: float32Data(stored(small, 'w/scales')),
      zeroPoints: symmetric ? undefined : bytes(small, 'w/zero_points'),
    };
    // −0.5 is in the scales.
    const matrix = dequantized(weights, { bits, blockSize }, 9, 70);
    const [feed = {}] = rowFeeds(70, 5);
    const x = float32Data(must(feed['x'], 'x'));
    const bias = float32Data(stored(model, 'b'));
    const expected = Array.from({ length: 45 }, (_, at) => {
      const [row, output] = [Math.floor(at / 9), at % 9];
      const own = must(matrix[output], 'row');
      return own.reduce(
        (sum, weight, i) => sum + weight * (x[row * 70 + i] ?? NaN),
        2 * (bias[output] ?? NaN),
      );
    });
    expect(maxDifference(expected, await values(small, feed))).toBeLessThan(1e-4);
    expect(relativeRms(await values(model, feed), expected)).toBeLessThan(bits === 4 ? 0.12 : 0.008);
    expect(small.opsets.get('com.microsoft')).toBe(1);
    expect(small.graph.initializers.has('w')).toBe(false);
  });

  test.each(Object.entries(PRODUCT_FORMS))('%s', async (_, form) => {
    const { model, feed } = productOf(form);
    const before = must((await run(model, feed))['y'], 'y');
    const { model: small, report } = await quantizeWeights({ bits: 8, minWeights: 1 })(model, contextWith());
    if (form.weight.length > 2) {
      expect(small).toBe(model);
      expect(report.left).toMatchObject([
        { reason: `the weights have ${form.weight.length} dimensions, not 2` },
      ]);
      return;
    }
    expect(report).toMatchObject({ changed: [{}], left: [] });
    expect(small.graph.nodes.map((node) => node.op)).toContain('MatMulNBits');
    const after = must((await run(small, feed))['y'], 'y');
    expect(after.dims).toEqual(before.dims);
    expect(relativeRms(Array.from(before.data, Number), Array.from(after.data, Number))).toBeLessThan(0.02);
  });

  it('gptq keeps the outputs of correlated requests better than rounding, also of ones it has not seen', async () => {
    const model = gemmMlp([96, 64, 32, 8]);
    const feeds = correlatedFeeds(96, 8);
    const errors: Record<string, number> = {};
    for (const method of ['rtn', 'gptq'] as const) {
      const pass = quantizeWeights({ method, minWeights: 1, accuracyLevel: 0 });
      const { model: small, report } = await pass(model, contextWith(feeds.slice(0, 6)));
      expect(report).toMatchObject({ changed: [{}, {}, {}], left: [] });
      const before: number[] = [];
      const after: number[] = [];
      for (const feed of feeds.slice(6)) {
        before.push(...(await values(model, feed)));
        after.push(...(await values(small, feed)));
      }
      errors[method] = relativeRms(before, after);
    }
    expect(errors['gptq']).toBeLessThan(0.6 * must(errors['rtn'], 'rtn'));
  });

  it('gptq reports the error of the layer on the calibration requests', async () => {
    const builder = new GraphBuilder();
    const x = builder.input('x', 'float32', ['rows', 40]);
    builder.node('MatMul', [x, builder.initializer('w', denseWeight(createRandom(2), 40, 12))], {}, ['y']);
    builder.output('y', 'float32');
    const model = builder.build();
    const [feed = {}] = correlatedFeeds(40, 1);
    const pass = quantizeWeights({ method: 'gptq', minWeights: 1, accuracyLevel: 0 });
    const { model: small, report } = await pass(model, contextWith([feed]));
    const error = relativeRms(await values(model, feed), await values(small, feed));
    expect(report.changed[0]?.relativeError).toBeCloseTo(error, 4);
  });

  it('gptq does not work without requests', async () => {
    const failure = quantizeWeights({ method: 'gptq', minWeights: 1 })(gemm(), contextWith()).catch(
      (error: unknown) => error,
    );
    expect(await failure).toMatchObject({ code: 'RECIPE_INVALID' });
  });

  it('gptq leaves what it has no inputs of', async () => {
    const { model, feed } = productOf(must(PRODUCT_FORMS['transA'], 'form'));
    const { model: same, report } = await quantizeWeights({ method: 'gptq', minWeights: 1 })(
      model,
      contextWith([feed]),
    );
    expect(same).toBe(model);
    expect(report.left).toMatchObject([{ reason: 'its input stands transposed: rtn reaches it' }]);
  });

  it('stores shared weights once, made for the inputs of all that share them', async () => {
    const random = createRandom(4);
    const builder = new GraphBuilder();
    const x = builder.input('x', 'float32', ['rows', 16]);
    const weight = builder.initializer('w', denseWeight(random, 16, 16));
    const { op } = builder;
    builder.node('Add', [op.MatMul(op.Relu(op.MatMul(x, weight)), weight), x], {}, ['y']);
    builder.output('y', 'float32');
    const model = builder.build();
    for (const method of ['rtn', 'gptq'] as const) {
      const pass = quantizeWeights({ method, minWeights: 1, bits: 8 });
      const { model: small, report } = await pass(model, contextWith(rowFeeds(16, 50)));
      expect(report.changed).toHaveLength(2);
      expect([...small.graph.initializers.keys()].sort()).toEqual(['w/int8', 'w/scales', 'w/zero_points']);
      const [feed = {}] = rowFeeds(16, 30, 1, 8);
      expect(relativeRms(await values(model, feed), await values(small, feed))).toBeLessThan(0.02);
    }
  });

  it('leaves what is small, named or not finite, and never touches the model', async () => {
    const model = gemmMlp([16, 16, 4]);
    const before = encodeModel(model);
    const reasons = async (of: Model, minWeights: number, exclude: readonly string[]): Promise<unknown> =>
      (await quantizeWeights({ minWeights, exclude })(of, contextWith())).report.left.map(
        ({ reason }) => reason,
      );
    expect(await reasons(model, 100, [])).toEqual(['64 weights are fewer than minWeights 100']);
    expect(await reasons(model, 1, ['w?'])).toEqual(['excluded by name', 'excluded by name']);
    expect(Buffer.compare(encodeModel(model), before)).toBe(0);
    const builder = new GraphBuilder();
    const x = builder.input('x', 'float32', ['rows', 1]);
    builder.node('MatMul', [x, builder.initializer('w', float32(Float32Array.of(NaN), [1, 1]))], {}, ['y']);
    builder.output('y', 'float32');
    expect(await reasons(builder.build(), 1, [])).toEqual(['weights or inputs are not all finite']);
  });

  it('makes the same bytes again', async () => {
    const once = async (): Promise<Uint8Array> => {
      const pass = quantizeWeights({ method: 'gptq', minWeights: 1 });
      return encodeModel((await pass(gemmMlp([32, 32, 8]), contextWith(rowFeeds(32, 100)))).model);
    };
    expect(Buffer.compare(await once(), await once())).toBe(0);
  });
});

describe('models from other exporters, 8 bits', () => {
  testOnRealModels(quantizeWeights({ bits: 8, symmetric: true, accuracyLevel: 0, minWeights: 1 }), {
    'TFBertForQuestionAnswering.onnx': [145, 0.06],
    // Weights are inputs.
    'attention_past_state.u8s8.onnx': [0, 0],
    'bert_toy_optimized.onnx': [34, 0.03],
    'cnn_mnist_pytorch.onnx': [2, 0.02],
    'dynamic_quantize_matmul_int8.onnx': [0, 0],
    'gpt2_past.onnx': [48, 0.02],
    // Convolutions and LSTMs in branches of branches.
    'silero_vad_v6.onnx': [0, 0],
    'squeezenet_tensor_input.onnx': [1, 0.02],
    // Everything is inside the subgraph of BeamSearch, which gives the same sequences.
    'tiny_gpt2_beamsearch.onnx': [16, 0],
    'vespa_custom_similarity.onnx': [4, 0.001],
    'vespa_pairwise_ranker.onnx': [3, 0.01],
    'vespa_pca_transformer.onnx': [1, 0.02],
    'vespa_transformer.onnx': [8, 0.02],
  });
});

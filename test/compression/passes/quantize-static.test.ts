import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createRandom, float32, must } from '../../../src/core/index.js';
import type { TensorMap } from '../../../src/core/index.js';
import { compressModel, parseRecipe, quantizeStatic } from '../../../src/compression/index.js';
import type { PassReport } from '../../../src/compression/pass.js';
import { encodeModel, GraphBuilder, readModel, tensorOf } from '../../../src/onnx/index.js';
import type { Model } from '../../../src/onnx/index.js';
import { openSession } from '../../../src/runtime/index.js';
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
  values,
  withDeadLayer,
} from '../support.js';

const every = { minWeights: 0 } as const;

function stored(model: Model, name: string): number[] {
  return Array.from(tensorOf(must(model.graph.initializers.get(name), name)).data, Number);
}

/** How many nodes of each operator ONNX Runtime runs, once it has fused what it can. */
async function fusedOperators(model: Model): Promise<Readonly<Record<string, number>>> {
  const folder = await mkdtemp(join(tmpdir(), 'whittle-test-'));
  try {
    const path = join(folder, 'fused.onnx');
    const session = await openSession(encodeModel(model), { optimizedModelPath: path });
    await session.release();
    const counts: Record<string, number> = {};
    for (const { op } of (await readModel(path)).graph.nodes) counts[op] = (counts[op] ?? 0) + 1;
    return counts;
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Root mean square of the change of output `y` over all feeds. */
async function errorOn(
  model: Model,
  changed: Model,
  feeds: readonly TensorMap[],
  output = 'y',
): Promise<number> {
  const all = async (of: Model): Promise<number[]> => {
    const results: number[] = [];
    for (const feed of feeds) results.push(...(await values(of, feed, output)));
    return results;
  };
  return relativeRms(await all(model), await all(changed));
}

/** MatMul with a bias of its own, two times, with a Relu between; `x` has the given dimensions. */
function matMuls(dims: readonly (number | string)[], width: number): Model {
  const random = createRandom(4);
  const builder = new GraphBuilder({ opset: 17 });
  const { op } = builder;
  const dense = (input: string, name: string): string => {
    const weight = builder.initializer(`${name}.weight`, denseWeight(random, width, width));
    return op.Add(
      op.MatMul(input, weight),
      builder.initializer(`${name}.bias`, normals(random, [width], 0.3)),
    );
  };
  const hidden = op.Relu(dense(builder.input('x', 'float32', dims), 'first'));
  builder.node('Mul', [dense(hidden, 'second'), 1], {}, ['y']);
  builder.output('y', 'float32');
  return builder.build();
}

/** Conv, Relu, MaxPool, Conv, Relu, two branches joined by Concat, Conv. */
function convolutions(opset: number): Model {
  const random = createRandom(6);
  const builder = new GraphBuilder({ opset });
  const { op } = builder;
  const conv = (input: string, name: string, inputs: number, outputs: number): string => {
    const scale = Math.sqrt(2 / (9 * inputs));
    const weight = builder.initializer(`${name}.weight`, normals(random, [outputs, inputs, 3, 3], scale));
    const bias = builder.initializer(`${name}.bias`, normals(random, [outputs], 0.3));
    return must(builder.node('Conv', [input, weight, bias], { pads: [1, 1, 1, 1] })[0], name);
  };
  const x = builder.input('x', 'float32', ['rows', 3, 12, 12]);
  const first = op.Relu(conv(x, 'first', 3, 16));
  const pooled = must(builder.node('MaxPool', [first], { kernel_shape: [2, 2], strides: [2, 2] })[0], 'pool');
  const left = op.Relu(conv(pooled, 'left', 16, 8));
  const right = op.Relu(conv(pooled, 'right', 16, 8));
  const joined = op.Concat(left, right, { axis: 1 });
  builder.node('GlobalAveragePool', [conv(joined, 'last', 16, 16)], {}, ['y']);
  builder.output('y', 'float32');
  return builder.build();
}

function imageFeeds(count: number, seed = 2): readonly TensorMap[] {
  const random = createRandom(seed);
  return Array.from({ length: count }, () => ({ x: normals(random, [4, 3, 12, 12]) }));
}

function reasons({ left }: PassReport): readonly string[] {
  return left.map(({ reason }) => reason);
}

describe('quantizeStatic', () => {
  it('stores weights, scales and bias by hand', async () => {
    const builder = new GraphBuilder({ opset: 17 });
    const x = builder.input('x', 'float32', ['rows', 2]);
    const weight = builder.initializer('w', float32(Float32Array.of(1, -0.5, 0.5, 0.25), [2, 2]));
    const bias = builder.initializer('b', float32(Float32Array.of(0.3, -0.1)));
    const second = builder.initializer('v', float32(Float32Array.of(1, 1), [2, 1]));
    builder.node('Gemm', [builder.op.Gemm(x, weight, bias), second], {}, ['y']);
    builder.output('y', 'float32');
    const model = builder.build();
    const feeds = [{ x: float32(Float32Array.of(-1, 1.55, 0.5, 0), [2, 2]) }];
    const pass = quantizeStatic({ ...every, calibration: 'min-max' });
    const { model: int8, report } = await pass(model, contextWith(feeds));
    expect(stored(int8, 'w/int8')).toEqual([127, -127, 64, 64]);
    expect(stored(int8, 'w/scales')).toEqual([Math.fround(1 / 127), Math.fround(0.5 / 127)]);
    const step = Math.fround(2.55 / 255);
    expect([stored(int8, 'x/scale'), stored(int8, 'x/zero_point')]).toEqual([[step], [100]]);
    // 0.3 and -0.1 in steps of 0.01 / 127 and 0.005 / 127.
    const biases = [...int8.graph.initializers.values()].filter(({ dtype }) => dtype === 'int32');
    expect(biases.map(({ name }) => stored(int8, name))).toContainEqual([3810, -2540]);
    expect(int8.graph.initializers.has('w')).toBe(false);
    expect(report.changed.map(({ weightsBefore, weightsAfter }) => [weightsBefore, weightsAfter])).toEqual([
      [4, 4],
      [2, 2],
    ]);
  });

  it('becomes one chain of 8-bit kernels: only what enters is quantized', async () => {
    const model = gemmMlp([96, 128, 64, 8]);
    const feeds = rowFeeds(96, 64, 8);
    const { model: int8, report } = await quantizeStatic(every)(model, contextWith(feeds));
    expect(await fusedOperators(int8)).toEqual({
      QuantizeLinear: 1,
      QGemm: 2,
      MatMulIntegerToFloat: 1,
      Sum: 1,
    });
    const fresh = rowFeeds(96, 64, 4, 77);
    expect(await errorOn(model, int8, fresh)).toBeLessThan(0.03);
    for (const { relativeError, sensitivity } of report.changed) {
      expect(relativeError).toBeGreaterThan(0);
      expect(relativeError).toBeLessThan(0.03);
      expect(sensitivity).toBeUndefined();
    }
    expect(report.left).toEqual([]);
  });

  it.each([
    ['2 dimensions', ['rows', 32]],
    ['3 dimensions', ['a', 'b', 32]],
    ['3 known dimensions', [2, 5, 32]],
  ] as const)('fuses MatMul with a bias and a Relu behind on %s', async (_, dims) => {
    const model = matMuls(dims, 32);
    const random = createRandom(8);
    const shape = dims.map((dim) => (typeof dim === 'number' ? dim : dim === 'a' ? 2 : 5));
    const feeds = Array.from({ length: 6 }, () => ({ x: normals(random, shape) }));
    const { model: int8, report } = await quantizeStatic(every)(model, contextWith(feeds));
    expect(report.changed).toHaveLength(2);
    const fused = await fusedOperators(int8);
    expect(fused['MatMul'] ?? fused['Gemm'] ?? fused['FusedGemm']).toBeUndefined();
    expect((fused['QGemm'] ?? 0) + (fused['MatMulIntegerToFloat'] ?? 0)).toBe(2);
    expect(await errorOn(model, int8, feeds)).toBeLessThan(0.03);
  });

  it.each(['Relu', 'Sigmoid', 'Add', 'second reader', 'output'])(
    'keeps the 8-bit kernel where the result goes to a float32 %s',
    async (next) => {
      const random = createRandom(4);
      const builder = new GraphBuilder({ opset: 17 });
      const { op } = builder;
      const x = builder.input('x', 'float32', ['rows', 24]);
      const weight = builder.initializer('w', denseWeight(random, 24, 24));
      const sum = op.Gemm(x, weight, builder.initializer('b', normals(random, [24])));
      const after = {
        Relu: () => op.Relu(sum),
        Sigmoid: () => op.Sigmoid(sum),
        Add: () => op.Add(sum, x),
        'second reader': () => op.Add(sum, op.MatMul(op.Relu(sum), weight)),
        output: () => sum,
      }[next];
      builder.node('Mul', [must(after, next)(), 2], {}, ['y']);
      builder.output('y', 'float32');
      const model = builder.build();
      const feeds = rowFeeds(24, 50, 2);
      const { model: int8 } = await quantizeStatic(every)(model, contextWith(feeds));
      const fused = await fusedOperators(int8);
      expect(Object.keys(fused)).toContain('MatMulIntegerToFloat');
      expect(Object.keys(fused).filter((op) => /^(Fused)?(Gemm|MatMul)$/.test(op))).toEqual([]);
      expect(await errorOn(model, int8, feeds)).toBeLessThan(0.03);
    },
  );

  it.each([
    ['opset 17', 17],
    ['opset 11, raised', 11],
    ['opset 9, raised', 9],
  ])('runs convolutions, pooling and joining in 8 bits: %s', async (_, opset) => {
    const model = convolutions(opset);
    const { model: int8, report } = await quantizeStatic(every)(model, contextWith(imageFeeds(6)));
    expect(report.changed).toHaveLength(4);
    const fused = await fusedOperators(int8);
    expect(fused).toMatchObject({ QuantizeLinear: 1, QLinearConv: 4, QLinearConcat: 1 });
    expect(Object.keys(fused).filter((op) => /^(Fused)?Conv$/.test(op))).toEqual([]);
    expect(int8.opsets.get('')).toBe(Math.max(12, opset));
    expect(await errorOn(model, int8, imageFeeds(3, 9))).toBeLessThan(0.05);
  });

  it('leaves a pooled value the scale of what was pooled', async () => {
    const { model: int8 } = await quantizeStatic(every)(convolutions(17), contextWith(imageFeeds(2)));
    const pool = must(
      int8.graph.nodes.find(({ op }) => op === 'MaxPool'),
      'MaxPool',
    );
    const around = [
      int8.graph.nodes.find(({ outputs }) => outputs[0] === pool.inputs[0]),
      int8.graph.nodes.find(({ op, inputs }) => op === 'QuantizeLinear' && inputs[0] === pool.outputs[0]),
    ];
    expect(around[0]?.op).toBe('DequantizeLinear');
    expect(around[1]?.inputs.slice(1)).toEqual(around[0]?.inputs.slice(1));
  });

  it('handles transB, alpha, beta, a scalar and a computed bias', async () => {
    const random = createRandom(2);
    const builder = new GraphBuilder();
    const x = builder.input('x', 'float32', ['rows', 48]);
    const weight = builder.initializer('w', normals(random, [48, 48], 0.2));
    const bias = builder.initializer('b', float32(Float32Array.of(0.7), [1]));
    const first = builder.op.Gemm(x, weight, bias, { transB: 1, alpha: 0.5, beta: 3 });
    const second = builder.op.Gemm(first, weight, bias, { alpha: 2, beta: 0.5 });
    builder.node('Gemm', [second, weight, x], {}, ['y']);
    builder.output('y', 'float32');
    const model = builder.build();
    const feeds = rowFeeds(48, 40, 3);
    const { model: int8, report } = await quantizeStatic(every)(model, contextWith(feeds));
    expect(report.changed).toHaveLength(3);
    expect(await errorOn(model, int8, feeds)).toBeLessThan(0.03);
  });

  it('keeps a bias that int32 cannot hold in the steps of tiny weights', async () => {
    const random = createRandom(2);
    const dense = (conv: boolean): Model => {
      const builder = new GraphBuilder({ opset: 17 });
      const x = builder.input('x', 'float32', conv ? ['rows', 8, 4] : ['rows', 8]);
      const tiny = builder.initializer('w', normals(random, conv ? [8, 8, 1] : [8, 8], 1e-9));
      const bias = builder.initializer('b', float32(new Float32Array(8).fill(5)));
      const [sum = ''] = builder.node(conv ? 'Conv' : 'Gemm', [x, tiny, bias]);
      const last = builder.initializer('v', normals(random, conv ? [8, 8, 1] : [8, 8]));
      builder.node(conv ? 'Conv' : 'Gemm', [sum, last], {}, ['y']);
      builder.output('y', 'float32');
      return builder.build();
    };
    for (const [conv, dims] of [
      [false, [6, 8]],
      [true, [6, 8, 4]],
    ] as const) {
      const feeds = [{ x: normals(random, dims) }];
      const model = dense(conv);
      const { model: int8 } = await quantizeStatic(every)(model, contextWith(feeds));
      expect(await errorOn(model, int8, feeds)).toBeLessThan(0.02);
    }
  });

  it.each([
    ['min-max', {}],
    ['percentile', { percentile: 99.9 }],
    ['entropy', {}],
    ['mse', {}],
    ['mse', { symmetric: true }],
    ['min-max', { symmetric: true, perChannel: false }],
    ['min-max', { reduceRange: true }],
  ] as const)('stays near the ranker with %s %o', async (calibration, others) => {
    const model = ranker();
    const pass = quantizeStatic({ minWeights: 256, calibration, ...others });
    const { model: int8, report } = await pass(model, contextWith(rankerFeeds(6)));
    expect(report.changed).toHaveLength(5);
    expect(int8.graph.initializers.get('items.table')).toBe(model.graph.initializers.get('items.table'));
    // Entropy clips more than these outputs like.
    const bound = calibration === 'entropy' ? 0.1 : 0.06;
    expect(await errorOn(model, int8, rankerFeeds(3, 100, 21), 'score')).toBeLessThan(bound);
    const largest = Math.max(
      ...[...int8.graph.initializers.values()]
        .filter(({ dtype, dims }) => dtype === 'int8' && dims.length > 1)
        .map(({ name }) => Math.max(...stored(int8, name).map(Math.abs))),
    );
    expect(largest).toBe('reduceRange' in others ? 63 : 127);
  });

  it('gives a row the same score in every batch', async () => {
    const model = gemmMlp([32, 64, 4]);
    const { model: int8 } = await quantizeStatic(every)(model, contextWith(rowFeeds(32, 50)));
    const [feed] = rowFeeds(32, 10, 1, 3);
    const together = await values(int8, must(feed, 'feed'));
    const data = must(feed?.['x'], 'x').data as Float32Array;
    for (const row of [0, 4, 9]) {
      const x = float32(data.slice(32 * row, 32 * row + 32), [1, 32]);
      expect(await values(int8, { x })).toEqual(together.slice(4 * row, 4 * row + 4));
    }
  });

  it('honours exclusions by name, weight and operator, and says what it leaves', async () => {
    const model = gemmMlp([16, 16, 16, 16, 16]);
    const context = contextWith(rowFeeds(16, 20));
    const byName = await quantizeStatic({ ...every, exclude: ['*_1', 'w3'] })(model, context);
    expect(byName.report.changed.map(({ layer }) => layer)).toEqual(['Gemm', 'Gemm_3']);
    expect(byName.report.left.map(({ layer, reason }) => [layer, reason])).toEqual([
      ['Gemm_1', 'excluded by name'],
      ['Gemm_2', 'excluded by name'],
    ]);
    expect(byName.model.graph.nodes).toContain(model.graph.nodes.find(({ name }) => name === 'Gemm_1'));
    const byOperator = await quantizeStatic({ ...every, operators: ['Conv', 'MatMul'] })(model, context);
    expect(byOperator.model).toBe(model);
    expect(new Set(reasons(byOperator.report))).toEqual(new Set(['operators does not name Gemm']));
    const slip = quantizeStatic({ exclude: ['Gem'] })(model, context).catch((error: unknown) => error);
    expect(await slip).toMatchObject({ code: 'RECIPE_INVALID', details: { field: 'exclude', value: 'Gem' } });
  });

  it('leaves small layers, and convolutions that are small group by group', async () => {
    const model = convolutions(17);
    const { report } = await quantizeStatic({ minWeights: 4 * 1152 })(model, contextWith(imageFeeds(2)));
    expect(report.changed.map(({ layer }) => layer)).toEqual(['Conv_1', 'Conv_2', 'Conv_3']);
    expect(reasons(report)).toEqual([
      '432 weights are fewer than a quarter of minWeights for each group of 4608',
    ]);
    const dense = await quantizeStatic()(gemmMlp([8, 8]), contextWith(rowFeeds(8, 4)));
    expect(reasons(dense.report)).toEqual(['64 weights are fewer than minWeights 4096']);
  });

  it('leaves what is quantized, computed or not finite, and inside subgraphs', async () => {
    const model = gemmMlp([16, 32, 16]);
    const context = contextWith(rowFeeds(16, 20));
    const { model: int8 } = await quantizeStatic(every)(model, context);
    const again = await quantizeStatic(every)(int8, context);
    expect(again.model).toBe(int8);
    expect(again.report.changed).toEqual([]);
    expect(reasons(again.report)).toEqual(['both operands are computed', 'both operands are computed']);
    const infinite = [{ x: float32(new Float32Array(32).fill(Infinity), [2, 16]) }];
    const blind = await quantizeStatic(every)(model, contextWith(infinite));
    expect(blind.model).toBe(model);
    expect(reasons(blind.report)[0]).toBe('x is empty or not finite on the calibration requests');
  });

  it('measures what each layer costs and keeps the worst in float32', async () => {
    const model = gemmMlp([24, 24, 24, 24]);
    const context = contextWith(rowFeeds(24, 60, 6));
    const pass = (parameters: object): Promise<{ model: Model; report: PassReport }> =>
      quantizeStatic({ ...every, ...parameters })(model, context);
    const all = await pass({ keepFloat: 0 });
    const costs = all.report.changed.map(
      ({ layer, sensitivity }) => [layer, must(sensitivity, layer)] as const,
    );
    expect(costs).toHaveLength(3);
    const [worst] = [...costs].sort((a, b) => b[1] - a[1]);
    const one = await pass({ keepFloat: 1 });
    expect(one.report.left).toHaveLength(1);
    expect(one.report.left[0]?.layer).toBe(worst?.[0]);
    expect(one.report.left[0]?.reason).toMatch(/^quantized alone it changes the outputs by /);
    const feeds = rowFeeds(24, 60, 6);
    const errors = [await errorOn(model, all.model, feeds), await errorOn(model, one.model, feeds)];
    expect(errors[1]).toBeLessThan(must(errors[0], 'error'));
    // An error between the two: one layer, and no more, has to stay.
    const between = (must(errors[0], 'error') + must(errors[1], 'error')) / 2;
    const enough = await pass({ maxRelativeError: between });
    expect(enough.report.left).toEqual(one.report.left);
    const none = await pass({ maxRelativeError: 0 });
    expect(none.model).toBe(model);
    expect(none.report.left).toHaveLength(3);
  });

  it('gives a Gemm the bias that opset 10 asks for', async () => {
    const random = createRandom(2);
    const builder = new GraphBuilder({ opset: 10 });
    const hidden = builder.op.MatMul(
      builder.input('x', 'float32', ['rows', 16]),
      builder.initializer('w1', normals(random, [16, 24])),
    );
    builder.node('MatMul', [hidden, builder.initializer('w2', normals(random, [24, 8]))], {}, ['y']);
    builder.output('y', 'float32');
    const [model, feeds] = [builder.build(), rowFeeds(16, 50)];
    const { model: small, report } = await quantizeStatic(every)(model, contextWith(feeds));
    expect(report.changed).toHaveLength(2);
    expect((await fusedOperators(small))['QGemm']).toBe(1);
    expect(await errorOn(model, small, feeds)).toBeLessThan(0.03);
  });

  it('passes over layers that nothing reads', async () => {
    const [model, context] = [gemmMlp([16, 16, 4]), contextWith(rowFeeds(16, 20))];
    const wanted = await quantizeStatic(every)(model, context);
    const { model: small, report } = await quantizeStatic(every)(withDeadLayer(model, 16), context);
    expect(Buffer.compare(encodeModel(small), encodeModel(wanted.model))).toBe(0);
    expect(report).toEqual(wanted.report);
  });

  it('asks for calibration requests', async () => {
    const failure = quantizeStatic()(gemmMlp([8, 8]), contextWith()).catch((error: unknown) => error);
    expect(await failure).toMatchObject({
      code: 'RECIPE_INVALID',
      details: { pass: 'quantize-static', field: 'calibration' },
    });
  });

  it('never touches the model it was given, and makes the same bytes again', async () => {
    const model = gemmMlp([16, 16, 4]);
    const before = encodeModel(model);
    const context = contextWith(rowFeeds(16, 40, 2));
    const recipe = parseRecipe([{ pass: 'quantize-static', minWeights: 0, calibration: 'entropy' }]);
    const first = await compressModel(model, recipe, context);
    const second = await compressModel(model, recipe, context);
    expect(Buffer.compare(encodeModel(model), before)).toBe(0);
    expect(Buffer.compare(encodeModel(first.model), encodeModel(second.model))).toBe(0);
    expect(first.report).toEqual(second.report);
  });
});

describe('quantizeStatic on real models', () => {
  testOnRealModels(quantizeStatic({ minWeights: 256 }), {
    'TFBertForQuestionAnswering.onnx': [48, 0.01],
    'attention_past_state.u8s8.onnx': [0, 0],
    'bert_toy_optimized.onnx': [33, 0.03],
    'cnn_mnist_pytorch.onnx': [4, 0.03],
    'dynamic_quantize_matmul_int8.onnx': [0, 0],
    'gpt2_past.onnx': [0, 0],
    'silero_vad_v6.onnx': [0, 0],
    'squeezenet_tensor_input.onnx': [0, 0],
    'tiny_gpt2_beamsearch.onnx': [0, 0],
    'vespa_custom_similarity.onnx': [3, 0.01],
    'vespa_pairwise_ranker.onnx': [2, 0.02],
    'vespa_pca_transformer.onnx': [1, 0.03],
    'vespa_transformer.onnx': [8, 0.03],
  });
});

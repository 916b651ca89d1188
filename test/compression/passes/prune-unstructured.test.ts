import { describe, expect, it } from 'vitest';
import { createRandom, float32, must } from '../../../src/core/index.js';
import type { Tensor, TensorMap } from '../../../src/core/index.js';
import { pruneUnstructured } from '../../../src/compression/passes/prune-unstructured.js';
import type { PruneUnstructuredParameters } from '../../../src/compression/passes/prune-unstructured.js';
import { GraphBuilder, tensorOf } from '../../../src/onnx/index.js';
import type { Model } from '../../../src/onnx/index.js';
import { errorCode, rejectionCode } from '../../support/error-code.js';
import { testOnRealModels } from '../real-models.js';
import { contextWith, denseWeight, gemmMlp, normals, relativeRms, rowFeeds, values } from '../support.js';

const weightsOf = (model: Model, name: string): number[] =>
  Array.from(tensorOf(must(model.graph.initializers.get(name), name)).data, Number);
const zerosIn = (weights: readonly number[]): number => weights.filter((value) => value === 0).length;

/** `x · w`, and `x · vᵀ` as a Gemm. */
function twoLayers(w: Tensor, v: Tensor): Model {
  const builder = new GraphBuilder();
  const x = builder.input('x', 'float32', ['rows', w.dims[0] ?? 0]);
  builder.node('MatMul', [x, builder.initializer('w', w)], {}, ['y']);
  builder.node('Gemm', [x, builder.initializer('v', v)], { transB: 1 }, ['z']);
  builder.output('y', 'float32');
  builder.output('z', 'float32');
  return builder.build();
}

const SMALL = twoLayers(
  float32(Float32Array.of(1, -2, 3, -4, 5, -6, 7, -8), [4, 2]),
  float32(Float32Array.of(9, 0.1, 0.2, 0.3, 8, 7, 6, 5), [2, 4]),
);

describe('pruneUnstructured', () => {
  it('takes its share of each layer, the smallest first', async () => {
    const { model, report } = await pruneUnstructured({ sparsity: 0.375 })(SMALL, contextWith());
    expect(weightsOf(model, 'w/sparse')).toEqual([0, 0, 0, -4, 5, -6, 7, -8]);
    expect(weightsOf(model, 'v/sparse')).toEqual(Array.from(Float32Array.of(9, 0, 0, 0, 8, 7, 6, 5)));
    expect(model.graph.initializers.has('w')).toBe(false);
    expect(weightsOf(SMALL, 'w')).toEqual([1, -2, 3, -4, 5, -6, 7, -8]);
    expect(report.changed[0]).toMatchObject({
      change: '3 of 8 weights are zero (37.5 %)',
      weightsBefore: 8,
      weightsAfter: 8,
      relativeError: expect.closeTo(Math.sqrt(14 / 204), 7) as unknown,
    });
  });

  it('takes its share of all layers, or of each output', async () => {
    const global = await pruneUnstructured({ sparsity: 0.375, allocation: 'global' })(SMALL, contextWith());
    expect(weightsOf(global.model, 'w/sparse')).toEqual([0, 0, 0, -4, 5, -6, 7, -8]);
    expect(zerosIn(weightsOf(global.model, 'v/sparse'))).toBe(3);
    const each = await pruneUnstructured({ sparsity: 0.5, allocation: 'output' })(SMALL, contextWith());
    expect(weightsOf(each.model, 'w/sparse')).toEqual([0, 0, 0, 0, 5, -6, 7, -8]);
    expect(weightsOf(each.model, 'v/sparse')).toEqual(Array.from(Float32Array.of(9, 0, 0, 0.3, 8, 7, 0, 0)));
  });

  it('keeps 2 of 4 along the inputs of each output, also of a transposed Gemm', async () => {
    const { model } = await pruneUnstructured({ pattern: '2:4' })(SMALL, contextWith());
    expect(weightsOf(model, 'w/sparse')).toEqual([0, 0, 0, 0, 5, -6, 7, -8]);
    expect(weightsOf(model, 'v/sparse')).toEqual(Array.from(Float32Array.of(9, 0, 0, 0.3, 8, 7, 0, 0)));
  });

  it('weighs a weight by its input on the calibration requests (Wanda)', async () => {
    // Root mean squares 10, 1, 1, 0.
    const feed = { x: float32(Float32Array.of(10, 1, -1, 0, -10, -1, 1, 0), [2, 4]) };
    const prune = pruneUnstructured({ sparsity: 0.5, importance: 'activation', allocation: 'output' });
    const { model, report } = await prune(SMALL, contextWith([feed]));
    expect(weightsOf(model, 'w/sparse')).toEqual([1, -2, 0, 0, 5, -6, 0, 0]);
    // 9 + 16 = 25 of 100 + 9 + 25 = 134 (outputs 1: 3 · 1; and so on): each weight times its input's size.
    const kept = 100 + 400 + 25 + 36;
    expect(report.changed[0]?.relativeError).toBeCloseTo(Math.sqrt((9 + 16) / (kept + 9 + 16)), 6);
  });

  it('says that zeros save no time, and what is stored', async () => {
    const { report } = await pruneUnstructured({ sparsity: 0.75 })(gemmMlp([64, 64, 64]), contextWith());
    expect(report.notes?.[0]).toContain('do not make this faster');
    const kept = 2 * 1024;
    expect(report.notes?.[1]).toContain('take 32768 bytes as ONNX stores them');
    expect(report.notes?.[1]).toContain(`${1024 + 4 * kept} as a bitmap`);
    expect(report.notes?.[1]).toContain(`${6 * kept} as values with 16-bit gaps`);
  });

  it.each<PruneUnstructuredParameters>([{}, { importance: 'activation' }, { pattern: '2:4' }])(
    'repairs what is lost by %j',
    async (parameters) => {
      const random = createRandom(2);
      const mix = normals(random, [12, 64]).data as Float32Array;
      // Inputs that 12 factors and some noise make.
      const feedOf = (): TensorMap => {
        const x = new Float32Array(400 * 64);
        for (let row = 0; row < 400; row++) {
          const factors = Array.from({ length: 12 }, () => random.normal());
          for (let j = 0; j < 64; j++)
            x[row * 64 + j] = factors.reduce(
              (sum, factor, i) => sum + factor * (mix[i * 64 + j] ?? 0),
              0.3 * random.normal(),
            );
        }
        return { x: float32(x, [400, 64]) };
      };
      const [feed, fresh] = [feedOf(), feedOf()];
      const model = twoLayers(denseWeight(random, 64, 32), denseWeight(random, 32, 64));
      const context = contextWith([feed]);
      const plain = await pruneUnstructured(parameters)(model, context);
      const fitted = await pruneUnstructured({ ...parameters, repair: true })(model, context);
      for (const [index, output] of ['y', 'z'].entries()) {
        const errorOn = async (on: TensorMap, { model: sparse }: { model: Model }): Promise<number> =>
          relativeRms(await values(model, on, output), await values(sparse, on, output));
        expect(fitted.report.changed[index]?.relativeError).toBeCloseTo(await errorOn(feed, fitted), 4);
        expect(await errorOn(fresh, fitted)).toBeLessThan(0.5 * (await errorOn(fresh, plain)));
      }
      for (const name of ['w/sparse', 'v/sparse']) {
        const zero = weightsOf(plain.model, name).map((value) => value === 0);
        expect(weightsOf(fitted.model, name).map((value) => value === 0)).toEqual(zero);
      }
    },
  );

  it('prunes shared weights once, and leaves those that something else reads', async () => {
    const builder = new GraphBuilder();
    const { op } = builder;
    const x = builder.input('x', 'float32', ['rows', 8]);
    const ids = builder.input('ids', 'int64', ['rows']);
    const random = createRandom(4);
    const shared = builder.initializer('shared', denseWeight(random, 8, 8));
    const tied = builder.initializer('tied', denseWeight(random, 8, 8));
    const turned = op.Transpose(tied, { perm: [1, 0] });
    const both = builder.initializer('both', denseWeight(random, 8, 8));
    const first = op.MatMul(op.Tanh(op.MatMul(x, shared)), shared);
    const second = op.Add(op.MatMul(first, turned), op.Gather(tied, ids));
    const third = op.Gemm(op.MatMul(second, both), both, { transB: 1 });
    builder.output(third, 'float32');
    const model = builder.build();
    const { model: sparse, report } = await pruneUnstructured()(model, contextWith());
    expect(report.changed).toHaveLength(2);
    expect([...sparse.graph.initializers.keys()].sort()).toEqual(['both', 'shared/sparse', 'tied']);
    expect(report.left.map(({ reason }) => reason).sort()).toEqual([
      'the weights both are used in two directions',
      'the weights both are used in two directions',
      expect.stringMatching(/^the weights tied are also read by .*Gather/),
    ]);
  });

  it('prunes convolutions where asked, and leaves what is excluded', async () => {
    const builder = new GraphBuilder();
    const x = builder.input('x', 'float32', [1, 4, 5, 5]);
    const kernel = builder.initializer('kernel', normals(createRandom(5), [3, 4, 3, 3]));
    const [features = ''] = builder.node('Conv', [x, kernel], {});
    const dense = builder.initializer('dense', denseWeight(createRandom(6), 3, 7));
    builder.output(
      builder.op.MatMul(builder.op.Transpose(features, { perm: [0, 2, 3, 1] }), dense),
      'float32',
    );
    const model = builder.build();
    const prune = async (parameters: PruneUnstructuredParameters): Promise<[string[], number]> => {
      const { model: sparse, report } = await pruneUnstructured(parameters)(model, contextWith());
      const names = [...sparse.graph.initializers.keys()];
      const zeros = names.includes('kernel/sparse') ? zerosIn(weightsOf(sparse, 'kernel/sparse')) : 0;
      return [report.left.map(({ reason }) => reason), zeros];
    };
    expect(await prune({})).toEqual([[], 0]);
    expect(await prune({ conv: true, exclude: ['den*'] })).toEqual([['excluded by name'], 54]);
    expect(await prune({ conv: true, allocation: 'output', sparsity: 0.25 })).toEqual([[], 27]);
    const { model: sparse } = await pruneUnstructured({ conv: true, pattern: '1:4' })(model, contextWith());
    const left = weightsOf(sparse, 'kernel/sparse');
    for (let filter = 0; filter < 3; filter++)
      for (let at = 0; at < 9; at++)
        expect(zerosIn([0, 1, 2, 3].map((channel) => left[filter * 36 + channel * 9 + at] ?? NaN))).toBe(3);
  });

  it('refuses parameters that contradict each other, and activations without requests', async () => {
    for (const parameters of [
      { pattern: '4:2' },
      { pattern: '2:4:8' },
      { pattern: 'half' },
      { pattern: '1:65' },
      { pattern: '2:4', sparsity: 0.5 },
      { pattern: '2:4', allocation: 'global' },
    ] as const)
      expect(errorCode(() => pruneUnstructured(parameters))).toBe('RECIPE_INVALID');
    for (const parameters of [{ importance: 'activation' }, { repair: true }, { exclude: ['none'] }] as const)
      expect(await rejectionCode(pruneUnstructured(parameters)(SMALL, contextWith()))).toBe('RECIPE_INVALID');
    const feed = { x: float32(new Float32Array(8).fill(Infinity), [2, 4]) };
    for (const parameters of [{ importance: 'activation' }, { repair: true }] as const)
      expect(await rejectionCode(pruneUnstructured(parameters)(SMALL, contextWith([feed])))).toBe(
        'GRAPH_UNSUPPORTED',
      );
  });

  it('reports how far it is', async () => {
    const told: string[] = [];
    const context = {
      ...contextWith(rowFeeds(8, 20)),
      progress: (done: number, total: number) => {
        told.push(`${done}/${total}`);
      },
    };
    await pruneUnstructured({ importance: 'activation' })(gemmMlp([8, 8, 1]), context);
    expect(told).toEqual(['0/2', '1/2', '0/2', '1/2']);
  });
});

describe('on models from other exporters', () => {
  testOnRealModels(pruneUnstructured({ sparsity: 0.3, conv: true }), {
    'TFBertForQuestionAnswering.onnx': [145, 1.2],
    'attention_past_state.u8s8.onnx': [0, 0],
    'bert_toy_optimized.onnx': [33, 0.15],
    'cnn_mnist_pytorch.onnx': [4, 0.1],
    'dynamic_quantize_matmul_int8.onnx': [0, 0],
    'gpt2_past.onnx': [48, 0.2],
    'silero_vad_v6.onnx': [0, 0],
    'squeezenet_tensor_input.onnx': [26, 0.3],
    'tiny_gpt2_beamsearch.onnx': [0, 0],
    'vespa_custom_similarity.onnx': [4, 0.3],
    'vespa_pairwise_ranker.onnx': [3, 0.5],
    'vespa_pca_transformer.onnx': [0, 0],
    'vespa_transformer.onnx': [8, 0.2],
  });
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRandom, float32 } from '../../../src/core/index.js';
import type { Tensor, TensorMap } from '../../../src/core/index.js';
import { lowRank, modelStats, multiplyAddsPer100Rows } from '../../../src/compression/index.js';
import { GraphBuilder } from '../../../src/onnx/index.js';
import type { Model } from '../../../src/onnx/index.js';
import { openSession } from '../../../src/runtime/index.js';
import { errorCode, rejectionCode } from '../../support/error-code.js';
import { testOnRealModels } from '../real-models.js';
import {
  contextWith,
  gemmMlp,
  maxDifference,
  normals,
  ranker,
  rankerFeeds,
  relativeRms,
  rowFeeds,
  values,
} from '../support.js';

/** `[inputs, outputs]` of the given rank. */
function productOf(inputs: number, outputs: number, rank: number, seed: number): Tensor {
  const random = createRandom(seed);
  const left = normals(random, [inputs, rank]).data as Float32Array;
  const right = normals(random, [rank, outputs]).data as Float32Array;
  const data = new Float32Array(inputs * outputs);
  for (let i = 0; i < inputs; i++)
    for (let j = 0; j < outputs; j++)
      for (let p = 0; p < rank; p++)
        data[i * outputs + j] =
          (data[i * outputs + j] ?? 0) + (left[i * rank + p] ?? 0) * (right[p * outputs + j] ?? 0);
  return float32(data, [inputs, outputs]);
}

function oneLayer(weight: Tensor, op: 'MatMul' | 'Gemm', seed = 1): Model {
  const builder = new GraphBuilder();
  const [inputs = 0, outputs = 0] = weight.dims;
  const x = builder.input('x', 'float32', ['rows', inputs]);
  const operands = [x, builder.initializer('w', weight)];
  if (op === 'Gemm') operands.push(builder.initializer('b', normals(createRandom(seed), [outputs])));
  builder.node(op, operands, {}, ['y']);
  builder.output('y', 'float32');
  return builder.build();
}

/** Feeds whose columns fall off steeply, as real activations do, with columns mixed. */
function unevenFeeds(width: number, rows: number, seed: number): readonly TensorMap[] {
  const random = createRandom(seed);
  const basis = normals(random, [width, width]).data as Float32Array;
  const data = new Float32Array(rows * width);
  for (let r = 0; r < rows; r++)
    for (let k = 0; k < width; k++) {
      const size = random.normal() * 0.7 ** k;
      for (let j = 0; j < width; j++)
        data[r * width + j] = (data[r * width + j] ?? 0) + size * (basis[k * width + j] ?? 0);
    }
  return [{ x: float32(data, [rows, width]) }];
}

describe('lowRank', () => {
  it('is exact for weights that have the rank', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 1000 }),
        fc.constantFrom('MatMul', 'Gemm'),
        async (seed, op) => {
          const model = oneLayer(productOf(24, 32, 6, seed), op, seed);
          const feeds = rowFeeds(24, 64, 1, seed);
          const { model: cut, report } = await lowRank({ rankShare: 0.25, minWeights: 0 })(
            model,
            contextWith(feeds),
          );
          expect(report.changed).toMatchObject([{ weightsBefore: 768, weightsAfter: 6 * (24 + 32) }]);
          const reference = await values(model, feeds[0] ?? {});
          expect(relativeRms(reference, await values(cut, feeds[0] ?? {}))).toBeLessThan(1e-5);
        },
      ),
      { numRuns: 8 },
    );
  });

  it('reports the error that the outputs have on the calibration requests', async () => {
    const model = oneLayer(normals(createRandom(6), [40, 24]), 'MatMul');
    const feeds = unevenFeeds(40, 300, 2);
    const { model: cut, report } = await lowRank({ rankShare: 0.2, minWeights: 0 })(
      model,
      contextWith(feeds),
    );
    const [feed = {}] = feeds;
    const error = relativeRms(await values(model, feed), await values(cut, feed));
    expect(error).toBeGreaterThan(0.001);
    expect(Math.abs((report.changed[0]?.relativeError ?? NaN) / error - 1)).toBeLessThan(0.01);
  });

  it.each([
    [40, 24],
    [24, 40],
  ])('errs far less on uneven activations than a cut by weights alone: %i to %i', async (inputs, outputs) => {
    const model = oneLayer(normals(createRandom(6), [inputs, outputs]), 'MatMul');
    const [calibration = {}] = unevenFeeds(inputs, 400, 2);
    const context = contextWith([calibration]);
    const aware = await lowRank({ rankShare: 0.25, minWeights: 0 })(model, context);
    const blind = await lowRank({ rankShare: 0.25, minWeights: 0, basis: 'weights' })(model, contextWith());
    const reference = await values(model, calibration);
    const awareError = relativeRms(reference, await values(aware.model, calibration));
    const blindError = relativeRms(reference, await values(blind.model, calibration));
    expect(awareError).toBeLessThan(blindError / 2);
  });

  it('finds the least rank that retains the energy', async () => {
    // Singular values 4, 2, 1 and 0.5 on inputs without preference: energies 16, 4, 1, 0.25 of 21.25.
    const diagonal = new Float32Array(64);
    [4, 2, 1, 0.5].forEach((value, i) => (diagonal[i * 9] = value));
    const model = oneLayer(float32(diagonal, [8, 8]), 'MatMul');
    const ranks = await Promise.all(
      [0.7, 0.8, 0.95].map(async (retainedEnergy) => {
        const { report } = await lowRank({ retainedEnergy, minWeights: 0, basis: 'weights' })(
          model,
          contextWith(),
        );
        return [report.changed[0]?.change, report.changed[0]?.relativeError];
      }),
    );
    expect(ranks).toEqual([
      ['8 × 8 as 8 × 1 × 8', expect.closeTo(Math.sqrt(5.25 / 21.25), 6)],
      ['8 × 8 as 8 × 2 × 8', expect.closeTo(Math.sqrt(1.25 / 21.25), 6)],
      ['8 × 8 as 8 × 3 × 8', expect.closeTo(Math.sqrt(0.25 / 21.25), 6)],
    ]);
  });

  it('leaves layers that would not shrink', async () => {
    const model = gemmMlp([16, 16, 1]);
    const { model: same, report } = await lowRank({ rankShare: 0.6, minWeights: 0 })(
      model,
      contextWith(rowFeeds(16, 8)),
    );
    expect(same).toBe(model);
    expect(report.left.map(({ reason }) => reason)).toEqual([
      'no rank needs fewer weights than the layer has',
      'rank 10 would need 320 weights, the layer has 256',
    ]);
  });

  it('keeps shared weights shared', async () => {
    const random = createRandom(4);
    const builder = new GraphBuilder();
    const x = builder.input('x', 'float32', ['rows', 16]);
    const weight = builder.initializer('w', productOf(16, 16, 3, 7));
    const first = builder.op.Tanh(builder.op.MatMul(x, weight));
    builder.node('MatMul', [first, weight], {}, ['y']);
    builder.output('y', 'float32');
    const model = builder.build();
    const feed = { x: normals(random, [50, 16]) };
    const { model: cut, report } = await lowRank({ rankShare: 0.25, minWeights: 0 })(
      model,
      contextWith([feed]),
    );
    expect(report.changed).toHaveLength(2);
    expect([...cut.graph.initializers.keys()].sort()).toEqual(['w/left', 'w/right']);
    expect(maxDifference(await values(model, feed), await values(cut, feed))).toBeLessThan(1e-3);
  });

  it('factors the cross layers and the deep branch of a ranker', async () => {
    const model = ranker();
    const feeds = rankerFeeds(5);
    const { model: cut, report } = await lowRank({ rankShare: 0.3, minWeights: 0 })(
      model,
      contextWith(feeds),
    );
    expect(report.changed).toHaveLength(5);
    expect(cut.graph.initializers.get('items.table')).toBe(model.graph.initializers.get('items.table'));
    const [fresh = {}] = rankerFeeds(1, 100, 77);
    const error = relativeRms(await values(model, fresh, 'score'), await values(cut, fresh, 'score'));
    expect(error).toBeLessThan(0.7);
  });

  it('asks for calibration requests, and for one way to choose the rank', async () => {
    expect(await rejectionCode(lowRank()(gemmMlp([8, 8, 8]), contextWith()))).toBe('RECIPE_INVALID');
    expect(errorCode(() => lowRank({ rankShare: 0.5, retainedEnergy: 0.9 }))).toBe('RECIPE_INVALID');
    expect(errorCode(() => lowRank({ weightShare: 0.5, multiplyAddShare: 0.5 }))).toBe('RECIPE_INVALID');
    expect(errorCode(() => lowRank({ rankShare: 0.5, allocation: 'energy' }))).toBe('RECIPE_INVALID');
    expect(errorCode(() => lowRank({ allocation: 'sensitivity', basis: 'weights' }))).toBe('RECIPE_INVALID');
  });

  it('leaves layers whose weights or activations are not finite', async () => {
    const feed = { x: float32(new Float32Array(32).fill(Infinity), [2, 16]) };
    const model = gemmMlp([16, 24, 16]);
    const { model: same, report } = await lowRank({ minWeights: 0 })(model, contextWith([feed]));
    expect(same).toBe(model);
    const reason = 'its weights, or its inputs on the calibration requests, are not finite';
    expect(report.left).toEqual([
      { layer: 'Gemm', op: 'Gemm', reason },
      { layer: 'Gemm_1', op: 'Gemm', reason },
    ]);
  });

  it('leaves what is excluded, small, or read by something else', async () => {
    const random = createRandom(4);
    const builder = new GraphBuilder();
    const x = builder.input('x', 'float32', ['rows', 16]);
    const id = builder.input('id', 'int64', ['rows']);
    const tied = builder.initializer('tied', normals(random, [16, 24]));
    const other = builder.initializer('other', normals(random, [16, 24]));
    const rows = builder.op.Gather(builder.op.Transpose(tied, { perm: [1, 0] }), id);
    const own = builder.op.MatMul(x, builder.initializer('own', normals(random, [16, 24])));
    const sum = builder.op.Add(builder.op.MatMul(x, tied), builder.op.MatMul(x, other));
    const wide = builder.op.MatMul(rows, builder.initializer('small', normals(random, [16, 2])));
    builder.node('Concat', [builder.op.Add(own, sum), wide], { axis: 1 }, ['y']);
    builder.output('y', 'float32');
    const model = builder.build();
    const pass = lowRank({ rankShare: 0.25, minWeights: 100, basis: 'weights', exclude: ['oth*'] });
    const { model: cut, report } = await pass(model, contextWith());
    expect(report.changed.map(({ layer }) => layer)).toEqual(['MatMul']);
    expect(report.left.map(({ layer, reason }) => [layer, reason])).toEqual([
      ['MatMul_2', 'excluded by name'],
      ['MatMul_3', '32 weights are fewer than minWeights 100'],
      ['MatMul_1', 'something else reads its weights too, which would stay beside the factors'],
    ]);
    expect(cut.graph.initializers.get('tied')).toBe(model.graph.initializers.get('tied'));
  });

  it('factors a Gemm with everything transposed and a bias of its own shape', async () => {
    const random = createRandom(8);
    const builder = new GraphBuilder();
    const x = builder.input('x', 'float32', ['rows', 24]);
    const bias = builder.initializer('b', normals(random, [1, 32]));
    const weight = productOf(32, 24, 5, 3);
    const attributes = { transB: 1, alpha: 0.5, beta: 3 };
    builder.node('Gemm', [x, builder.initializer('w', weight), bias], attributes, ['y']);
    builder.output('y', 'float32');
    const [feed = {}] = rowFeeds(24, 40);
    const pass = lowRank({ retainedEnergy: 0.999999, minWeights: 0 });
    const { model: cut, report } = await pass(builder.build(), contextWith([feed]));
    expect(report.changed).toMatchObject([{ change: '24 × 32 as 24 × 6 × 32' }]);
    const reference = await values(builder.build(), feed);
    expect(relativeRms(reference, await values(cut, feed))).toBeLessThan(1e-5);
  });
});

/** Layers of one size whose weights have a flat, a falling and a steep spectrum, one behind the other. */
function unequalMlp(): Model {
  const random = createRandom(2);
  const builder = new GraphBuilder();
  let value = builder.input('x', 'float32', ['rows', 32]);
  [1, 0.85, 0.5].forEach((decay, index) => {
    const left = normals(random, [32, 32]).data as Float32Array;
    const right = normals(random, [32, 32]).data as Float32Array;
    const weight = new Float32Array(32 * 32);
    for (let i = 0; i < 32; i++)
      for (let j = 0; j < 32; j++)
        for (let p = 0; p < 32; p++)
          weight[i * 32 + j] =
            (weight[i * 32 + j] ?? 0) +
            ((left[i * 32 + p] ?? 0) * decay ** p * (right[p * 32 + j] ?? 0)) / 32;
    value = builder.op.Tanh(
      builder.op.MatMul(value, builder.initializer(`w${index}`, float32(weight, [32, 32]))),
    );
  });
  builder.node('Identity', [value], {}, ['y']);
  builder.output('y', 'float32');
  return builder.build();
}

describe('lowRank under a budget', () => {
  it.each(['weightShare', 'multiplyAddShare'] as const)('keeps within %s exactly', async (rule) => {
    const model = ranker();
    const context = contextWith(rankerFeeds(3));
    const { denseWeights, tableWeights } = modelStats(model);
    const work = await multiplyAddsPer100Rows(model, rankerFeeds(1)[0] ?? {}, openSession);
    for (const allocation of ['uniform', 'energy', 'sensitivity'] as const)
      for (const share of [0.45, 0.8]) {
        const { model: cut, report } = await lowRank({ [rule]: share, allocation, minWeights: 0 })(
          model,
          context,
        );
        // The head has one output, which no rank makes smaller.
        const head = 64;
        const after = modelStats(cut);
        const before = denseWeights - head;
        expect(after.tableWeights).toBe(tableWeights);
        const workAfter = await multiplyAddsPer100Rows(cut, rankerFeeds(1)[0] ?? {}, openSession);
        const spent =
          rule === 'weightShare'
            ? (after.denseWeights - head) / before
            : (workAfter - 100 * head) / (work - 100 * head);
        expect(spent).toBeLessThanOrEqual(share);
        expect(spent).toBeGreaterThan(share - 0.15);
        const saved = report.changed.reduce(
          (sum, change) => sum + change.weightsBefore - change.weightsAfter,
          0,
        );
        expect(saved).toBe(denseWeights - after.denseWeights);
      }
  });

  it('loses less where ranks follow energy or sensitivity than with the same share for all', async () => {
    const model = unequalMlp();
    const feeds = rowFeeds(32, 200);
    const [fresh = {}] = rowFeeds(32, 200, 1, 99);
    const reference = await values(model, fresh);
    const errors: Record<string, number> = {};
    for (const allocation of ['uniform', 'energy', 'sensitivity'] as const) {
      const pass = lowRank({ weightShare: 0.6, allocation, minWeights: 0 });
      const { model: cut } = await pass(model, contextWith(feeds));
      errors[allocation] = relativeRms(reference, await values(cut, fresh));
    }
    expect(errors['energy']).toBeLessThan(0.75 * (errors['uniform'] ?? 0));
    expect(errors['sensitivity']).toBeLessThan(0.75 * (errors['uniform'] ?? 0));
  });

  it('refuses a budget that cannot be reached, and says which can', async () => {
    const failure = lowRank({ weightShare: 0.01, minWeights: 0 })(unequalMlp(), contextWith(rowFeeds(32, 9)));
    // Rank 4 of 32 × 32.
    await expect(failure).rejects.toMatchObject({
      code: 'RECIPE_INVALID',
      details: { pass: 'low-rank', allowed: 'at least 0.25' },
    });
  });

  it('tells how far it is', async () => {
    const told: string[] = [];
    const context = {
      ...contextWith(rowFeeds(32, 9)),
      progress: (done: number, total: number, detail: string) => told.push(`${done} of ${total} ${detail}`),
    };
    await lowRank({ minWeights: 0 })(unequalMlp(), context);
    expect(told).toContain('1 of 3 spectrum: MatMul_1');
    expect(told).toContain('2 of 3 low rank: MatMul_2');
  });
});

describe('lowRank on models from other exporters', () => {
  testOnRealModels(lowRank({ minWeights: 0 }), {
    'TFBertForQuestionAnswering.onnx': [117, 1],
    // Weights are inputs.
    'attention_past_state.u8s8.onnx': [0, 0],
    'bert_toy_optimized.onnx': [32, 1],
    'cnn_mnist_pytorch.onnx': [1, 1],
    'dynamic_quantize_matmul_int8.onnx': [0, 0],
    'gpt2_past.onnx': [42, 1],
    // Everything is inside the branches of an If.
    'silero_vad_v6.onnx': [0, 0],
    'squeezenet_tensor_input.onnx': [1, 1],
    'tiny_gpt2_beamsearch.onnx': [0, 0],
    'vespa_custom_similarity.onnx': [1, 1],
    'vespa_pairwise_ranker.onnx': [2, 1],
    'vespa_pca_transformer.onnx': [0, 0],
    'vespa_transformer.onnx': [8, 1],
  });
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compressModel, pruneHeads } from '../../../src/compression/index.js';
import { createRandom, float32, int64, must } from '../../../src/core/index.js';
import type { Random, TensorMap } from '../../../src/core/index.js';
import { GraphBuilder } from '../../../src/onnx/index.js';
import type { Model } from '../../../src/onnx/index.js';
import { buildTowerModel } from '../../../src/training/index.js';
import { TOWER, randomRetriever } from '../../training/architectures/tiny-models.js';
import { testOnRealModels } from '../real-models.js';
import { contextWith, denseWeight, maxDifference, normals, relativeRms, run, values } from '../support.js';

const WIDTH = 12;
const HEADS = 4;
const SIZE = WIDTH / HEADS;

interface Attention {
  /** Spells the projections: the parts `[batch, heads, length, size]`, keys already transposed. */
  readonly split: (
    builder: GraphBuilder,
    x: string,
    weights: readonly Float32Array[],
  ) => readonly [string, string, string];
}

function dense(builder: GraphBuilder, x: string, weight: Float32Array, inputs: number): string {
  return builder.op.MatMul(x, builder.constant(float32(weight, [inputs, weight.length / inputs])));
}

/** `[batch, length, width]` as heads. */
function headsOf({ op }: GraphBuilder, x: string, perm: readonly number[]): string {
  return op.Transpose(op.Reshape(x, [0, 0, HEADS, SIZE]), { perm });
}

/** Spellings of the projections that exporters write. */
const SPELLINGS: Readonly<Record<string, Attention['split']>> = {
  'three layers': (builder, x, weights) => {
    const [q = '', k = '', v = ''] = weights.map((weight) => dense(builder, x, weight, WIDTH));
    const query = headsOf(builder, q, [0, 2, 1, 3]);
    return [query, headsOf(builder, k, [0, 2, 3, 1]), headsOf(builder, v, [0, 2, 1, 3])];
  },
  'one layer and a Split': (builder, x, weights) => {
    const joined = new Float32Array(WIDTH * 3 * WIDTH);
    for (let row = 0; row < WIDTH; row++)
      weights.forEach((weight, part) =>
        joined.set(weight.subarray(row * WIDTH, (row + 1) * WIDTH), (row * 3 + part) * WIDTH),
      );
    const all = dense(builder, x, joined, WIDTH);
    const [q = '', k = '', v = ''] = builder.node('Split', [all, [WIDTH, WIDTH, WIDTH]], { axis: -1 }, 3);
    const query = headsOf(builder, q, [0, 2, 1, 3]);
    return [query, headsOf(builder, k, [0, 2, 3, 1]), headsOf(builder, v, [0, 2, 1, 3])];
  },
  'shapes computed from shapes': (builder, x, weights) => {
    const { op } = builder;
    const heads = (value: string, perm: readonly number[]): string => {
      const shape = op.Shape(value);
      const size = op.Div(op.Slice(shape, [2], [3]), builder.constant(int64([HEADS])));
      const lengths = op.Concat(op.Slice(shape, [0], [2]), builder.constant(int64([HEADS])), size, {
        axis: 0,
      });
      return op.Transpose(op.Reshape(value, lengths), { perm });
    };
    const [q = '', k = '', v = ''] = weights.map((weight) => dense(builder, x, weight, WIDTH));
    return [heads(q, [0, 2, 1, 3]), heads(k, [0, 2, 3, 1]), heads(v, [0, 2, 1, 3])];
  },
};

/**
 * Attention over `x[batch, length, WIDTH]` and a dense layer. The last two heads give nothing (their values are zero) or
 * repeat the first two.
 */
function attention(spelling: string, redundant: 'dead' | 'copies', seed: number): Model {
  const random = createRandom(seed);
  const builder = new GraphBuilder();
  const { op } = builder;
  const x = builder.input('x', 'float32', ['batch', 'length', WIDTH]);
  const weights = [0, 1, 2].map(() => denseWeight(random, WIDTH, WIDTH).data as Float32Array);
  weights.forEach((weight, part) => {
    for (let row = 0; row < WIDTH; row++)
      for (let column = WIDTH / 2; column < WIDTH; column++) {
        const copied = redundant === 'copies' ? (weight[row * WIDTH + column - WIDTH / 2] ?? 0) : 0;
        if (redundant === 'copies' || part === 2) weight[row * WIDTH + column] = copied;
      }
  });
  const [query, key, value] = must(SPELLINGS[spelling], spelling)(builder, x, weights);
  const logits = op.Mul(op.MatMul(query, key), 1 / Math.sqrt(SIZE));
  const mixed = op.MatMul(op.Softmax(logits, { axis: -1 }), value);
  const merged = op.Reshape(op.Transpose(mixed, { perm: [0, 2, 1, 3] }), [0, 0, -1]);
  const out = op.MatMul(merged, builder.initializer('out', denseWeight(random, WIDTH, 5)));
  builder.node('Add', [out, builder.constant(normals(random, [5]))], {}, ['y']);
  builder.output('y', 'float32');
  return builder.build();
}

function feeds(count: number, seed: number): TensorMap[] {
  const random: Random = createRandom(seed);
  return Array.from({ length: count }, (_, index) => ({ x: normals(random, [2 + index, 5, WIDTH]) }));
}

describe('pruneHeads', () => {
  it.each(Object.keys(SPELLINGS).flatMap((name) => [[name, 'dead'] as const, [name, 'copies'] as const]))(
    'loses nothing when the heads it removes are redundant: %s, %s',
    async (spelling, redundant) => {
      await fc.assert(
        fc.asyncProperty(fc.integer({ min: 1, max: 10_000 }), async (seed) => {
          const model = attention(spelling, redundant, seed);
          const { model: pruned, report } = await pruneHeads({ ridge: 1e-8 })(
            model,
            contextWith(feeds(4, seed)),
          );
          expect(report.changed.map(({ change }) => change)).toEqual([
            expect.stringContaining('4 heads to 2'),
          ]);
          expect(must(report.changed[0], 'change')).toMatchObject({
            weightsBefore: 3 * WIDTH * WIDTH + WIDTH * 5,
            weightsAfter: (3 * WIDTH * WIDTH + WIDTH * 5) / 2,
          });
          const [, , , fresh = {}] = feeds(4, seed + 1);
          expect(maxDifference(await values(model, fresh), await values(pruned, fresh))).toBeLessThan(1e-4);
        }),
        { numRuns: 3 },
      );
    },
  );

  it.each(['repair', 'activation', 'taylor', 'magnitude'] as const)(
    'finds dead heads by %s',
    async (importance) => {
      const model = attention('three layers', 'dead', 3);
      const { model: pruned } = await pruneHeads({ importance })(model, contextWith(feeds(3, 1)));
      const [fresh = {}] = feeds(1, 2);
      // The ridge alone moves weights a little.
      expect(relativeRms(await values(model, fresh), await values(pruned, fresh))).toBeLessThan(0.01);
    },
  );

  it('refits the output projection to the heads that are gone', async () => {
    const model = attention('three layers', 'copies', 5);
    const context = contextWith(feeds(6, 1));
    const errors: number[] = [];
    for (const repair of [true, false]) {
      const { model: pruned, report } = await pruneHeads({ share: 0.75, repair })(model, context);
      const [fresh = {}] = feeds(1, 9);
      const error = relativeRms(await values(model, fresh), await values(pruned, fresh));
      // Reported with the output layer's bias, and on other requests.
      expect(must(report.changed[0], 'change').relativeError / error).toBeCloseTo(1, 0);
      errors.push(error);
    }
    expect(errors[0]).toBeLessThan(0.7 * (errors[1] ?? 0));
  });

  it('leaves neurons, and heads whose keys come from an input', async () => {
    const random = createRandom(1);
    const builder = new GraphBuilder();
    const { op } = builder;
    const x = builder.input('x', 'float32', [2, 5, WIDTH]);
    const past = builder.input('past', 'float32', [2, HEADS, SIZE, 3]);
    const project = (): string =>
      dense(builder, x, denseWeight(random, WIDTH, WIDTH).data as Float32Array, WIDTH);
    const key = op.Concat(past, headsOf(builder, project(), [0, 2, 3, 1]), { axis: 3 });
    const logits = op.MatMul(headsOf(builder, project(), [0, 2, 1, 3]), key);
    const sums = op.ReduceMean(op.Softmax(logits, { axis: -1 }), [3], { keepdims: 0 });
    const flat = op.Reshape(op.Transpose(sums, { perm: [0, 2, 1] }), [-1, HEADS]);
    const hidden = op.Relu(dense(builder, flat, denseWeight(random, HEADS, 8).data as Float32Array, HEADS));
    builder.node(
      'Identity',
      [dense(builder, hidden, denseWeight(random, 8, 2).data as Float32Array, 8)],
      {},
      ['y'],
    );
    builder.output('y', 'float32');
    const model = builder.build();
    const feed = { x: normals(random, [2, 5, WIDTH]), past: normals(random, [2, HEADS, SIZE, 3]) };
    const { model: same, report } = await pruneHeads()(model, contextWith([feed]));
    expect(same).toBe(model);
    const reasons = report.left.map(({ reason }) => reason).join('\n');
    expect(reasons).toMatch(/\(Concat\) joins along another axis/);
    expect(reasons).toMatch(/multiplies its neurons with Concat_out/);
    expect(reasons).toMatch(/its neurons are no attention heads/);
  });

  it('prunes heads and feed-forward neurons of the reference tower, for any number of requests', async () => {
    const model = buildTowerModel(TOWER, randomRetriever(TOWER, 4));
    const random = createRandom(2);
    const request = (rows: number): TensorMap => ({
      history: int64(
        Array.from({ length: rows * TOWER.maxLength }, () => 1 + random.integer(19)),
        [rows, TOWER.maxLength],
      ),
      period: int64(Array.from({ length: rows }, () => random.integer(TOWER.periods))),
    });
    const recipe = [{ pass: 'prune-heads' }, { pass: 'prune-structured' }] as const;
    const { model: small, report } = await compressModel(
      model,
      recipe,
      contextWith([request(3), request(5)]),
    );
    const changes = report.steps.map(({ changed }) =>
      changed.map(({ change }) => change.replace(/[;,].*/, '')).sort(),
    );
    expect(changes).toEqual([
      ['2 heads to 1', '2 heads to 1'],
      // With one head left, what it mixes are neurons between the values and the output projection.
      ['32 neurons to 16', '32 neurons to 16', '4 neurons to 2', '4 neurons to 2'],
    ]);
    for (const rows of [1, 7]) {
      const [output] = Object.values(await run(small, request(rows)));
      expect(output?.dims[0]).toBe(rows);
      expect(Array.from(must(output, 'output').data, Number).every(Number.isFinite)).toBe(true);
    }
  });
});

describe('on models from other exporters', () => {
  // Computed shapes, masks, one projection for all three, and batches merged with heads; GPT-2 concatenates past keys.
  testOnRealModels(
    pruneHeads(),
    {
      'TFBertForQuestionAnswering.onnx': [24, 0.01],
      'attention_past_state.u8s8.onnx': [0, 0],
      'bert_toy_optimized.onnx': [5, 0.005],
      'cnn_mnist_pytorch.onnx': [0, 0],
      'dynamic_quantize_matmul_int8.onnx': [0, 0],
      'gpt2_past.onnx': [0, 0],
      'silero_vad_v6.onnx': [0, 0],
      'squeezenet_tensor_input.onnx': [0, 0],
      'tiny_gpt2_beamsearch.onnx': [0, 0],
      'vespa_custom_similarity.onnx': [0, 0],
      'vespa_pairwise_ranker.onnx': [0, 0],
      'vespa_pca_transformer.onnx': [0, 0],
      'vespa_transformer.onnx': [2, 0.05],
    },
    20,
  );
});

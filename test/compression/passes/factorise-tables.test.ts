import { describe, expect, it } from 'vitest';
import { createRandom, float32, int64, must } from '../../../src/core/index.js';
import type { Tensor, TensorMap } from '../../../src/core/index.js';
import { modelStats } from '../../../src/compression/index.js';
import { factoriseTables } from '../../../src/compression/passes/factorise-tables.js';
import { GraphBuilder } from '../../../src/onnx/index.js';
import type { Model } from '../../../src/onnx/index.js';
import { errorCode, rejectionCode } from '../../support/error-code.js';
import { testOnRealModels } from '../real-models.js';
import { contextWith, maxDifference, normals, ranker, rankerFeeds, relativeRms, values } from '../support.js';

const ROWS = 60;
const WIDTH = 16;

/** `[rows, width]` of the given rank. */
function tableOfRank(rank: number, seed: number, rows = ROWS, width = WIDTH): Tensor {
  const random = createRandom(seed);
  const left = normals(random, [rows, rank]).data as Float32Array;
  const right = normals(random, [rank, width]).data as Float32Array;
  const data = Float32Array.from({ length: rows * width }, (_, at) => {
    let sum = 0;
    for (let p = 0; p < rank; p++)
      sum += (left[Math.floor(at / width) * rank + p] ?? 0) * (right[p * width + (at % width)] ?? 0);
    return sum;
  });
  return float32(data, [rows, width]);
}

type Behind = (builder: GraphBuilder, rows: string) => string;

/** One lookup of `table` by `ids` `[n, m]`, and what comes behind it. */
function lookupModel(table: Tensor, behind: Behind): Model {
  const builder = new GraphBuilder();
  const ids = builder.input('ids', 'int64', ['n', 'm']);
  const rows = builder.op.Gather(builder.initializer('table', table), ids);
  builder.node('Identity', [behind(builder, rows)], {}, ['y']);
  builder.output('y', 'float32');
  return builder.build();
}

/** Ids of `[5, 8]`, negative ones too. */
function idFeeds(seed: number, count = 4, rows = ROWS): TensorMap[] {
  const random = createRandom(seed);
  return Array.from({ length: count }, () => ({
    ids: int64(
      Array.from({ length: 40 }, () => random.integer(rows) - (random.integer(2) === 0 ? 0 : rows)),
      [5, 8],
    ),
  }));
}

const asTheyAre: Behind = (builder, rows) => builder.op.Tanh(rows);

describe('factoriseTables', () => {
  it.each(['activations', 'weights'] as const)(
    'is exact for a table that has the rank: %s',
    async (basis) => {
      const model = lookupModel(tableOfRank(4, 1), asTheyAre);
      const pass = factoriseTables({ rankShare: 0.25, basis, minWeights: 0 });
      const { model: cut, report } = await pass(model, contextWith(idFeeds(2)));
      expect(report).toMatchObject({
        changed: [
          {
            layer: 'table',
            change: '60 × 16 as 60 × 4 × 16',
            weightsBefore: 960,
            weightsAfter: 4 * (60 + 16),
          },
        ],
        left: [],
      });
      expect(modelStats(cut).tableWeights).toBe(60 * 4);
      const [feed = {}] = idFeeds(3);
      expect(maxDifference(await values(model, feed), await values(cut, feed))).toBeLessThan(1e-5);
    },
  );

  it('cuts the inputs of dense layers that alone read the rows', async () => {
    const model = lookupModel(tableOfRank(4, 1), (builder, rows) => {
      const random = createRandom(7);
      const { op } = builder;
      const weight = (name: string): string => builder.initializer(name, normals(random, [WIDTH, 12]));
      const shared = weight('shared');
      return op.Concat(op.MatMul(rows, shared), op.MatMul(rows, weight('own')), op.MatMul(rows, shared), {
        axis: -1,
      });
    });
    const pass = factoriseTables({ rankShare: 0.25, minWeights: 0 });
    const { model: cut, report } = await pass(model, contextWith(idFeeds(2)));
    expect(report.changed.map(({ layer, weightsAfter }) => [layer, weightsAfter])).toEqual([
      ['table', 240],
      ['MatMul', 48],
      ['MatMul_2', 48],
      ['MatMul_1', 48],
    ]);
    const sizes = [...cut.graph.initializers].map(([name, { dims }]) => [name, dims.join()]);
    expect(sizes.sort()).toEqual([
      ['own/merged', '4,12'],
      ['shared/merged', '4,12'],
      ['table/left', '60,4'],
    ]);
    const [feed = {}] = idFeeds(3);
    expect(relativeRms(await values(model, feed), await values(cut, feed))).toBeLessThan(1e-5);
  });

  it('multiplies out where something else reads the rows or the weights, and stores shared tables once', async () => {
    const random = createRandom(7);
    const builder = new GraphBuilder();
    const { op } = builder;
    const ids = builder.input('ids', 'int64', ['n', 'm']);
    const table = builder.initializer('table', tableOfRank(4, 1));
    const weight = builder.initializer('w', normals(random, [WIDTH, WIDTH]));
    const merged = builder.initializer('v', normals(random, [WIDTH, WIDTH]));
    // The first lookup's rows go on beside the layer, the second one's layer shares its weights with another.
    const first = op.Gather(table, ids);
    const second = op.MatMul(op.Gather(table, ids), weight);
    const third = op.MatMul(op.Gather(table, ids), merged);
    const sum = op.Add(op.Add(op.MatMul(first, weight), first), op.Add(second, third));
    builder.node('Tanh', [sum], {}, ['y']);
    builder.output('y', 'float32');
    const model = builder.build();
    const pass = factoriseTables({ rankShare: 0.25, minWeights: 0 });
    const { model: cut, report } = await pass(model, contextWith(idFeeds(2)));
    expect(report.changed.map(({ layer }) => layer)).toEqual(['table', 'MatMul_1']);
    expect([...cut.graph.initializers.keys()].sort()).toEqual(['table/left', 'table/right', 'v/merged', 'w']);
    const [feed = {}] = idFeeds(3);
    expect(maxDifference(await values(model, feed), await values(cut, feed))).toBeLessThan(1e-4);
  });

  it('keeps rows that are looked up more exactly than others', async () => {
    const model = lookupModel(tableOfRank(16, 1), asTheyAre);
    const often = idFeeds(2, 20, 8).map(({ ids }) => ({
      ids: int64(
        Array.from(must(ids, 'ids').data as BigInt64Array, (id) => ((Number(id) % 8) + 8) % 8),
        [5, 8],
      ),
    }));
    const errorOf = async (basis: 'activations' | 'weights'): Promise<number> => {
      const { model: cut } = await factoriseTables({ rankShare: 0.5, basis, minWeights: 0 })(
        model,
        contextWith(often),
      );
      const [feed = {}] = often;
      return relativeRms(await values(model, feed), await values(cut, feed));
    };
    expect(await errorOf('activations')).toBeLessThan(0.5 * (await errorOf('weights')));
  });

  it('keeps the columns that move the outputs, not the large ones', async () => {
    const random = createRandom(5);
    const table = normals(random, [ROWS, WIDTH]).data as Float32Array;
    for (let row = 0; row < ROWS; row++)
      for (let column = 8; column < WIDTH; column++) table[row * WIDTH + column] = 100 * random.normal();
    const factors = float32(Float32Array.from({ length: WIDTH }, (_, column) => (column < 8 ? 1 : 1e-5)));
    const model = lookupModel(float32(table, [ROWS, WIDTH]), (builder, rows) =>
      builder.op.Mul(rows, builder.initializer('factors', factors)),
    );
    const errorOf = async (basis: 'activations' | 'weights'): Promise<number> => {
      const pass = factoriseTables({ rankShare: 0.5, basis, minWeights: 0 });
      const { model: cut } = await pass(model, contextWith(idFeeds(2)));
      const [feed = {}] = idFeeds(3);
      return relativeRms(await values(model, feed), await values(cut, feed));
    };
    expect(await errorOf('weights')).toBeGreaterThan(0.9);
    expect(await errorOf('activations')).toBeLessThan(0.01);
  });

  it('finds the least rank that retains the energy', async () => {
    const data = new Float32Array(8 * 64);
    // Singular values 4, 2, 1 and 0.5: energies 16, 4, 1, 0.25 of 21.25.
    [4, 2, 1, 0.5].forEach((value, i) => (data[i * 9] = value));
    const model = lookupModel(float32(data, [64, 8]), asTheyAre);
    for (const [retainedEnergy, rank] of [
      [0.7, 1],
      [0.8, 2],
      [0.95, 3],
    ] as const) {
      const pass = factoriseTables({ retainedEnergy, basis: 'weights', minWeights: 0 });
      const { report } = await pass(model, contextWith());
      expect(report.changed[0]?.change).toBe(`64 × 8 as 64 × ${rank} × 8`);
    }
  });

  it('keeps within a budget, and gives the table that matters more the higher rank', async () => {
    const random = createRandom(3);
    const builder = new GraphBuilder();
    const ids = builder.input('ids', 'int64', ['n', 'm']);
    const loud = builder.op.Gather(builder.initializer('loud', normals(random, [ROWS, WIDTH])), ids);
    const quiet = builder.op.Gather(builder.initializer('quiet', normals(random, [ROWS, WIDTH])), ids);
    builder.node('Add', [loud, builder.op.Mul(quiet, 0.2)], {}, ['y']);
    builder.output('y', 'float32');
    for (const weightShare of [0.3, 0.5, 0.8]) {
      const pass = factoriseTables({ weightShare, minWeights: 0 });
      const { report } = await pass(builder.build(), contextWith(idFeeds(2)));
      const spent = report.changed.map(({ layer, weightsAfter }) => [layer, weightsAfter] as const);
      const [first = 960, second = 960] = ['loud', 'quiet'].map((name) => new Map(spent).get(name));
      expect(first + second).toBeLessThanOrEqual(weightShare * 2 * 960);
      expect(first).toBeGreaterThan(second);
    }
    const failure = factoriseTables({ weightShare: 0.01, minWeights: 0 })(
      builder.build(),
      contextWith(idFeeds(2)),
    );
    await expect(failure).rejects.toMatchObject({
      code: 'RECIPE_INVALID',
      details: { pass: 'factorise-tables' },
    });
  });

  it('leaves what is small, excluded, not finite or read by something else, and names it', async () => {
    const random = createRandom(3);
    const builder = new GraphBuilder();
    const { op } = builder;
    const ids = builder.input('ids', 'int64', ['n', 'm']);
    const table = (name: string, tensor: Tensor): string => builder.initializer(name, tensor);
    const broken = tableOfRank(4, 9);
    (broken.data as Float32Array)[5] = NaN;
    const tied = table('tied', tableOfRank(4, 2));
    const rows = [
      op.Gather(table('small', normals(random, [10, WIDTH])), ids),
      op.Gather(table('kept', tableOfRank(4, 3)), ids),
      op.Gather(table('broken', broken), ids),
      op.Gather(tied, ids),
      op.Gather(table('deep', float32(tableOfRank(4, 4).data as Float32Array, [ROWS, 4, 4])), ids),
    ];
    rows.forEach((value, index) => builder.node('Identity', [value], {}, [`y${index}`]));
    builder.node('Transpose', [op.Tanh(tied)], {}, ['t']);
    for (const name of ['y0', 'y1', 'y2', 'y3', 'y4', 't']) builder.output(name, 'float32');
    const model = builder.build();
    const pass = factoriseTables({ rankShare: 0.25, basis: 'weights', minWeights: 200, exclude: ['ke*'] });
    const { model: same, report } = await pass(model, contextWith());
    expect(same).toBe(model);
    expect(report.left.map(({ layer, reason }) => [layer, reason])).toEqual([
      ['Gather_3', expect.stringContaining('reads it too') as unknown],
      ['Gather', 'table small: 160 elements are fewer than minWeights 200'],
      ['Gather_1', 'table kept: it is excluded'],
      ['Gather_4', 'table deep: it has 3 dimensions, not 2'],
      ['Gather_2', 'table broken: it is not finite'],
    ]);
  });

  it('halves the table of a ranker, whose scores stay near', async () => {
    const model = ranker();
    const pass = factoriseTables({ minWeights: 0 });
    const { model: cut, report } = await pass(model, contextWith(rankerFeeds(5)));
    expect(report.changed).toHaveLength(1);
    expect(must(report.changed[0], 'change').weightsAfter).toBeLessThanOrEqual(400);
    const [fresh = {}] = rankerFeeds(1, 100, 77);
    const error = relativeRms(await values(model, fresh, 'score'), await values(cut, fresh, 'score'));
    expect(error).toBeLessThan(0.7);
  });

  it('asks for calibration requests, and for one way to choose the rank', async () => {
    const model = lookupModel(tableOfRank(4, 1), asTheyAre);
    expect(await rejectionCode(factoriseTables()(model, contextWith()))).toBe('RECIPE_INVALID');
    expect(errorCode(() => factoriseTables({ rankShare: 0.5, weightShare: 0.5 }))).toBe('RECIPE_INVALID');
  });
});

describe('factoriseTables on models from other exporters', () => {
  testOnRealModels(factoriseTables({ minWeights: 0 }), {
    'TFBertForQuestionAnswering.onnx': [2, 1],
    'attention_past_state.u8s8.onnx': [0, 0],
    'bert_toy_optimized.onnx': [1, 1],
    'cnn_mnist_pytorch.onnx': [0, 0],
    'dynamic_quantize_matmul_int8.onnx': [0, 0],
    'gpt2_past.onnx': [1, 1],
    'silero_vad_v6.onnx': [0, 0],
    'squeezenet_tensor_input.onnx': [0, 0],
    'tiny_gpt2_beamsearch.onnx': [0, 0],
    'vespa_custom_similarity.onnx': [0, 0],
    'vespa_pairwise_ranker.onnx': [0, 0],
    'vespa_pca_transformer.onnx': [0, 0],
    'vespa_transformer.onnx': [1, 1],
  });
});

import { join } from 'node:path';
import { describe, expect, it, test } from 'vitest';
import { createRandom, float32, int64, must, sha256 } from '../../src/core/index.js';
import type { TensorMap } from '../../src/core/index.js';
import { compressModel, parseRecipe, readRecipe } from '../../src/compression/index.js';
import type { PassContext, Recipe } from '../../src/compression/index.js';
import { bytesOf, encodeModel, GraphBuilder, readModel } from '../../src/onnx/index.js';
import type { Model, Node } from '../../src/onnx/index.js';
import { openSession } from '../../src/runtime/index.js';
import { randomFeeds } from '../onnx/random-feeds.js';
import { sharedData } from '../support/shared-data.js';
import {
  contextWith,
  denseWeight,
  gemmMlp,
  ranker,
  rankerFeeds,
  relativeRms,
  rowFeeds,
  values,
} from './support.js';

const SMALL_INT8 = { pass: 'quantize-dynamic', minWeights: 256 };

describe('compressModel', () => {
  it('reports sizes, work and errors of every step', async () => {
    const model = ranker();
    const recipe = parseRecipe([{ pass: 'prune-structured' }, SMALL_INT8]);
    const { model: small, report } = await compressModel(model, recipe, contextWith(rankerFeeds(8)));
    const [prune, int8] = report.steps;
    const cross = 2 * 48 * 48;
    const deep = 48 * 32 + 32 * 24 + 24 * 16 + 64;
    const cutDeep = 48 * 16 + 16 * 12 + 12 * 8 + 56;
    expect(prune?.before).toMatchObject({
      denseWeights: cross + deep,
      multiplyAddsPer100Rows: 100 * (cross + deep),
    });
    expect(prune?.after).toMatchObject({ denseWeights: cross + cutDeep, denseBytes: 4 * (cross + cutDeep) });
    expect(prune?.after.multiplyAddsPer100Rows).toBe(100 * (cross + cutDeep));
    expect(int8?.before).toEqual(prune?.after);
    // 192 of the deep branch's second layer and what is smaller stay float32.
    const kept = 16 * 12 + 12 * 8 + 56;
    const scales = 48 + 48 + 16;
    expect(int8?.after).toMatchObject({
      denseWeights: cross + cutDeep,
      denseBytes: cross + cutDeep + 3 * kept + 4 * scales,
    });
    expect([report.before, report.after]).toEqual([prune?.before, int8?.after]);
    expect(report.compared).toEqual({ feeds: 8, source: 'calibration' });
    for (const errors of [prune?.outputs, int8?.outputs, report.outputs]) {
      expect(Object.keys(errors ?? {})).toEqual(['score']);
      expect(errors?.['score']?.relativeRms).toBeGreaterThan(0);
      expect(errors?.['score']?.relativeRms).toBeLessThan(0.25);
      expect(errors?.['score']?.cosine).toBeGreaterThan(0.97);
    }
    const feeds = rankerFeeds(8);
    const all = async (of: Model): Promise<number[]> =>
      (await Promise.all(feeds.map((feed) => values(of, feed, 'score')))).flat();
    expect(report.outputs['score']?.relativeRms).toBeCloseTo(
      relativeRms(await all(model), await all(small)),
      9,
    );
    expect(JSON.parse(JSON.stringify(report))).toEqual(report);
  });

  it('makes the same bytes and the same report again', async () => {
    const recipe = await readRecipe('pruned+lowrank+int8');
    const once = async (): Promise<string> => {
      const { model, report } = await compressModel(
        gemmMlp([64, 96, 64, 1]),
        recipe,
        contextWith(rowFeeds(64, 200, 3)),
      );
      return sha256(encodeModel(model)) + JSON.stringify(report);
    };
    const first = await once();
    expect(await once()).toBe(first);
    expect(first).toContain('quantize-dynamic');
  });

  it('composes: each pass works on what the ones before left', async () => {
    const recipe = await readRecipe('int8+lowrank+pruned');
    const model = gemmMlp([256, 512, 256, 1]);
    const { model: small, report } = await compressModel(model, recipe, contextWith(rowFeeds(256, 300, 2)));
    expect(report.steps.map(({ step, changed }) => [step.pass, changed.length])).toEqual([
      ['prune-structured', 2],
      ['low-rank', 2],
      ['quantize-dynamic', 3],
    ]);
    expect(report.after.denseBytes).toBeLessThan(report.before.denseBytes / 8);
    expect(small.graph.nodes.filter((node) => node.op === 'MatMulInteger')).toHaveLength(3);
  });

  it('makes up inputs where there are no calibration requests', async () => {
    const { report } = await compressModel(gemmMlp([64, 64, 1]), parseRecipe([SMALL_INT8]), contextWith());
    expect(report.compared).toEqual({ feeds: 4, source: 'generated' });
    expect(report.outputs['y']?.relativeRms).toBeLessThan(0.03);
  });

  it('says which step failed', async () => {
    const recipe = parseRecipe([SMALL_INT8, { pass: 'low-rank' }]);
    const failure = compressModel(gemmMlp([64, 64, 1]), recipe, contextWith()).catch(
      (error: unknown) => error,
    );
    expect(await failure).toMatchObject({
      code: 'RECIPE_INVALID',
      message: expect.stringMatching(/^Step 2 \(low-rank\): /) as unknown,
      details: { step: 2, pass: 'low-rank', field: 'basis' },
    });
  });

  it('asks for requests where a model does not take made-up inputs', async () => {
    const builder = new GraphBuilder();
    const x = builder.input('x', 'float32', ['n', 'm']);
    // No length is 7 when taken three times.
    const wide = builder.op.Concat(x, x, x, { axis: 1 });
    const weight = builder.initializer('w', denseWeight(createRandom(1), 7, 2));
    builder.node('MatMul', [wide, weight], {}, ['y']);
    builder.output('y', 'float32');
    const failure = compressModel(builder.build(), parseRecipe([SMALL_INT8]), contextWith()).catch(
      (error: unknown) => error,
    );
    expect(String(await failure)).toContain('give calibration requests');
    expect(await failure).toMatchObject({ code: 'GRAPH_UNSUPPORTED' });
  });

  it('tells how far it is, over all steps', async () => {
    const said: (readonly [number, number, string])[] = [];
    const context = {
      ...contextWith(rowFeeds(64, 30)),
      progress: (done: number, total: number, detail: string) => void said.push([done, total, detail]),
    };
    await compressModel(gemmMlp([64, 64, 1]), await readRecipe('pruned+int8'), context);
    const starts = said.filter(([, , detail]) => !detail.includes(':'));
    expect(starts).toEqual([
      [0, 2, 'prune-structured'],
      [1, 2, 'quantize-dynamic'],
    ]);
    expect(said.every(([done], at) => done >= (said[at - 1]?.[0] ?? 0) && done <= 2)).toBe(true);
  });
});

const int32 = (value: number): TensorMap[string] => ({
  dtype: 'int32',
  dims: [1],
  data: Int32Array.of(value),
});

interface Case {
  /** Layers that int8 (from 256 weights on), structured pruning and low rank change. */
  readonly changed: readonly [number, number, number];
  readonly sizes?: Readonly<Record<string, number>>;
  readonly fixed?: TensorMap;
}

/** Models of other people's exporters. What a pass does not change there it must leave bit for bit. */
const CASES: Readonly<Record<string, Case>> = {
  // Every projection is reshaped to heads or back, also between the layers of its feed-forward parts.
  'TFBertForQuestionAnswering.onnx': { changed: [48, 24, 145] },
  // Weights are inputs.
  'attention_past_state.u8s8.onnx': { changed: [0, 0, 0], sizes: { C: 1 } },
  'bert_toy_optimized.onnx': { changed: [33, 7, 33] },
  // Opset 9 has no DynamicQuantizeLinear.
  'cnn_mnist_pytorch.onnx': { changed: [0, 1, 2] },
  // Quantized already.
  'dynamic_quantize_matmul_int8.onnx': { changed: [0, 0, 0], sizes: { C: 1, M: 3, K: 5, N: 4 } },
  // Layers of 16 to 64 weights; the output of each Gemm is reshaped.
  'gpt2_past.onnx': { changed: [0, 12, 48] },
  // Everything is inside the branches of an If.
  'silero_vad_v6.onnx': {
    changed: [0, 0, 0],
    fixed: {
      input: float32(
        Float32Array.from({ length: 576 }, (_, index) => Math.sin(index / 5)),
        [1, 576],
      ),
      state: float32(new Float32Array(256).fill(0.1), [2, 1, 128]),
      sr: int64([16000], []),
    },
  },
  // Opset 7; one Gemm, whose result is the output.
  'squeezenet_tensor_input.onnx': { changed: [0, 0, 1], sizes: { None: 1 } },
  // Everything is inside the subgraph of BeamSearch, which only int8 reaches.
  'tiny_gpt2_beamsearch.onnx': {
    changed: [16, 0, 0],
    sizes: { sequence_length: 4 },
    fixed: {
      max_length: int32(10),
      min_length: int32(1),
      num_beams: int32(2),
      num_return_sequences: int32(1),
      length_penalty: float32(Float32Array.of(1)),
      repetition_penalty: float32(Float32Array.of(1)),
    },
  },
  'vespa_custom_similarity.onnx': { changed: [3, 3, 3] },
  // Two nodes share the first layer's weights.
  'vespa_pairwise_ranker.onnx': { changed: [2, 0, 2] },
  // Multiplies from the left.
  'vespa_pca_transformer.onnx': { changed: [1, 0, 0] },
  'vespa_transformer.onnx': { changed: [8, 2, 8], sizes: { tokens: 5 } },
};

const RECIPES: Readonly<Record<string, Recipe>> = {
  int8: parseRecipe([SMALL_INT8]),
  pruned: parseRecipe([{ pass: 'prune-structured' }]),
  lowrank: parseRecipe([{ pass: 'low-rank', rankShare: 0.25, minWeights: 0 }]),
};

/** Every node and constant by what it defines, as text. */
function parts(model: Model): ReadonlyMap<string, string> {
  const plain = (_: string, value: unknown): unknown => {
    if (typeof value === 'bigint') return String(value);
    if (value instanceof Map) return [...(value as ReadonlyMap<unknown, unknown>)];
    return value instanceof Uint8Array ? sha256(value) : value;
  };
  const node = ({ op, domain, inputs, attributes }: Node): string =>
    JSON.stringify([op, domain, inputs, attributes], plain);
  const { nodes, initializers } = model.graph;
  return new Map([
    ...nodes.map((each) => [each.outputs.join(), node(each)] as const),
    ...[...initializers].map(([name, tensor]) => [name, sha256(bytesOf(tensor))] as const),
  ]);
}

const folder = sharedData('onnx');

describe.skipIf(folder === undefined)('models from other exporters', () => {
  test.each(Object.keys(CASES))('%s runs on inputs that are made up', async (file) => {
    const model = await readModel(join(folder ?? '', file));
    const { report } = await compressModel(model, await readRecipe('int8'), contextWith());
    expect(report.compared).toEqual({ feeds: 4, source: 'generated' });
    // SqueezeNet's only tensor is text.
    expect(Object.keys(report.outputs).length > 0).toBe(!file.startsWith('squeezenet'));
  });

  const contextFor = async (path: string, { sizes, fixed }: Case): Promise<PassContext> => {
    const session = await openSession(path);
    const feeds = [7, 8].map((seed) => randomFeeds(session.inputs, sizes, fixed, seed));
    await session.release();
    return contextWith(feeds);
  };

  test.each(Object.entries(CASES))('%s: what is not changed is left bit for bit', async (file, each) => {
    const path = join(folder ?? '', file);
    const model = await readModel(path);
    const context = await contextFor(path, each);
    const before = parts(model);
    const counts: number[] = [];
    for (const recipe of Object.values(RECIPES)) {
      const { model: compressed, report } = await compressModel(model, recipe, context);
      const { changed, left } = must(report.steps[0], 'step');
      counts.push(changed.length);
      const layers = new Set([...changed, ...left].map(({ layer }) => layer));
      expect(layers.size).toBe(changed.length + left.length);
      // As hashes: a comparison of megabytes element by element takes a minute.
      if (changed.length === 0) expect(sha256(encodeModel(compressed))).toBe(sha256(encodeModel(model)));
      const after = parts(compressed);
      const differing = [...before].filter(([name, part]) => after.has(name) && after.get(name) !== part);
      // A pruned layer, the layer that reads it, biases in Adds of their own, shapes between; nothing beyond.
      expect(differing.length).toBeLessThanOrEqual(8 * changed.length);
      expect([...after.keys()].filter((name) => !before.has(name)).length > 0).toBe(changed.length > 0);
    }
    expect(counts).toEqual(each.changed);
    expect([...parts(model)]).toEqual([...before]);
  });

  test('a similarity model keeps its order under every pass, and under all of them', async () => {
    const path = join(folder ?? '', 'vespa_custom_similarity.onnx');
    const model = await readModel(path);
    const random = createRandom(5);
    // Unit vectors, as the embeddings are that it compares.
    const unit = (): TensorMap[string] => {
      const raw = Array.from({ length: 384 }, () => random.normal());
      const length = Math.hypot(...raw);
      return float32(
        Float32Array.from(raw, (value) => value / length),
        [1, 384],
      );
    };
    const feeds = Array.from({ length: 400 }, () => ({ query: unit(), document: unit() }));
    const errors: Record<string, number | undefined> = {};
    for (const name of ['int8', 'pruned', 'lowrank', 'pruned+lowrank+int8']) {
      const { report } = await compressModel(model, await readRecipe(name), contextWith(feeds));
      errors[name] = report.outputs['similarity']?.maxAbsolute;
    }
    expect(errors['int8']).toBeLessThan(1e-4);
    expect(errors['pruned']).toBeLessThan(2e-3);
    expect(errors['lowrank']).toBeLessThan(2e-3);
    expect(errors['pruned+lowrank+int8']).toBeLessThan(4e-3);
  });
});

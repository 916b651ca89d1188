import { describe, expect, it, test } from 'vitest';
import {
  compressModel,
  diffHtml,
  diffMarkdown,
  diffModels,
  findFeeds,
  parseRecipe,
} from '../../../src/compression/index.js';
import type { DiffReport } from '../../../src/compression/index.js';
import { createRandom, float32, must } from '../../../src/core/index.js';
import type { TensorMap } from '../../../src/core/index.js';
import { GraphBuilder, initializerOf, readModel, tensorOf } from '../../../src/onnx/index.js';
import type { Model } from '../../../src/onnx/index.js';
import { openSession } from '../../../src/runtime/index.js';
import { sharedData } from '../../support/shared-data.js';
import { rejectionCode } from '../../support/error-code.js';
import { checkPage } from '../report/page-check.js';
import { contextWith, denseWeight, gemmMlp, ranker, rankerFeeds, rowFeeds } from '../support.js';

const FEEDS = rowFeeds(32, 50, 2);

async function diff(a: Model, b: Model, feeds: readonly TensorMap[] = FEEDS): Promise<DiffReport> {
  const { report } = await diffModels(a, b, { openSession, feeds, source: 'calibration', thresholdDb: 30 });
  return report;
}

async function compressed(model: Model, steps: unknown, feeds: readonly TensorMap[] = FEEDS): Promise<Model> {
  return (await compressModel(model, parseRecipe(steps), contextWith(feeds))).model;
}

/** The model with noise of a given size, relative to its root mean square, in one weight. */
function withNoise(model: Model, weight: string, relative: number): Model {
  const { dims, data } = tensorOf(must(model.graph.initializers.get(weight), weight));
  const values = Float32Array.from(data as Float32Array);
  const rms = Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0) / values.length);
  const random = createRandom(5);
  const noisy = values.map((value) => value + relative * rms * random.normal());
  const initializers = new Map(model.graph.initializers).set(
    weight,
    initializerOf(weight, float32(noisy, dims)),
  );
  return { ...model, graph: { ...model.graph, initializers } };
}

const MLP = gemmMlp([32, 64, 48, 1]);

describe('a model and itself', () => {
  it('differ in nothing', async () => {
    const report = await diff(MLP, MLP);
    expect(report.weights).toEqual({ identical: 6, differing: [], uncompared: [] });
    expect(report.values.map(({ maxAbsolute, sqnrDb, dropDb }) => [maxAbsolute, sqnrDb, dropDb])).toEqual(
      Array.from({ length: 5 }, () => [0, null, 0]),
    );
    expect(report.loss).toEqual({ first: undefined, steepest: [] });
    expect(report.outputs['y']).toMatchObject({ maxAbsolute: 0, relativeRms: 0 });
    expect(report.operators.every(({ onlyA, onlyB }) => onlyA + onlyB === 0)).toBe(true);
  });
});

describe('noise in one weight', () => {
  it('is found where it is, in decibels', async () => {
    const report = await diff(MLP, withNoise(MLP, 'w2', 0.1));
    // Noise of a tenth: 20 dB.
    expect(report.weights.differing).toEqual([
      expect.objectContaining({
        weight: 'w2',
        compared: 'stored',
        dims: [64, 48],
        sqnrDb: expect.closeTo(20, 0) as number,
      }),
    ]);
    const [h1, relu1, h2] = report.values;
    expect([h1?.sqnrDb, relu1?.sqnrDb]).toEqual([null, null]);
    expect(h2?.sqnrDb).toBeGreaterThan(15);
    expect(h2?.sqnrDb).toBeLessThan(25);
    expect(report.loss.first).toEqual(h2);
    expect(report.loss.steepest[0]).toEqual(h2);
    expect(h2?.dropDb).toBeCloseTo(100 - (h2?.sqnrDb ?? NaN), 9);
    // What only hands the damage on has lost nothing of its own.
    expect(report.loss.steepest.every(({ op }) => op === 'Gemm')).toBe(true);
    expect(report.loss.steepest.slice(1).every(({ dropDb }) => dropDb < 10)).toBe(true);
  });

  it('is not called damage where it is small', async () => {
    const { loss } = await diff(MLP, withNoise(MLP, 'w1', 1e-4));
    expect(loss.first).toBeUndefined();
    expect(loss.steepest[0]?.value).toBe('h1');
  });

  it('has the figures of a plain formula', async () => {
    const noisy = withNoise(MLP, 'w3', 0.05);
    const { outputs, values } = await diff(MLP, noisy);
    const last = must(values.at(-1), 'last value');
    expect(last.value).toBe('y');
    expect(last.sqnrDb).toBeCloseTo(-20 * Math.log10(outputs['y']?.relativeRms ?? NaN), 3);
    expect(last.maxAbsolute).toBeCloseTo(outputs['y']?.maxAbsolute ?? NaN, 4);
    expect(last.cosine).toBeCloseTo(outputs['y']?.cosine ?? NaN, 6);
    expect(last.elements).toBe(100);
  });
});

describe('what a pass made of a layer', () => {
  it('dynamic int8: the weights as they are multiplied, within half a step of each column', async () => {
    const report = await diff(MLP, await compressed(MLP, [{ pass: 'quantize-dynamic', minWeights: 100 }]));
    expect(report.weights.differing.map(({ weight, compared, dims }) => [weight, compared, dims])).toEqual([
      ['w1', 'effective', [32, 64]],
      ['w2', 'effective', [64, 48]],
    ]);
    for (const { weight, sqnrDb, maxAbsolute } of report.weights.differing) {
      const values = tensorOf(must(MLP.graph.initializers.get(weight), weight)).data as Float32Array;
      const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      expect(maxAbsolute).toBeLessThanOrEqual((largest / 127 / 2) * 1.001);
      expect(sqnrDb).toBeGreaterThan(38);
      expect(sqnrDb).toBeLessThan(55);
    }
    const count = (operator: string) => report.operators.find((row) => row.operator === operator);
    expect(count('MatMulInteger')).toMatchObject({ a: 0, b: 2, onlyA: 0, onlyB: 2 });
    expect(count('Gemm')).toMatchObject({ a: 3, b: 1, onlyA: 2, onlyB: 0 });
    expect(report.sizes.b.denseBytes).toBeLessThan(report.sizes.a.denseBytes / 3);
  });

  it('low rank: the product of the factors', async () => {
    const small = await compressed(MLP, [
      { pass: 'low-rank', rankShare: 0.5, basis: 'weights', minWeights: 0 },
    ]);
    const { weights } = await diff(MLP, small);
    const w1 = must(
      weights.differing.find(({ weight }) => weight === 'w1'),
      'w1',
    );
    // The product itself, by a plain loop over the two factors.
    const factors = [...small.graph.initializers.values()].filter(({ name }) => name.startsWith('w1/'));
    const [left, right] = factors.map((factor) => tensorOf(factor));
    const [inputs = 0, rank = 0] = left?.dims ?? [];
    const outputs = right?.dims[1] ?? 0;
    const original = tensorOf(must(MLP.graph.initializers.get('w1'), 'w1')).data as Float32Array;
    let [signal, noise] = [0, 0];
    for (let i = 0; i < inputs; i++)
      for (let j = 0; j < outputs; j++) {
        let sum = 0;
        for (let k = 0; k < rank; k++)
          sum += Number(left?.data[i * rank + k]) * Number(right?.data[k * outputs + j]);
        const value = original[i * outputs + j] ?? 0;
        signal += value ** 2;
        noise += (sum - value) ** 2;
      }
    expect(w1.sqnrDb).toBeCloseTo(10 * Math.log10(signal / noise), 2);
  });

  it('static int8: roundings of what flows are bridged, the weights remain', async () => {
    const quantized = await compressed(MLP, [{ pass: 'quantize-static', minWeights: 100 }]);
    const { weights } = await diff(MLP, quantized);
    const effective = weights.differing.filter(({ compared }) => compared === 'effective');
    expect(effective.map(({ weight }) => weight)).toEqual(expect.arrayContaining(['w1', 'w2']));
    for (const { sqnrDb } of effective) expect(sqnrDb).toBeGreaterThan(35);
  });

  it.each([
    [8, 40, 60],
    [4, 12, 30],
  ])('tables of %s bits: the rows as they are looked up', async (bits, least, most) => {
    const model = ranker();
    const feeds = rankerFeeds(2);
    const small = await compressed(model, [{ pass: 'quantize-tables', bits, minWeights: 10 }], feeds);
    const { weights } = await diff(model, small, feeds);
    const table = must(
      weights.differing.find(({ weight }) => weight === 'items.table'),
      'table',
    );
    expect(table).toMatchObject({ compared: 'effective', dims: [50, 16], elements: 800 });
    expect(table.sqnrDb).toBeGreaterThan(least);
    expect(table.sqnrDb).toBeLessThan(most);
  });

  it('pruned: what has another width is not compared, and said', async () => {
    const { weights, values } = await diff(MLP, await compressed(MLP, [{ pass: 'prune-structured' }]));
    expect(weights.uncompared.map(({ weight }) => weight)).toContain('w1');
    expect(values.map(({ value }) => value)).toEqual(['y']);
  });
});

test('numbers that are not finite are counted', async () => {
  const build = (factor: number): Model => {
    const builder = new GraphBuilder();
    const x = builder.input('x', 'float32', ['n', 4]);
    const w = builder.initializer('w', denseWeight(createRandom(1), 4, 2));
    builder.node('Mul', [builder.op.MatMul(x, w), factor], {}, ['h']);
    builder.node('Tanh', ['h'], {}, ['y']);
    builder.output('y', 'float32', ['n', 2]);
    return builder.build();
  };
  const { values } = await diff(build(1), build(Infinity), rowFeeds(4, 3));
  const h = must(
    values.find(({ value }) => value === 'h'),
    'h',
  );
  expect(h).toMatchObject({ sqnrDb: null, nonFinite: 6, dropDb: 100 });
});

test('models with other inputs are refused', async () => {
  const builder = new GraphBuilder();
  builder.output(builder.op.Relu(builder.input('z', 'float32', ['n', 32])), 'float32', ['n', 32]);
  expect(await rejectionCode(diff(MLP, builder.build()))).toBe('GRAPH_UNSUPPORTED');
});

test('the page and the text say where accuracy is lost', async () => {
  const report = await diff(MLP, withNoise(MLP, 'w2', 0.1));
  const html = diffHtml(report, 'a.onnx', '<b>.onnx');
  checkPage(html);
  const sentence = 'First below 30 dB: h2 (Gemm';
  expect(html).toContain(sentence);
  expect(diffMarkdown(report, 'a', 'b')).toContain(sentence);
  expect(JSON.stringify(await diff(MLP, withNoise(MLP, 'w2', 0.1)))).toBe(JSON.stringify(report));
});

const folder = sharedData('onnx');
const EXPORTED = [
  'bert_toy_optimized.onnx',
  'cnn_mnist_pytorch.onnx',
  'gpt2_past.onnx',
  'silero_vad_v6.onnx',
  'tiny_gpt2_beamsearch.onnx',
  'vespa_custom_similarity.onnx',
  'vespa_transformer.onnx',
];

test.skipIf(folder === undefined).each(EXPORTED)('%s and its int8 form', async (file) => {
  const model = await readModel(must(sharedData('onnx', file), file));
  const feeds = await findFeeds(model, { openSession, seed: 1 }, 2);
  const small = await compressed(model, [{ pass: 'quantize-dynamic', minWeights: 256 }], feeds);
  const report = await diff(model, small, feeds);
  expect(report.values.every(({ nonFinite }) => nonFinite === 0)).toBe(true);
  for (const { sqnrDb } of report.weights.differing) expect(sqnrDb).toBeGreaterThan(25);
  checkPage(diffHtml(report, file, file));
});

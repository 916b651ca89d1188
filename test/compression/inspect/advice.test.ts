import { describe, expect, test } from 'vitest';
import { createRandom } from '../../../src/core/index.js';
import { inspectionMarkdown, inspectModel, parseRecipe } from '../../../src/compression/index.js';
import type { Cpu, Goal, Inspection } from '../../../src/compression/index.js';
import { commandFor } from '../../../src/compression/inspect/command.js';
import { GraphBuilder } from '../../../src/onnx/index.js';
import type { Model } from '../../../src/onnx/index.js';
import { openSession } from '../../../src/runtime/index.js';
import { EXPORTER_FILES, exporterModels, readExporterModel } from '../exporter-models.js';
import { denseWeight, gemmMlp, normals } from '../support.js';

const VNNI: Cpu = { architecture: 'x64', features: ['avx2', 'avx512f', 'avx512_vnni'] };
const AVX2: Cpu = { architecture: 'x64', features: ['avx2'] };
const ARM: Cpu = { architecture: 'arm64', features: ['asimddp'] };
const UNKNOWN: Cpu = { architecture: 'x64', features: null };

const inspect = (model: Model, goal: Goal, cpu: Cpu): Promise<Inspection> =>
  inspectModel(model, { openSession, goal, cpu, seed: 1 });

async function recipes(model: Model, goal: Goal, cpu: Cpu): Promise<readonly string[]> {
  return (await inspect(model, goal, cpu)).advice.map(({ recipe }) => recipe);
}

/** Three wide layers: 395,000 multiply-adds a row. */
const wide = gemmMlp([256, 768, 256, 1]);

/** A table of `rows` × 32 in front of a dense layer. */
function tableModel(rows: number): Model {
  const random = createRandom(1);
  const builder = new GraphBuilder();
  const ids = builder.input('id', 'int64', ['rows']);
  const table = builder.initializer('table', normals(random, [rows, 32]));
  const weight = builder.initializer('weight', denseWeight(random, 32, 128));
  builder.node('MatMul', [builder.op.Gather(table, ids), weight], {}, ['y']);
  builder.output('y', 'float32', ['rows', 128]);
  return builder.build();
}

describe('advice for latency', () => {
  test('with VNNI: int8 first, which needs nothing, then smaller layers too', async () => {
    const { advice, nothingToGain } = await inspect(wide, 'latency', VNNI);
    expect(nothingToGain).toBeNull();
    expect(advice.map(({ recipe }) => recipe)).toEqual(['int8', 'pruned+lowrank+int8']);
    const [int8, all] = advice;
    expect(int8).toMatchObject({
      steps: [{ pass: 'quantize-dynamic' }],
      isShorthand: true,
      needsRequests: false,
    });
    expect(int8?.reason).toContain('100 % of the multiply-adds');
    expect(int8?.reason).toContain('measured on AVX-512 VNNI');
    expect(int8?.timesFaster?.low).toBeGreaterThan(1.5);
    // What all do together was not measured: at least what the best does.
    expect(all).toMatchObject({ needsRequests: true, timesFaster: { high: null } });
    expect(all?.bytes).toBeLessThan((int8?.bytes ?? 0) / 2);
  });

  test('without VNNI: smaller layers first; weights keep to 7 bits, and no gain is promised', async () => {
    const { advice } = await inspect(wide, 'latency', AVX2);
    expect(advice.map(({ recipe }) => recipe)).toEqual(['pruned+lowrank+int8-7bit', 'int8-7bit']);
    expect(advice[1]).toMatchObject({
      steps: [{ pass: 'quantize-dynamic', reduceRange: true }],
      isShorthand: false,
      timesFaster: null,
    });
    expect(advice[1]?.reason).toContain('no VNNI');
  });

  test('on an unknown CPU: what is right on all of them, and says so', async () => {
    const { advice } = await inspect(wide, 'latency', UNKNOWN);
    expect(advice.map(({ recipe }) => recipe)).toEqual(['pruned+lowrank+int8-7bit', 'int8-7bit']);
    expect(advice[1]?.reason).toContain('not known');
  });

  test('on ARM with dot products: 8 bits whole, but no figure, since none was measured', async () => {
    const { advice } = await inspect(wide, 'latency', ARM);
    expect(advice[0]).toMatchObject({ recipe: 'int8', timesFaster: null });
    expect(advice[0]?.reason).toContain('not measured');
  });

  test('small models: int8 gains nothing for a single row', async () => {
    const { advice } = await inspect(gemmMlp([128, 256, 128, 64, 1]), 'latency', VNNI);
    expect(advice[0]?.reason).toContain('For a single row it gains nothing');
    expect((await inspect(wide, 'latency', VNNI)).advice[0]?.reason).not.toContain('single row');
  });

  test('never zeros, never weights alone', async () => {
    for (const cpu of [VNNI, AVX2, UNKNOWN])
      for (const { steps } of (await inspect(wide, 'latency', cpu)).advice)
        expect(steps.map(({ pass }) => pass).join()).not.toMatch(/unstructured|quantize-weights/);
  });

  test('narrow layers: nothing', async () => {
    const { advice, nothingToGain } = await inspect(gemmMlp([8, 8, 1]), 'latency', VNNI);
    expect(advice).toEqual([]);
    expect(nothingToGain).toMatch(/^Nothing to gain/);
  });
});

describe('advice for bytes', () => {
  test('tables first where they are most of it', async () => {
    const model = tableModel(4000);
    const { advice } = await inspect(model, 'memory', VNNI);
    expect(advice.map(({ recipe }) => recipe)).toEqual([
      'int8tables+int8',
      'int4tables+int8',
      'int4tables+w4',
    ]);
    expect(advice[0]?.reason).toContain('Tables are 97 % of the bytes');
    // 34 bytes a row and 20 bytes a row, of 128.
    const [eight = 0, four = 0] = advice.map(({ bytes }) => (bytes ?? 0) - 128 * (32 + 4));
    expect(eight).toBe(4000 * 34);
    expect(four).toBe(4000 * 20);
  });

  test('for a phone the smallest first; zeros last, for the stored size only', async () => {
    const { advice } = await inspect(wide, 'mobile', VNNI);
    expect(advice.map(({ recipe }) => recipe)).toEqual(['w4', 'int8', 'pruned+lowrank+w4', 'sparse']);
    expect(advice.at(-1)?.reason).toContain('Neither the file nor a run gets smaller or faster');
    expect(await recipes(tableModel(4000), 'mobile', VNNI)).toEqual(['int4tables+w4', 'int8tables+int8']);
  });
});

describe('what to paste', () => {
  const target = { path: 'my models/ranker.onnx', kind: 'file' } as const;

  test('names requests only where they are needed', async () => {
    const [int8, all] = (await inspect(wide, 'latency', VNNI)).advice;
    expect(int8 && commandFor(int8, target)).toBe(
      "whittle compress 'my models/ranker.onnx' --recipe int8 --out ranker-int8",
    );
    expect(all && commandFor(all, target)).toBe(
      "whittle compress 'my models/ranker.onnx' --recipe pruned+lowrank+int8 --calibrate requests.parquet --out ranker-pruned+lowrank+int8",
    );
    expect(all && commandFor(all, { path: 'models/demo', kind: 'bundle' })).toBe(
      'whittle compress models/demo --recipe pruned+lowrank+int8 --name pruned+lowrank+int8',
    );
  });

  test('writes a recipe file where short names do not say it', async () => {
    const [, int8] = (await inspect(wide, 'latency', AVX2)).advice;
    const command = (int8 && commandFor(int8, { path: 'ranker.onnx', kind: 'file' })) ?? '';
    const [, json = '', rest = ''] = /^echo '(.*)' > int8-7bit\.json && (.*)$/.exec(command) ?? [];
    expect(parseRecipe(JSON.parse(json))).toEqual([{ pass: 'quantize-dynamic', reduceRange: true }]);
    expect(rest).toBe('whittle compress ranker.onnx --recipe int8-7bit.json --out ranker-int8-7bit');
  });
});

/** With VNNI. */
const ADVISED: Readonly<Record<string, readonly [latency: string, mobile: string]>> = {
  'TFBertForQuestionAnswering.onnx': ['', 'pruned, sparse'],
  'attention_past_state.u8s8.onnx': ['simplify', 'simplify'],
  'bert_toy_optimized.onnx': ['simplify', 'int4tables, int8tables, pruned+int4tables, sparse, simplify'],
  'cnn_mnist_pytorch.onnx': ['dynamic-batch, static', 'static, w4, pruned+lowrank+w4, sparse'],
  'dynamic_quantize_matmul_int8.onnx': ['', ''],
  'gpt2_past.onnx': ['simplify', 'pruned, simplify'],
  'silero_vad_v6.onnx': ['', ''],
  'squeezenet_tensor_input.onnx': ['', ''],
  'tiny_gpt2_beamsearch.onnx': ['int8', 'w4, int8'],
  'vespa_custom_similarity.onnx': [
    'dynamic-batch, int8, pruned+lowrank+int8',
    'w4, int8, pruned+lowrank+w4, sparse',
  ],
  'vespa_pairwise_ranker.onnx': ['', 'sparse'],
  'vespa_pca_transformer.onnx': ['int8, lowrank+int8', 'w4, int8, lowrank+w4'],
  'vespa_transformer.onnx': ['simplify', 'pruned, sparse, simplify'],
};

describe.skipIf(exporterModels === undefined)('models from other exporters', () => {
  test.each(EXPORTER_FILES)('%s', async (file) => {
    const { model } = await readExporterModel(file);
    const [latency, mobile] = ADVISED[file] ?? [];
    const inspection = await inspect(model, 'latency', VNNI);
    expect(inspection.advice.map(({ recipe }) => recipe).join(', ')).toBe(latency);
    expect((await recipes(model, 'mobile', VNNI)).join(', ')).toBe(mobile);
    expect(inspection.run.source).toBe('generated');
    expect(JSON.parse(JSON.stringify(inspection))).toEqual(inspection);
    const counted = inspection.operators.reduce((sum, { count }) => sum + count, 0);
    expect(counted).toBe(inspection.nodes);
    const text = inspectionMarkdown(inspection, { path: file, kind: 'file' });
    expect(text.split('\n').length).toBeLessThan(75);
  });
});

import { describe, expect, it, test } from 'vitest';
import { createRandom, float32, int64, must } from '../../../src/core/index.js';
import type { Tensor, TensorMap } from '../../../src/core/index.js';
import { compressModel, modelStats, parseRecipe } from '../../../src/compression/index.js';
import { quantizeTables } from '../../../src/compression/passes/quantize-tables.js';
import { outputErrors } from '../../../src/compression/measure/output-error.js';
import type { QuantizeTablesParameters } from '../../../src/compression/passes/quantize-tables.js';
import { byteLength, checkModel, encodeModel, GraphBuilder, tensorOf } from '../../../src/onnx/index.js';
import type { Model } from '../../../src/onnx/index.js';
import { openSession } from '../../../src/runtime/index.js';
import { errorCode } from '../../support/error-code.js';
import { EXPORTER_FILES, exporterModels, outputsOf, partsOf, readExporterModel } from '../exporter-models.js';
import { contextWith, normals, ranker, RANKER, rankerFeeds, relativeRms, run, values } from '../support.js';

/** `y = table[ids]`. */
function lookupOf(table: Tensor, opset = 17, ids: readonly string[] = ['n']): Model {
  const builder = new GraphBuilder({ opset });
  const stored = builder.initializer('table', table);
  builder.node('Gather', [stored, builder.input('ids', 'int64', ids)], {}, ['y']);
  builder.output('y', table.dtype);
  return builder.build();
}

const everyTable = (parameters: QuantizeTablesParameters = {}) =>
  quantizeTables({ minWeights: 0, ...parameters });

async function compressed(model: Model, parameters: QuantizeTablesParameters = {}): Promise<Model> {
  return (await everyTable(parameters)(model, contextWith())).model;
}

/** Bytes of all constants of the second model over those of the first. */
function byteShare(before: Model, after: Model): number {
  const bytes = ({ graph }: Model): number =>
    [...graph.initializers.values()].reduce((sum, tensor) => sum + byteLength(tensor), 0);
  return bytes(after) / bytes(before);
}

function initializer(model: Model, name: string): number[] {
  return Array.from(tensorOf(must(model.graph.initializers.get(name), name)).data, Number);
}

const ids = (...rows: readonly number[]): TensorMap => ({ ids: int64(rows) });
const random = createRandom(11);

describe('quantizeTables', () => {
  it('stores each row in 8 bits of its own largest value', async () => {
    const table = float32(Float32Array.of(127, -63, 0, 0, 2.54, -1.26), [3, 2]);
    const int8 = await compressed(lookupOf(table));
    expect(initializer(int8, 'table/int8')).toEqual([127, -63, 0, 0, 127, -63]);
    // Half floats: 1, 0, and 0.02 as (1 + 287 / 1024) / 64.
    expect(initializer(int8, 'table/scales')).toEqual([0x3c00, 0, 0x251f]);
    expect([...int8.graph.initializers.keys()].sort()).toEqual(['table/int8', 'table/scales']);
    const scale = (1 + 0x11f / 1024) / 64;
    const expected = [127, -63, 0, 0, 127 * scale, -63 * scale].map(Math.fround);
    expect(await values(int8, ids(0, 1, 2))).toEqual(expected);
    // Ids count from the end where they are negative, as they did before.
    expect(await values(int8, ids(-1))).toEqual(expected.slice(4));
  });

  it('stores two 4-bit codes a byte with a scale and an offset a row', async () => {
    // Three columns: bytes hold columns 0 and 2, and 1 alone. Both rows are exact in 16 levels.
    const table = float32(Float32Array.of(-1, 14, 3, 0.5, 8, 2), [2, 3]);
    const int4 = await compressed(lookupOf(table), { bits: 4 });
    expect(initializer(int4, 'table/int4')).toEqual([0 | (4 << 4), 15, 0 | (3 << 4), 15]);
    expect(initializer(int4, 'table/scales')).toEqual([0x3c00, 0x3800]);
    expect(initializer(int4, 'table/offsets')).toEqual([0xbc00, 0x3800]);
    expect(await values(int4, ids(1, 0))).toEqual([0.5, 8, 2, -1, 14, 3]);
  });

  it.each([
    { bits: 8, width: 64, bytes: 0.26, error: 0.008 },
    { bits: 8, width: 129, bytes: 0.26, error: 0.008 },
    { bits: 8, symmetric: false, width: 64, bytes: 0.27, error: 0.008 },
    { bits: 4, width: 64, bytes: 0.142, error: 0.09 },
    { bits: 4, width: 129, bytes: 0.142, error: 0.09 },
    { bits: 4, width: 31, bytes: 0.163, error: 0.075 },
  ] as const)('$bits bits, width $width', async ({ width, bytes, error, ...parameters }) => {
    const model = lookupOf(normals(random, [400, width]));
    const feed = ids(...Array.from({ length: 100 }, () => random.integer(400)));
    const { model: small, report } = await everyTable(parameters)(model, contextWith());
    expect(byteShare(model, small)).toBeLessThan(bytes);
    const measured = relativeRms(await values(model, feed), await values(small, feed));
    expect(measured).toBeLessThan(error);
    expect(report.changed).toMatchObject([
      { layer: 'table', weightsBefore: 400 * width, weightsAfter: 400 * width },
    ]);
    expect(report.changed[0]?.relativeError).toBeGreaterThan(0.9 * measured);
    expect(report.changed[0]?.relativeError).toBeLessThan(1.1 * measured);
  });

  it('keeps columns of another size apart, and constant ones exact', async () => {
    const table = normals(random, [600, 16]);
    const data = table.data as Float32Array;
    for (let row = 0; row < 600; row++) {
      data[row * 16 + 3] = 1000 + 30 * random.normal();
      data[row * 16 + 7] = 0.75;
    }
    const model = lookupOf(table);
    const all = ids(...Array.from({ length: 600 }, (_, row) => row));
    const exact = await values(model, all);
    for (const [parameters, allowed] of [
      [{ bits: 8 }, 0.012],
      [{ bits: 4 }, 0.08],
    ] as const) {
      const small = await compressed(model, parameters);
      const actual = await values(small, all);
      const column = (from: readonly number[], c: number): number[] => from.filter((_, i) => i % 16 === c);
      for (const c of [0, 5, 15])
        expect(relativeRms(column(exact, c), column(actual, c))).toBeLessThan(allowed);
      const spread = column(exact, 3).map((value) => value - 1000);
      const measured = column(actual, 3).map((value) => value - 1000);
      expect(relativeRms(spread, measured)).toBeLessThan(allowed);
      expect(new Set(column(actual, 7))).toEqual(new Set([0.75]));
    }
  });

  it.each([1e-9, 1e-3, 3e4, 1e9])('takes values around %f', async (size) => {
    const model = lookupOf(normals(random, [50, 32], size));
    const feed = ids(...Array.from({ length: 50 }, (_, row) => row));
    const exact = await values(model, feed);
    for (const [parameters, allowed] of [
      [{ bits: 8 }, 0.008],
      [{ bits: 8, symmetric: false }, 0.008],
      [{ bits: 4 }, 0.08],
    ] as const)
      expect(relativeRms(exact, await values(await compressed(model, parameters), feed))).toBeLessThan(
        allowed,
      );
  });

  it('takes tables of three dimensions, of half floats, ids of any rank, and old operators', async () => {
    const cube = lookupOf(normals(random, [30, 4, 5]), 11, ['n', 'm']);
    const feed = { ids: int64([3, 29, 0, -1, 7, 7], [2, 3]) };
    for (const bits of [8, 4] as const) {
      const reference = must((await run(cube, feed))['y'], 'y');
      const output = must((await run(await compressed(cube, { bits }), feed))['y'], 'y');
      expect(output.dims).toEqual([2, 3, 4, 5]);
      const [wanted, got] = [reference, output].map(({ data }) => Array.from(data, Number));
      expect(relativeRms(wanted ?? [], got ?? [])).toBeLessThan(bits === 8 ? 0.01 : 0.09);
    }
    const half = lookupOf({
      dtype: 'float16',
      dims: [2, 2],
      data: Uint16Array.of(0x3c00, 0x4c00, 0x4000, 0),
    });
    const small = await compressed(half, { bits: 4 });
    const answer = must((await run(small, ids(1, 0)))['y'], 'y');
    expect(answer.dtype).toBe('float16');
    expect(Array.from(answer.data, Number)).toEqual([0x4000, 0, 0x3c00, 0x4c00]);
    const old = lookupOf(normals(random, [30, 4]), 7);
    expect(relativeRms(await values(old, ids(5)), await values(await compressed(old), ids(5)))).toBeLessThan(
      0.01,
    );
    const { model, report } = await everyTable({ bits: 4 })(old, contextWith());
    expect(model).toBe(old);
    expect(report.left).toMatchObject([{ reason: 'table table: the model has opset 7; this needs 11' }]);
  });

  it('stores a shared table once, in all graphs', async () => {
    const branch = new GraphBuilder({ name: 'branch', opset: 17 });
    branch.node('Gather', ['table', 'ids'], {}, ['inner']);
    branch.output('inner', 'float32');
    const { graph } = branch.build();
    const builder = GraphBuilder.from(lookupOf(normals(random, [40, 8])));
    builder.node('If', [builder.input('condition', 'bool', [])], { then_branch: graph, else_branch: graph }, [
      'z',
    ]);
    builder.output('z', 'float32');
    const model = builder.build();
    const { model: small, report } = await everyTable()(model, contextWith());
    expect(report.changed).toHaveLength(1);
    expect([...small.graph.initializers.keys()].sort()).toEqual(['table/int8', 'table/scales']);
    const feed = { ...ids(3, 9), condition: { dtype: 'bool', dims: [], data: Uint8Array.of(1) } as const };
    expect(await values(small, feed, 'z')).toEqual(await values(small, feed, 'y'));
    expect(relativeRms(await values(model, feed, 'z'), await values(small, feed, 'z'))).toBeLessThan(0.01);
  });

  it('dequantizes rows that are looked up, and no table ahead', async () => {
    // 16 MB in 8 bits: as float32 a session would hold 64 MB of its own.
    const rows = 1 << 18;
    const table = float32(new Float32Array(rows * 64).fill(1), [rows, 64]);
    const small = encodeModel(await compressed(lookupOf(table)));
    const session = await openSession(small);
    const before = process.memoryUsage().rss;
    await session.run(ids(1, 2, 3));
    const grown = process.memoryUsage().rss - before;
    const again = await openSession(small);
    await again.run(ids(1, 2, 3));
    expect(grown).toBeLessThan(2 ** 24);
    expect(process.memoryUsage().rss - before).toBeLessThan(3 * small.byteLength);
    await session.release();
    await again.release();
  });

  it('leaves what is too small, excluded or not finite, and says so', async () => {
    const builder = new GraphBuilder();
    const { op } = builder;
    const input = builder.input('ids', 'int64', ['n']);
    const tables = {
      tiny: normals(random, [4, 4]),
      kept: normals(random, [40, 8]),
      odd: normals(random, [40, 8]),
    };
    (tables.odd.data as Float32Array)[17] = NaN;
    for (const [name, table] of Object.entries(tables))
      builder.output(op.Gather(builder.initializer(name, table), input), 'float32');
    const model = builder.build();
    const { model: same, report } = await quantizeTables({ minWeights: 100, exclude: ['ke*'] })(
      model,
      contextWith(),
    );
    expect(same).toBe(model);
    expect(report.left).toEqual([
      { layer: 'Gather', op: 'Gather', reason: 'table tiny: 16 elements are fewer than minWeights 100' },
      { layer: 'Gather_1', op: 'Gather', reason: 'table kept: it is excluded' },
      { layer: 'Gather_2', op: 'Gather', reason: 'table odd: it has values that are not finite' },
    ]);
    await expect(
      Promise.resolve().then(() => quantizeTables({ exclude: ['zzz'] })(model, contextWith())),
    ).rejects.toMatchObject({ code: 'RECIPE_INVALID' });
    expect(errorCode(() => quantizeTables({ bits: 4, symmetric: true }))).toBe('RECIPE_INVALID');
  });

  it('changes a ranker little, composes with int8, and gives the same bytes again', async () => {
    const recipe = parseRecipe([
      { pass: 'quantize-tables', bits: 4, minWeights: 0 },
      { pass: 'quantize-dynamic', minWeights: 256 },
    ]);
    const model = ranker();
    const before = encodeModel(model);
    const once = () => compressModel(model, recipe, contextWith(rankerFeeds(4)));
    const { model: small, report } = await once();
    expect(report.steps.map(({ changed }) => changed.length)).toEqual([1, 5]);
    expect(report.steps[0]?.outputs['score']?.cosine).toBeGreaterThan(0.98);
    expect(report.after.tableBytes).toBeLessThan(0.2 * report.before.tableBytes);
    expect(report.before.tableBytes).toBe(4 * RANKER.items * RANKER.width);
    expect(modelStats(small).tableBytes).toBe(RANKER.items * (RANKER.width / 2 + 4));
    expect(Buffer.compare(encodeModel((await once()).model), encodeModel(small))).toBe(0);
    expect(Buffer.compare(encodeModel(model), before)).toBe(0);
  });
});

/** Tables that each model has changed with `minWeights` 0. */
const CHANGED: Readonly<Record<string, number>> = {
  'TFBertForQuestionAnswering.onnx': 3,
  // The word table is also the output layer's.
  'bert_toy_optimized.onnx': 2,
  'gpt2_past.onnx': 2,
  'vespa_transformer.onnx': 1,
};

describe.skipIf(exporterModels === undefined)('models from other exporters', () => {
  test.each(EXPORTER_FILES)('%s: runs, and what is not changed is left bit for bit', async (file) => {
    const { model, feeds } = await readExporterModel(file);
    const before = partsOf(model);
    const reference = await outputsOf(model, feeds);
    for (const bits of [8, 4] as const) {
      const { model: small, report } = await everyTable({ bits })(model, contextWith());
      checkModel(small);
      expect(report.changed).toHaveLength(CHANGED[file] ?? 0);
      const after = partsOf(small);
      const gone = new Set(report.changed.map(({ layer }) => layer));
      for (const [name, part] of before)
        if (!gone.has(name) && after.has(name)) {
          if (after.get(name) !== part) expect(part).toMatch(/^\["Gather/);
        } else expect(gone).toContain(name);
      expect(after.size > before.size).toBe(gone.size > 0);
      for (const { cosine } of Object.values(outputErrors(reference, await outputsOf(small, feeds))))
        expect(cosine ?? 1).toBeGreaterThan(bits === 8 ? 0.999 : 0.9);
    }
    expect([...partsOf(model)]).toEqual([...before]);
  });
});

import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { createRandom, float32, int64, must } from '../../../src/core/index.js';
import type { TensorMap } from '../../../src/core/index.js';
import { compressModel, modelStats, parseRecipe } from '../../../src/compression/index.js';
import { mergeError, mergeRows } from '../../../src/compression/kernels/merge-rows-kernel.js';
import { mergeRareRows } from '../../../src/compression/passes/merge-rare-rows.js';
import { checkModel, encodeModel, GraphBuilder, tensorOf } from '../../../src/onnx/index.js';
import type { Model } from '../../../src/onnx/index.js';
import { errorCode, rejectionCode } from '../../support/error-code.js';
import { EXPORTER_FILES, exporterModels, outputsOf, partsOf, readExporterModel } from '../exporter-models.js';
import { contextWith, normals, ranker, RANKER, rankerFeeds, values } from '../support.js';

const everyTable = (parameters: Parameters<typeof mergeRareRows>[0] = {}) =>
  mergeRareRows({ minWeights: 0, ...parameters });

const ids = (...rows: readonly number[]): TensorMap => ({ ids: int64(rows) });

function initializer(model: Model, name: string): number[] {
  return Array.from(tensorOf(must(model.graph.initializers.get(name), name)).data, Number);
}

/** `y = table[ids]` with row `r` all `10^r`. */
function powers(rows: number, width = 8): Model {
  const builder = new GraphBuilder({ opset: 17 });
  const table = Float32Array.from({ length: rows * width }, (_, at) => 10 ** Math.floor(at / width));
  const stored = builder.initializer('table', float32(table, [rows, width]));
  builder.node('Gather', [stored, builder.input('ids', 'int64', ['n'])], {}, ['y']);
  builder.output('y', 'float32');
  return builder.build();
}

const firsts = async (model: Model, feed: TensorMap): Promise<readonly number[]> =>
  (await values(model, feed)).filter((_, at) => at % 8 === 0);

describe('mergeRareRows', () => {
  it('merges rows that were never looked up, and keeps the others exact', async () => {
    const model = powers(6);
    const { model: small, report } = await everyTable()(model, contextWith([ids(4, 1, 1), ids(-6)]));
    // Kept are 0 (as -6), 1 and 4; the others' mean is (100 + 1000 + 100000) / 3.
    expect(initializer(small, 'table/map')).toEqual([0, 1, 3, 3, 2, 3]);
    const mean = Math.fround(101100 / 3);
    expect(await firsts(small, ids(0, 1, 2, 3, 4, 5, -1))).toEqual([1, 10, mean, mean, 10000, mean, mean]);
    expect(report.changed).toEqual([
      {
        layer: 'table',
        change: '3 of 6 rows, with 0.00 % of 4 lookups, share one row',
        weightsBefore: 48,
        weightsAfter: 4 * 8 + 6,
        relativeError: 0,
      },
    ]);
    expect(report.notes?.[0]).toContain('share one row');
    expect([...small.graph.initializers.keys()].sort()).toEqual(['table/frequent', 'table/map']);
    expect(modelStats(small)).toMatchObject({ tableWeights: 38, otherWeights: 0 });
  });

  it('merges rows below minCount into their weighted or plain mean', async () => {
    const feeds = contextWith([ids(0, 0, 0, 1, 1, 1, 2, 3, 3)]);
    const { model: weighted, report } = await everyTable({ minCount: 3 })(powers(5), feeds);
    expect(await firsts(weighted, ids(0, 1, 2, 3, 4))).toEqual([1, 10, 700, 700, 700]);
    expect(report.changed[0]?.change).toBe('3 of 5 rows, with 33.33 % of 9 lookups, share one row');
    // Row 2 once off by 600, row 3 twice by 300, over 3·1² + 3·10² + 100² + 2·1000².
    const expected = Math.sqrt((600 ** 2 + 2 * 300 ** 2) / (303 + 10000 + 2e6));
    expect(report.changed[0]?.relativeError).toBeCloseTo(expected, 9);
    const { model: plain } = await everyTable({ minCount: 3, sharedRow: 'mean' })(powers(5), feeds);
    expect(await firsts(plain, ids(0, 2, 4))).toEqual([1, 3700, 3700]);
  });

  it('keeps a share of rows, of equally frequent ones the first', async () => {
    const { model: small } = await everyTable({ keepShare: 0.5 })(
      powers(8),
      contextWith([ids(6, 6, 2, 5, 7)]),
    );
    // By frequency 6, then 2, 5 and 7, which are equal; the table keeps their order.
    expect(initializer(small, 'table/map')).toEqual([4, 4, 0, 4, 4, 1, 2, 3]);
    const { model: three } = await everyTable({ keepShare: 0.375 })(
      powers(8),
      contextWith([ids(6, 6, 2, 5, 7)]),
    );
    expect(initializer(three, 'table/map')).toEqual([3, 3, 0, 3, 3, 1, 2, 3]);
  });

  it('serves all lookups of a ranker from one map, composes, and gives the same bytes again', async () => {
    const model = ranker();
    const before = encodeModel(model);
    const feeds = rankerFeeds(2, 8).map((feed) => ({
      ...feed,
      history: int64(new Array<number>(2 * RANKER.history).fill(3), [2, RANKER.history]),
      candidate: int64([1, 2, 3, 4, 1, 2, 3, 49]),
    }));
    const recipe = parseRecipe([
      { pass: 'merge-rare-rows', minWeights: 0 },
      { pass: 'quantize-tables', minWeights: 0 },
    ]);
    const once = () => compressModel(model, recipe, contextWith(feeds));
    const { model: small, report } = await once();
    expect(report.steps.map(({ changed }) => changed.length)).toEqual([1, 1]);
    // Every row that the requests show is kept as it was.
    expect(report.steps[0]?.outputs['score']?.maxAbsolute).toBe(0);
    expect(report.after.tableBytes).toBe(6 * RANKER.width + 6 * 2 + RANKER.items * 4);
    expect(report.outputs['score']?.cosine).toBeGreaterThan(0.999);
    expect(Buffer.compare(encodeModel((await once()).model), encodeModel(small))).toBe(0);
    expect(Buffer.compare(encodeModel(model), before)).toBe(0);
  });

  it('leaves what would not shrink or cannot be counted, and says why', async () => {
    const { model: same, report } = await everyTable()(powers(4), contextWith([ids(0, 1, 2)]));
    expect(same.graph.initializers.has('table')).toBe(true);
    expect(report).toEqual({
      changed: [],
      left: [
        {
          layer: 'Gather',
          op: 'Gather',
          reason: 'table table: too few rows are rare (1 of 4) to pay for a map of ids',
        },
      ],
    });
    const reason = async (model: Model, parameters: Parameters<typeof mergeRareRows>[0], feed: TensorMap) =>
      (await mergeRareRows(parameters)(model, contextWith([feed]))).report.left.map(({ reason: why }) => why);
    expect(await reason(powers(5), {}, ids(0))).toEqual([
      'table table: 40 elements are fewer than minWeights 4096',
    ]);
    expect(await reason(powers(5), { minWeights: 0, exclude: ['tab*'] }, ids(0))).toEqual([
      'table table: it is excluded',
    ]);
    const spoilt = powers(5);
    const data = tensorOf(must(spoilt.graph.initializers.get('table'), 'table')).data as Float32Array;
    data[20] = NaN;
    expect(await reason(spoilt, { minWeights: 0 }, ids(0))).toEqual([
      'table table: rows to merge have values that are not finite',
    ]);
    const builder = new GraphBuilder({ opset: 17 });
    const half = builder.initializer('half', { dtype: 'float16', dims: [9, 8], data: new Uint16Array(72) });
    const nd = builder.initializer('nd', normals(createRandom(1), [9, 8]));
    const input = builder.input('ids', 'int64', ['n']);
    builder.output(builder.op.Gather(half, input), 'float16');
    const pairs = builder.input('places', 'int64', ['n', 1]);
    builder.output(builder.op.GatherND(nd, pairs), 'float32');
    expect(await reason(builder.build(), { minWeights: 0 }, {})).toEqual([
      'table half: it is float16, not float32',
      'table nd: it is looked up by GatherND',
    ]);
  });

  it('refuses what contradicts itself, and to work without requests', async () => {
    expect(errorCode(() => mergeRareRows({ minCount: 2, keepShare: 0.5 }))).toBe('RECIPE_INVALID');
    expect(await rejectionCode(everyTable()(powers(5), contextWith()))).toBe('RECIPE_INVALID');
    expect(await rejectionCode(everyTable({ exclude: ['zzz'] })(powers(5), contextWith([ids(0)])))).toBe(
      'RECIPE_INVALID',
    );
  });
});

describe('mergeRows', () => {
  it('maps kept rows to copies of themselves and all others to one row that minimises the squared error', () => {
    const row = fc.record({ kept: fc.boolean(), count: fc.nat(5), values: fc.tuple(fc.nat(99), fc.nat(99)) });
    fc.assert(
      fc.property(fc.array(row, { minLength: 1, maxLength: 20 }), fc.nat(1), (rows, column) => {
        const table = Float32Array.from(rows.flatMap(({ values: each }) => each));
        const isKept = Uint8Array.from(rows, ({ kept }) => Number(kept));
        const counts = Float64Array.from(rows, ({ count }) => count);
        const kept = isKept.reduce((sum, each) => sum + each, 0);
        const merged = new Float32Array((kept + 1) * 2);
        const map = new Int32Array(rows.length);
        mergeRows(table, 2, isKept, counts, merged, map);
        rows.forEach(({ kept: keeps, values: each }, index) => {
          const place = map[index] ?? -1;
          if (keeps) expect([merged[2 * place], merged[2 * place + 1]]).toEqual(each);
          else expect(place).toBe(kept);
        });
        const error = mergeError(table, 2, merged, map, counts);
        merged[2 * kept + column] = (merged[2 * kept + column] ?? 0) + 1;
        expect(mergeError(table, 2, merged, map, counts)).toBeGreaterThanOrEqual(error - 1e-9);
      }),
    );
  });
});

describe.skipIf(exporterModels === undefined)('models from other exporters', () => {
  test.each(EXPORTER_FILES)('%s: answers its calibration requests as before', async (file) => {
    const { model, feeds } = await readExporterModel(file);
    const before = partsOf(model);
    const { model: small, report } = await everyTable()(model, contextWith(feeds));
    checkModel(small);
    const after = partsOf(small);
    const gone = new Set(report.changed.map(({ layer }) => layer));
    for (const [name, part] of before)
      if (!gone.has(name) && after.get(name) !== part) expect(part).toMatch(/^\["Gather/);
    expect(after.size > before.size).toBe(gone.size > 0);
    expect(report.changed.every(({ relativeError }) => relativeError === 0)).toBe(true);
    // Random inputs are ids of 0 and 1, so that word tables shrink.
    if (file.startsWith('vespa_transformer') || file.startsWith('TFBert'))
      expect(gone.size).toBeGreaterThan(0);
    const [wanted, got] = [await outputsOf(model, feeds), await outputsOf(small, feeds)];
    expect(got.map((answer) => Object.keys(answer))).toEqual(wanted.map((answer) => Object.keys(answer)));
    for (const [index, answer] of got.entries())
      for (const [name, { data }] of Object.entries(answer))
        expect(Array.from(data, String)).toEqual(Array.from(must(wanted[index]?.[name], name).data, String));
  });
});

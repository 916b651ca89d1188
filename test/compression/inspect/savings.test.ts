import { describe, expect, test } from 'vitest';
import { must } from '../../../src/core/index.js';
import type { TensorMap } from '../../../src/core/index.js';
import { findFeeds } from '../../../src/compression/index.js';
import { sumOf } from '../../../src/compression/inspect/weight-ledger.js';
import { estimateSavings } from '../../../src/compression/inspect/savings.js';
import type { Saving } from '../../../src/compression/inspect/subject.js';
import { modelStats, multiplyAddsPer100Rows } from '../../../src/compression/measure/model-stats.js';
import { createPass, readRecipe } from '../../../src/compression/recipes.js';
import { totalBytes } from '../../../src/compression/report/overview.js';
import { probeShapes } from '../../../src/onnx/index.js';
import type { Model } from '../../../src/onnx/index.js';
import { openSession } from '../../../src/runtime/index.js';
import { EXPORTER_FILES, exporterModels, readExporterModel } from '../exporter-models.js';
import { contextWith, gemmMlp, ranker, rankerFeeds, rowFeeds } from '../support.js';

async function savingsOf(model: Model, feed: TensorMap): Promise<ReadonlyMap<string, Saving>> {
  const savings = estimateSavings(model, await probeShapes(model, openSession, feed));
  return new Map(savings.map((saving) => [saving.recipe, saving]));
}

/** Layers or tables changed, bytes and multiply-adds as the pass itself leaves them, at the recipe's settings. */
async function really(
  model: Model,
  recipe: string,
  feeds: readonly TensorMap[],
): Promise<{ changed: number; bytes: number; multiplyAdds: number }> {
  const [step] = await readRecipe(recipe);
  const pass = createPass(must(step, recipe));
  const { model: after, report } = await pass(model, contextWith(feeds));
  return {
    changed: report.changed.length,
    bytes: totalBytes(modelStats(after)),
    multiplyAdds: await multiplyAddsPer100Rows(after, must(feeds[0], 'feed'), openSession),
  };
}

function bytesOf({ bytes }: Saving): number {
  return sumOf(must(bytes, 'bytes'));
}

describe('estimates', () => {
  const quantizers = ['int8', 'w8', 'w4', 'int8tables', 'int4tables'];

  test.skipIf(exporterModels === undefined).each(EXPORTER_FILES)(
    'of what quantizes take what it takes: %s',
    async (file) => {
      const { model, feeds } = await readExporterModel(file);
      const savings = await savingsOf(model, must(feeds[0], 'feed'));
      for (const recipe of quantizers) {
        const saving = must(savings.get(recipe), recipe);
        const real = await really(model, recipe, feeds);
        expect([recipe, saving.takes]).toEqual([recipe, real.changed]);
        if (saving.takes === 0) expect(bytesOf(saving)).toBe(real.bytes);
        // This model's weights repeat: the passes store equal ones once, which takes reading them to know.
        if (saving.takes === 0 || file === 'tiny_gpt2_beamsearch.onnx') continue;
        expect(bytesOf(saving) / real.bytes, recipe).toBeGreaterThan(0.97);
        expect(bytesOf(saving) / real.bytes, recipe).toBeLessThan(1.03);
      }
    },
  );

  test('of a chain of dense layers: bytes and multiply-adds', async () => {
    const model = gemmMlp([256, 512, 256, 1]);
    const feeds = rowFeeds(256, 300, 2);
    const savings = await savingsOf(model, must(feeds[0], 'feed'));
    for (const recipe of ['pruned', 'lowrank', 'static', 'int8', 'w4', 'sparse']) {
      const saving = must(savings.get(recipe), recipe);
      const real = await really(model, recipe, feeds);
      // Ranks are multiples of 16 below the budget.
      const tolerance = recipe === 'lowrank' ? 0.08 : 0.03;
      const work = must(saving.multiplyAddsPer100Rows, recipe) / real.multiplyAdds;
      for (const ratio of [bytesOf(saving) / real.bytes, work])
        expect(Math.abs(ratio - 1), recipe).toBeLessThan(tolerance);
    }
    expect(savings.get('heads')?.takes).toBe(0);
    expect(savings.get('int8')).toMatchObject({ takes: 2, of: 3, unit: 'layers', needsRequests: false });
  });

  test('of a ranker’s pruned neurons follow Concat', async () => {
    const feeds = rankerFeeds(4);
    const saving = must((await savingsOf(ranker(), must(feeds[0], 'feed'))).get('pruned'), 'pruned');
    const real = await really(ranker(), 'pruned', feeds);
    expect(must(saving.multiplyAddsPer100Rows, 'work') / real.multiplyAdds).toBeCloseTo(1, 1);
    expect(bytesOf(saving) / real.bytes).toBeCloseTo(1, 1);
  });

  test('say nothing of multiply-adds where the model was not run', () => {
    const savings = estimateSavings(gemmMlp([64, 64, 1]), undefined);
    expect(new Set(savings.map((saving) => saving.multiplyAddsPer100Rows))).toEqual(new Set([null]));
    expect(savings.find(({ recipe }) => recipe === 'int8')).toMatchObject({ takes: 1, timesFaster: null });
  });

  test('of speed: wide layers gain, narrow ones do not', async () => {
    const rangeOf = async (width: number): Promise<Saving['timesFaster']> => {
      const model = gemmMlp([4 * width, 4 * width, width]);
      const [feed = {}] = await findFeeds(model, { openSession, seed: 1 }, 1);
      return must((await savingsOf(model, feed)).get('int8'), 'int8').timesFaster;
    };
    // A quarter of the time outside, and the rest 2.5 times faster; at most all of it 3.8 times.
    const wide = await rangeOf(64);
    expect(wide?.low).toBeCloseTo(1 / (0.25 + 0.75 / 2.5), 9);
    expect(wide?.high).toBeCloseTo(3.8, 9);
    // 128 × 128 gains, 128 × 32 does not: 4 of 5 multiply-adds.
    expect((await rangeOf(32))?.high).toBeCloseTo(1 / (0.2 + 0.8 / 3.8), 9);
  });
});

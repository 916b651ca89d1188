import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { compressModel, parseRecipe } from '../../src/compression/index.js';
import { must, sha256 } from '../../src/core/index.js';
import { decodeModel, encodeModel, readModel, writeModel } from '../../src/onnx/index.js';
import type { Model } from '../../src/onnx/index.js';
import { contextWith, gemmMlp, rowFeeds } from './support.js';

test('a model compresses to the same bytes and report wherever its weights are', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'whittle-large-'));
  const bytes = encodeModel(gemmMlp([512, 1024, 640, 8]));
  const single = join(folder, 'single.onnx');
  const external = join(folder, 'external.onnx');
  await writeFile(single, bytes);
  await writeModel(decodeModel(bytes), external);
  const context = contextWith(rowFeeds(512, 8));
  const recipe = parseRecipe([{ pass: 'quantize-dynamic' }]);
  const models: readonly Model[] = [decodeModel(bytes), await readModel(single), await readModel(external)];
  expect(models.map(({ graph }) => must(graph.initializers.get('w1'), 'w1').content.kind)).toEqual([
    'bytes',
    'file',
    'file',
  ]);
  const results = [];
  for (const model of models) {
    const { model: compressed, report } = await compressModel(model, recipe, context);
    results.push({ hash: sha256(encodeModel(compressed)), report });
  }
  expect(must(results[0], 'result').report.steps[0]?.changed).toHaveLength(3);
  expect(results[1]).toEqual(results[0]);
  expect(results[2]).toEqual(results[0]);
  await rm(folder, { recursive: true });
});

import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { compress, parseRecipe, passes } from '../../src/compression/index.js';
import { must } from '../../src/core/index.js';
import { encodeModel, readModel, writeModel } from '../../src/onnx/index.js';
import { rejectionCode } from '../support/error-code.js';
import { gemmMlp, rowFeeds } from './support.js';

const MLP = gemmMlp([64, 96, 32, 1]);
const FEEDS = rowFeeds(64, 100);

let folder = '';
const at = (name: string): string => join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whittle-library-'));
  await writeModel(MLP, at('ranker.onnx'));
  const rows = Array.from(FEEDS[0]?.['x']?.data ?? [], Number);
  const lines = Array.from({ length: 100 }, (_, row) =>
    JSON.stringify({ x: rows.slice(row * 64, row * 64 + 64) }),
  );
  await writeFile(at('requests.jsonl'), lines.join('\n'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('a path or a model, requests or a file of them, shorthands or steps: the same result', async () => {
  const steps = [passes.pruneStructured({ allocation: 'global', share: 0.6 }), passes.quantizeDynamic()];
  const one = await compress(at('ranker.onnx'), 'int8+pruned', { calibration: at('requests.jsonl') });
  // The file's 100 rows come in feeds of 64 and 36.
  const x = must(FEEDS[0]?.['x'], 'x');
  const part = (start: number, end: number) => ({
    x: { ...x, dims: [end - start, 64], data: (x.data as Float32Array).slice(start * 64, end * 64) },
  });
  const other = await compress(MLP, steps, { calibration: [part(0, 64), part(64, 100)], seed: 1 });
  expect(one.report).toEqual(other.report);
  expect(Buffer.compare(encodeModel(one.model), encodeModel(other.model))).toBe(0);
});

test('passes are steps that recipes understand', () => {
  expect(passes.lowRank({ rankShare: 0.5 })).toEqual({ pass: 'low-rank', rankShare: 0.5 });
  const steps = Object.values(passes).map((pass) => pass());
  expect(parseRecipe(steps)).toEqual(steps);
});

test('what is wrong is said', async () => {
  expect(await rejectionCode(compress(MLP, 'int9'))).toBe('RECIPE_INVALID');
  expect(await rejectionCode(compress(at('none.onnx'), 'int8'))).toBe('FILE_MISSING');
  expect(await rejectionCode(compress(MLP, 'int8', { calibration: at('none.csv') }))).toBe('DATASET_INVALID');
});

test('the example of docs/library.md runs', async () => {
  const page = await readFile(new URL('../../docs/library.md', import.meta.url), 'utf8');
  const example = must(/```ts\n(.*?)```/s.exec(page)?.[1], 'example');
  const library = new URL('../../src/index.ts', import.meta.url).href;
  await writeFile(at('example.mts'), example.replace("'whittle'", `'${library}'`));
  const tsx = import.meta.resolve('tsx');
  const { stdout } = await promisify(execFile)(process.execPath, ['--import', tsx, 'example.mts'], {
    cwd: folder,
  });
  expect(stdout).toMatch(/^\d+ \d+ \{\s+y: \{/);
  expect((await readModel(at('small/ranker.onnx'))).graph.nodes.length).toBeGreaterThan(3);
}, 60_000);

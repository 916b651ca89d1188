import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { EvaluationReport } from '../../src/cli/evaluation/report.js';
import { must, readManifest, sha256File, verifyFiles } from '../../src/core/index.js';
import { createDemoWorld } from '../../src/data/index.js';
import { whittleSucceeds } from './whittle.js';

const SIZES = ['--items', '150', '--users', '200', '--interactions', '10'];

let folder = '';
const at = (name: string): string => join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whittle-demo-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** SHA-256 by file, bundle.json too. */
async function hashesOf(bundle: string): Promise<Record<string, string>> {
  const entries = await readdir(bundle, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
  const hashes = await Promise.all(paths.map(sha256File));
  return Object.fromEntries(
    paths.map((path, index) => [path.slice(bundle.length), must(hashes[index], 'hash')]),
  );
}

test('the same seed and sizes build the same bundle, bit for bit, however busy the machine is', async () => {
  // Side by side and of the same name: each disturbs the other's timing.
  const [one, other] = [at('one/demo'), at('other/demo')];
  await Promise.all([one, other].map((out) => whittleSucceeds('demo', ...SIZES, '--out', out)));
  const hashes = await hashesOf(one);
  expect(await hashesOf(other)).toEqual(hashes);
  const manifest = await readManifest(one);
  await verifyFiles(one, manifest);
  expect(Object.keys(manifest.variants)).toEqual(['full', 'int8', 'pruned', 'lowrank']);
  expect(manifest.catalogue.rows).toBe(150);
  expect(Object.keys(hashes)).toHaveLength(Object.keys(manifest.files).length + 1);
}, 180_000);

test('a demo bundle is judged without data: its shop is made again', async () => {
  const { stdout } = await whittleSucceeds('evaluate', at('one/demo'), '--no-floors', '--json');
  const { dataset, recommend, search } = JSON.parse(stdout) as EvaluationReport;
  const shop = createDemoWorld({ items: 150, users: 200, interactionsPerUser: 10, seed: 1 });
  expect(dataset).toBe('demo');
  for (const rows of [recommend, search])
    expect(rows.map(({ name }) => name)).toEqual(['full', 'retrieval', 'int8', 'pruned', 'lowrank']);
  for (const { cases } of recommend) expect(cases).toBe(200);
  for (const { cases } of search) expect(cases).toBe(shop.dataset.queries.length);
}, 120_000);

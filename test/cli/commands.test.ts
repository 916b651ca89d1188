import { cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { EvaluationReport } from '../../src/cli/evaluation/report.js';
import { must, readManifest, sha256, sha256File, verifyFiles } from '../../src/core/index.js';
import { readModel } from '../../src/onnx/index.js';
import { popularityRelevance, shopCsv, shopEvents } from './shop-data.js';
import { whittle, whittleSucceeds, type Finished } from './whittle.js';

const RECIPES = ['int8', 'pruned', 'lowrank'];
const MAP = ['--map', 'user=customer', 'item=sku', 'time=ts', 'text=name'];
const SMALL = ['--epochs', '2', '--dimensions', '16', '--ranker-examples', '320', '--seed', '3'];

let folder = '';
const at = (name: string): string => join(folder, name);
let trained: Finished;
const compressed = new Map<string, Finished>();

// One bundle for all tests: trained, then compressed three ways.
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whittle-commands-'));
  await writeFile(at('events.csv'), shopCsv());
  trained = await whittleSucceeds('train', at('events.csv'), ...MAP, ...SMALL, '--out', at('shop'), '--json');
  for (const recipe of RECIPES)
    compressed.set(recipe, await whittleSucceeds('compress', at('shop'), '--recipe', recipe, '--json'));
}, 180_000);

afterAll(() => rm(folder, { recursive: true, force: true }));

/** SHA-256 by file, bundle.json too. */
async function hashesOf(bundle: string): Promise<Record<string, string>> {
  const entries = await readdir(at(bundle), { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
  const hashes = await Promise.all(paths.map(sha256File));
  return Object.fromEntries(
    paths.map((path, index) => [path.slice(at(bundle).length), must(hashes[index], 'hash')]),
  );
}

/** External weight files of a variant by tensor. */
async function weightFiles(variant: string): Promise<Map<string, string>> {
  const { graph } = await readModel(at(`shop/${variant}.onnx`));
  return new Map(
    [...graph.initializers.values()].flatMap(({ name, content }): [string, string][] =>
      content.kind === 'file' ? [[name, content.path]] : [],
    ),
  );
}

describe('train', () => {
  test('writes a whole bundle that remembers how it was made', async () => {
    expect(JSON.parse(trained.stdout)).toMatchObject({ bundle: at('shop'), protocol: 'last-item' });
    const manifest = await readManifest(at('shop'));
    await verifyFiles(at('shop'), manifest);
    expect(manifest.name).toBe('shop');
    expect(manifest.catalogue.rows).toBe(new Set(shopEvents().map(({ sku }) => sku)).size);
    expect(manifest.provenance).toMatchObject({
      dataset: 'events',
      mapping: { user: 'customer', item: 'sku', time: 'ts', text: 'name' },
      protocol: 'last-item',
      settings: { seed: 3, epochs: 2, dimensions: 16, rankerExamples: 320 },
    });
    // Nothing of when and where: a rebuild must be equal.
    expect(JSON.stringify(manifest)).not.toContain(folder);
    expect(await readdir(folder)).toEqual(['events.csv', 'shop']);
  });
});

describe('compress', () => {
  test('adds the variant, its report and a pipeline', async () => {
    const { variants, pipelines } = await readManifest(at('shop'));
    expect(Object.keys(variants)).toEqual(['full', ...RECIPES]);
    for (const recipe of RECIPES) {
      expect(variants[recipe]).toMatchObject({ parent: 'full', file: `${recipe}.onnx` });
      expect(pipelines[recipe]).toEqual({ ...pipelines['full'], ranker: recipe });
      const { variant, report } = JSON.parse(must(compressed.get(recipe), recipe).stdout) as Record<
        string,
        unknown
      >;
      expect(variant).toBe(recipe);
      const written: unknown = JSON.parse(await readFile(at(`shop/${recipe}.report.json`), 'utf8'));
      expect(report).toEqual(written);
      for (const extension of ['md', 'html'])
        expect(await readFile(at(`shop/${recipe}.report.${extension}`), 'utf8')).toContain(`shop: ${recipe}`);
      const { before, after } = report as { before: { denseBytes: number }; after: { denseBytes: number } };
      expect(after.denseBytes).toBeLessThan(before.denseBytes / 2);
    }
  });

  test('variants point at the same file for the table, named by its content', async () => {
    const tables = new Set<string>();
    for (const variant of ['full', ...RECIPES])
      tables.add(must((await weightFiles(variant)).get('items.table'), `table of ${variant}`));
    expect(tables.size).toBe(1);
    for (const path of tables) expect(basename(path)).toBe(`${await sha256File(path)}.bin`);
  });

  test('a second run changes no byte', async () => {
    const before = await hashesOf('shop');
    await whittleSucceeds('compress', at('shop'), '--recipe', 'int8');
    expect(await hashesOf('shop')).toEqual(before);
  });

  test('goes on from another variant', async () => {
    await cp(at('shop'), at('further'), { recursive: true });
    await writeFile(at('half.json'), JSON.stringify([{ pass: 'quantize-dynamic' }]));
    await whittleSucceeds('compress', at('further'), '--recipe', at('half.json'), '--from', 'pruned');
    const { variants } = await readManifest(at('further'));
    expect(variants['half']).toMatchObject({ parent: 'pruned', recipe: [{ pass: 'quantize-dynamic' }] });
    const [pruned, half] = await Promise.all(
      ['pruned', 'half'].map(async (name) => (await stat(at(`further/${name}.onnx`))).size),
    );
    expect(half).not.toBe(pruned);
  });

  test('a variant to start from that is not there is named, with those that are', async () => {
    const before = await hashesOf('shop');
    const { code, stderr } = await whittle(
      'compress',
      at('shop'),
      '--recipe',
      'int8',
      '--name',
      'x',
      '--from',
      'int4',
    );
    expect(code).toBe(2);
    expect(stderr).toContain('USAGE_INVALID');
    expect(stderr).toContain('has no variant int4; it has full, int8, pruned, lowrank');
    expect(await hashesOf('shop')).toEqual(before);
  });
});

describe('evaluate', () => {
  let report: EvaluationReport;
  beforeAll(async () => {
    const { stdout } = await whittleSucceeds(
      ...['evaluate', at('shop'), '--data', at('events.csv'), '--json', '--out', at('judged')],
    );
    expect(stdout.trimEnd().split('\n')).toHaveLength(1);
    report = JSON.parse(stdout) as EvaluationReport;
  }, 120_000);

  test('prints the fields that its page lists, and writes the same to files', async () => {
    const page = await readFile(new URL('../../docs/evaluate.md', import.meta.url), 'utf8');
    const rows = page.split('\n').filter((line) => line.startsWith('| `'));
    const names = (cell: string): string[] =>
      [...cell.matchAll(/`(\w+)(?:\[\])?`/g)].map(([, name = '']) => name);
    const listed = rows.map((row) => row.split('|').slice(1, 3) as [string, string]);
    expect(listed.flatMap(([field]) => names(field)).sort()).toEqual(Object.keys(report).sort());
    const fieldsOf = (field: string): string[] =>
      names(
        must(
          listed.find(([first]) => names(first).includes(field)),
          field,
        )[1],
      );
    expect(fieldsOf('variants')).toEqual(expect.arrayContaining(Object.keys(report.variants[0] ?? {})));
    expect(fieldsOf('recommend')).toEqual(expect.arrayContaining(Object.keys(report.recommend[0] ?? {})));
    expect(JSON.parse(await readFile(at('judged.json'), 'utf8'))).toEqual(report);
    expect(await readFile(at('judged.md'), 'utf8')).toContain('| lowrank |');
  });

  test('judges every pipeline and floor on every customer', () => {
    const customers = new Set(shopEvents().map(({ customer }) => customer)).size;
    expect(report).toMatchObject({ dataset: 'events', protocol: 'last-item', search: [] });
    const names = report.recommend.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(['full', 'retrieval', ...RECIPES, 'floor: popularity']));
    expect(names.filter((name) => name.startsWith('floor: ')).length).toBeGreaterThan(2);
    for (const { cases, metrics } of report.recommend) {
      expect(cases).toBe(customers);
      expect(Object.keys(metrics)).toEqual(['recall@10', 'recall@20', 'NDCG@10', 'MRR@10', 'HR@10']);
      for (const { mean, low, high } of Object.values(metrics)) {
        expect(mean).toBeGreaterThan(0);
        expect(mean).toBeLessThanOrEqual(1);
        expect(low).toBeLessThan(mean);
        expect(high).toBeGreaterThan(mean);
      }
      expect(metrics['recall@20']?.mean).toBeGreaterThanOrEqual(metrics['recall@10']?.mean ?? NaN);
      // One item is held out: either it is hit or not.
      expect(metrics['HR@10']?.mean).toBe(metrics['recall@10']?.mean);
    }
  });

  test('popularity is worth what counting by hand says', () => {
    const { metrics } = must(
      report.recommend.find(({ name }) => name === 'floor: popularity'),
      'floor',
    );
    const { ndcgAt10, recallAt10 } = popularityRelevance();
    expect(metrics['NDCG@10']?.mean).toBeCloseTo(ndcgAt10, 10);
    expect(metrics['recall@10']?.mean).toBeCloseTo(recallAt10, 10);
  });

  test('retention is relevance against full, and full keeps all of its own', () => {
    const [full] = report.variants;
    expect(full).toMatchObject({ name: 'full', retention: { mean: 1 }, overlapAt10: { mean: 1 } });
    expect(report.variants.map(({ name }) => name)).toEqual(['full', ...RECIPES]);
    for (const { name, ndcgAt10, retention, overlapAt10 } of report.variants) {
      const { metrics } = must(
        report.recommend.find((row) => row.name === name),
        name,
      );
      expect(ndcgAt10).toEqual(metrics['NDCG@10']);
      expect(retention.mean).toBeCloseTo(ndcgAt10.mean / (full?.ndcgAt10.mean ?? NaN), 10);
      expect(overlapAt10.mean).toBeGreaterThan(0.5);
      expect(overlapAt10.mean).toBeLessThanOrEqual(1);
    }
  });

  test('bytes are those on disk: own and shared make the whole', async () => {
    const files = new Map<string, Set<string>>();
    for (const name of ['full', ...RECIPES]) files.set(name, new Set((await weightFiles(name)).values()));
    for (const { name, ownBytes, sharedBytes, denseWeights } of report.variants) {
      const others = new Set([...files].flatMap(([other, paths]) => (other === name ? [] : [...paths])));
      let [own, shared] = [(await stat(at(`shop/${name}.onnx`))).size, 0];
      for (const path of must(files.get(name), name)) {
        const { size } = await stat(path);
        if (others.has(path)) shared += size;
        else own += size;
      }
      expect([name, ownBytes, sharedBytes]).toEqual([name, own, shared]);
      expect(sharedBytes).toBeGreaterThan(0);
      expect(denseWeights).toBeGreaterThan(0);
    }
    const [full, int8, pruned, lowrank] = report.variants.map(({ denseWeights }) => denseWeights);
    expect(int8).toBe(full);
    expect(Math.max(pruned ?? NaN, lowrank ?? NaN)).toBeLessThan((full ?? NaN) / 2);
  });

  test('every size of run is timed, and the index measured', () => {
    for (const { runMicroseconds } of report.variants) {
      expect(runMicroseconds).toHaveLength(report.timedRows.length);
      expect(runMicroseconds.every((value) => value > 0)).toBe(true);
    }
    expect(report.indexRecall['towers']?.recall).toBeGreaterThan(0.99);
    expect(report.indexRecall['towers']?.k).toBeLessThanOrEqual(250);
  });

  test('other data than the bundle was trained on is refused', async () => {
    await writeFile(at('fewer.csv'), shopCsv().split('\n').slice(0, 300).join('\n'));
    const { code, stdout, stderr } = await whittle(
      'evaluate',
      at('shop'),
      '--data',
      at('fewer.csv'),
      '--no-floors',
    );
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toContain('DATASET_INVALID: fewer is not the data set of this bundle');
  });
});

describe('a damaged bundle', () => {
  test('one changed byte is found, by every command, and nothing is written', async () => {
    await cp(at('shop'), at('damaged'), { recursive: true });
    const { files } = await readManifest(at('damaged'));
    const victim = must(
      Object.keys(files).find((name) => name.startsWith('weights/')),
      'a weights file',
    );
    const bytes = await readFile(at(`damaged/${victim}`));
    bytes[1000] = (bytes[1000] ?? 0) ^ 1;
    await writeFile(at(`damaged/${victim}`), bytes);
    const before = await hashesOf('damaged');
    const commands = [
      ['compress', at('damaged'), '--recipe', 'int8', '--name', 'again'],
      ['evaluate', at('damaged'), '--data', at('events.csv')],
      ['serve', at('damaged'), '--port', '0', '--quiet'],
    ];
    for (const command of commands) {
      const { code, stdout, stderr } = await whittle(...command);
      expect([code, stdout]).toEqual([1, '']);
      expect(stderr).toContain('HASH_MISMATCH');
      expect(stderr).toContain(victim);
      expect(stderr).toContain(sha256(bytes));
    }
    expect(await hashesOf('damaged')).toEqual(before);
  });

  test('a manifest that names what is not there is one line', async () => {
    await cp(at('shop'), at('broken'), { recursive: true });
    const manifest = await readFile(at('shop/bundle.json'), 'utf8');
    const damaged = manifest.replace('"defaultPipeline": "full"', '"defaultPipeline": "best"');
    await writeFile(at('broken/bundle.json'), damaged);
    const { code, stderr } = await whittle('serve', at('broken'), '--port', '0', '--quiet');
    expect(code).toBe(1);
    expect(stderr).toMatch(/^BUNDLE_INVALID: .*defaultPipeline names best.*full, retrieval.*\n$/);
  });
});

import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { EvaluationReport } from '../../src/cli/evaluation/report.js';
import { readManifest, verifyFiles } from '../../src/core/index.js';
import { whittle, whittleSucceeds } from './whittle.js';

const TITLES = [
  'amber kettle',
  'blue lamp',
  'crimson chair',
  'dark carpet',
  'emerald mirror',
  'golden clock',
];

let folder = '';
const at = (name: string): string => join(folder, name);

// Documents and judged queries, nobody's history.
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whittle-search-'));
  await mkdir(at('things'));
  const documents = TITLES.map((title, row) =>
    JSON.stringify({ _id: `d${row}`, title, text: `This ${title} is number ${row}.` }),
  );
  await writeFile(at('things/corpus.jsonl'), documents.join('\n'));
  await writeFile(at('things/queries.train.tsv'), 't1\tdoor\n');
  await writeFile(at('things/qrels.train.tsv'), 't1\td0\t1\n');
  await writeFile(at('things/queries.test.tsv'), 'q1\tblue lamps\nq2\tgolden mirror\nq3\tkettle\n');
  await writeFile(at('things/qrels.test.tsv'), 'q1\td1\t1\nq2\td4\t1\nq2\td5\t1\nq3\td3\t1\n');
  await whittleSucceeds('train', at('things'), '--out', at('bundle'));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

test('data without interactions become a bundle that only searches', async () => {
  const manifest = await readManifest(at('bundle'));
  await verifyFiles(at('bundle'), manifest);
  expect(manifest).toMatchObject({ variants: {}, defaultPipeline: 'search', catalogue: { rows: 6 } });
  expect(manifest.contract).toBeUndefined();
  expect(Object.keys(manifest.retrievers)).toEqual(['text']);
});

test('is judged on the queries held out, as counted by hand', async () => {
  const { stdout } = await whittleSucceeds(
    'evaluate',
    at('bundle'),
    '--data',
    at('things'),
    '--json',
    '--out',
    at('judged'),
  );
  const report = JSON.parse(stdout) as EvaluationReport;
  expect(report).toMatchObject({ recommend: [], variants: [], indexRecall: {} });
  const [search, ...others] = report.search;
  expect(others).toEqual([]);
  // The query of the training part would be a fourth case.
  expect(search).toMatchObject({ name: 'search', cases: 3 });
  // q1 finds its lamp first, q2 its two documents first and second, q3 only another document.
  for (const name of ['recall@10', 'NDCG@10', 'MRR@10', 'HR@10'])
    expect(search?.metrics[name]?.mean).toBeCloseTo(2 / 3, 10);
  expect(await readFile(at('judged.md'), 'utf8')).toContain('## Search');
});

test('has nothing to compress', async () => {
  const { code, stderr } = await whittle('compress', at('bundle'), '--recipe', 'int8');
  expect(code).toBe(2);
  expect(stderr).toContain('has no variant full; it has none');
});

test('cannot be judged without its data', async () => {
  const { code, stderr } = await whittle('evaluate', at('bundle'));
  expect(code).toBe(2);
  expect(stderr).toMatch(/^USAGE_INVALID: --data is missing/);
});

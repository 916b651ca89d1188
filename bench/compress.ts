#!/usr/bin/env node
/**
 * What each kind of compression keeps and saves, on two real data sets: trains a bundle of each where there is none
 * yet, makes every variant, judges and times all of one bundle in one run, and writes the tables.
 *
 *     npm run bench:compress -- --data ../shared/data --work models --out docs/results/compression
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { must } from '../src/core/index.js';
import type { EvaluationReport } from '../src/cli/evaluation/report.js';
import { markdownTable } from '../src/evaluation/index.js';
import { FIGURES } from './figures.js';
import { measuredRow, rowTable, segmentTable } from './tables.js';

const DATA_SETS = ['movielens-latest-small', 'online-retail'] as const;

const { values: options } = parseArgs({
  options: {
    data: { type: 'string', default: '../shared/data' },
    work: { type: 'string', default: 'models' },
    out: { type: 'string', default: 'docs/results/compression' },
    hidden: { type: 'string' },
  },
});

/** Runs a command of whittle's to its end, its notes on standard error, and answers its standard output. */
async function whittle(...parameters: readonly string[]): Promise<string> {
  const child = spawn(process.execPath, ['dist/src/cli/main.js', ...parameters], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  if (code !== 0) throw new Error(`whittle ${parameters.join(' ')} ended with ${String(code)}`);
  return Buffer.concat(chunks).toString();
}

async function trainedBundle(name: string): Promise<string> {
  const suffix = options.hidden === undefined ? '' : `-${options.hidden.replaceAll(',', '-')}`;
  const bundle = join(options.work, `bench-${name}${suffix}`);
  if (existsSync(join(bundle, 'bundle.json'))) return bundle;
  const hidden = options.hidden === undefined ? [] : ['--hidden', options.hidden];
  await whittle('train', join(options.data, name), '--out', bundle, ...hidden);
  return bundle;
}

async function makeVariants(bundle: string): Promise<void> {
  const folder = join(options.work, 'bench-recipes');
  await mkdir(folder, { recursive: true });
  for (const { variant, recipe } of FIGURES) {
    const path = join(folder, `${variant}.json`);
    await writeFile(path, JSON.stringify(recipe));
    await whittle('compress', bundle, '--recipe', path, '--name', variant);
  }
  await rm(folder, { recursive: true });
}

async function judge(name: string): Promise<string> {
  const bundle = await trainedBundle(name);
  await makeVariants(bundle);
  const report = JSON.parse(
    await whittle(
      'evaluate',
      bundle,
      '--data',
      join(options.data, name),
      '--no-floors',
      '--no-search',
      '--json',
    ),
  ) as EvaluationReport;
  await writeFile(`${options.out}-${name}.json`, `${JSON.stringify(report, null, 2)}\n`);
  const rows = FIGURES.map((figure) => measuredRow(figure, report));
  return [
    `## ${name}\n`,
    rowTable(
      rows,
      must(
        report.variants.find((row) => row.name === 'full'),
        'full',
      ),
    ),
    '### By segment\n',
    'NDCG@10 retention in each segment of held-out items and of users; below 1 something is lost there.\n',
    segmentTable(report),
  ].join('\n');
}

function recipesTable(): string {
  return markdownTable(
    [
      { header: 'variant', cell: ({ variant }) => variant },
      { header: 'recipe', cell: ({ recipe }) => `\`${JSON.stringify(recipe)}\``, align: 'left' },
    ],
    FIGURES,
  );
}

const { version } = JSON.parse(await readFile('node_modules/onnxruntime-node/package.json', 'utf8')) as {
  version: string;
};
const parts = [
  '# Compression: what each variant keeps and saves\n',
  `Measured on ${new Date().toISOString().slice(0, 10)} on ${cpus().length} cores of ${cpus()[0]?.model ?? 'an unknown CPU'}, Node ${process.version}, onnxruntime-node ${version}, with \`npm run bench:compress${options.hidden === undefined ? '' : ` -- --hidden ${options.hidden}`}\`. All variants of a data set are timed in turn in one process; other work on the machine moves the times, so compare within a table.\n`,
  recipesTable(),
];
for (const name of DATA_SETS) parts.push(await judge(name));
await writeFile(`${options.out}.md`, parts.join('\n'));
process.stdout.write(parts.join('\n'));

import { mkdir, writeFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import type { Command } from 'commander';
import {
  diffHtml,
  diffMarkdown,
  diffModels,
  findFeeds,
  htmlSection,
  htmlTable,
  tableText,
  type Column,
  type DiffReport,
} from '../compression/index.js';
import { unwritable, type TensorMap } from '../core/index.js';
import { readModel, type Model } from '../onnx/index.js';
import { openSession } from '../runtime/index.js';
import { calibrationFile } from './compress/calibration-file.js';
import { rankAgreement, type RankAgreement } from './diff/rank-agreement.js';
import { parseNumber, parseWholeNumber } from './options.js';
import { createOutput, type Output } from './output.js';

interface DiffOptions {
  readonly calibrate?: string;
  readonly out?: string;
  readonly threshold: number;
  readonly seed: number;
  readonly json?: boolean;
}

/** Feeds made up where no requests are given. */
const GENERATED_FEEDS = 4;

/** `whittle diff`: two models on the same inputs. */
export function diffCommand(program: Command): void {
  program
    .command('diff')
    .summary('compare two models: weights, values on the way, outputs')
    .description(
      'Runs two ONNX models on the same inputs and says how far the second is from the first: each weight, each value on the way that both compute, where accuracy is lost first, and how well the outputs agree. Exit code 0 whatever the difference.',
    )
    .argument('<a>', 'ONNX file to compare with')
    .argument('<b>', 'ONNX file to judge')
    .option('--calibrate <file>', 'recorded requests: csv, tsv, jsonl or parquet, one column an input')
    .option(
      '--threshold <decibels>',
      'signal to noise below which a value counts as damaged',
      parseNumber,
      30,
    )
    .option('--seed <seed>', 'seed of generated inputs', parseWholeNumber, 1)
    .option('--out <file>', 'write the comparison as one HTML page')
    .option('--json', 'print the comparison as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ whittle diff ranker.onnx ranker-int8/ranker.onnx\n  $ whittle diff ranker.onnx small/ranker.onnx --calibrate requests.parquet --out diff.html\n',
    )
    .action((a: string, b: string, options: DiffOptions) => diff(a, b, options));
}

async function diff(pathA: string, pathB: string, options: DiffOptions): Promise<void> {
  const output = createOutput(options.json ?? false);
  const a = await readModel(pathA);
  const b = await readModel(pathB);
  const { feeds, source } = await feedsFor(a, options, output);
  const progress = output.progress('comparing');
  try {
    const { report, outputs } = await diffModels(a, b, {
      openSession,
      feeds,
      source,
      thresholdDb: options.threshold,
      progress: (done, total, detail) => {
        progress.update(done, total, detail);
      },
    });
    const ranks = rankAgreement(outputs);
    const names = namesOf(pathA, pathB);
    if (options.out !== undefined)
      await writePage(options.out, diffHtml(report, ...names, rankSection(ranks)));
    output.result({ a: pathA, b: pathB, ...report, ranks }, describe(report, ranks, names));
  } finally {
    progress.end();
  }
}

async function feedsFor(
  model: Model,
  { calibrate, seed }: DiffOptions,
  output: Output,
): Promise<{ feeds: readonly TensorMap[]; source: 'calibration' | 'generated' }> {
  if (calibrate !== undefined)
    return { feeds: await calibrationFile(model, calibrate, output), source: 'calibration' };
  return { feeds: await findFeeds(model, { openSession, seed }, GENERATED_FEEDS), source: 'generated' };
}

/** File names, or paths where those are the same. */
function namesOf(pathA: string, pathB: string): readonly [string, string] {
  const names = [basename(pathA), basename(pathB)] as const;
  return names[0] === names[1] ? [pathA, pathB] : names;
}

type RankRow = readonly [output: string, agreement: RankAgreement];

const RANK_COLUMNS: readonly Column<RankRow>[] = [
  { header: 'output', cell: ([name]) => name },
  { header: 'ranked', cell: ([, { ranked }]) => ranked },
  { header: 'lists', cell: ([, { lists }]) => lists, isNumber: true },
  { header: 'overlap@10', cell: ([, { overlapAt10 }]) => overlapAt10.toFixed(4), isNumber: true },
  {
    header: 'Kendall τ',
    cell: ([, { kendallTau }]) => kendallTau?.toFixed(4) ?? '–',
    isNumber: true,
  },
];

function rankSection(ranks: Readonly<Record<string, RankAgreement>>): string[] {
  const rows = Object.entries(ranks);
  return rows.length === 0 ? [] : [htmlSection('Agreement of order', htmlTable(RANK_COLUMNS, rows))];
}

function describe(
  report: DiffReport,
  ranks: Readonly<Record<string, RankAgreement>>,
  names: readonly [string, string],
): string {
  const rows = Object.entries(ranks);
  const order = rows.length === 0 ? [] : [`## Agreement of order\n\n${tableText(RANK_COLUMNS, rows)}`];
  return [diffMarkdown(report, ...names), ...order].join('\n').trimEnd();
}

async function writePage(path: string, html: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, html);
  } catch (thrown) {
    throw unwritable(path, thrown);
  }
}

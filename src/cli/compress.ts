import { stat } from 'node:fs/promises';
import type { Command } from 'commander';
import { readRecipe, type CompressionReport, type Recipe } from '../compression/index.js';
import { WhittleError } from '../core/index.js';
import { compressVariant } from './compress/compress-bundle.js';
import { compressFile } from './compress/compress-file.js';
import { describeReport } from './compress/report-files.js';
import { parseWholeNumber } from './options.js';
import { createOutput, type Output } from './output.js';

interface CompressOptions {
  readonly recipe: string;
  readonly name?: string;
  readonly from?: string;
  readonly out?: string;
  readonly calibrate?: string;
  readonly seed: number;
  readonly json?: boolean;
}

/** `whittle compress`: a model file, or a variant of a bundle, by a recipe. */
export function compressCommand(program: Command): void {
  program
    .command('compress')
    .summary('compress a model, or make a compressed variant of a bundle')
    .description(
      'Applies a recipe to an ONNX model and writes the result with its report into a new folder. Applied to a bundle, with calibration on requests of its own users, it adds the new variant, its report and a pipeline of the same name; tables that no pass touches stay shared.',
    )
    .argument('<model>', 'ONNX file, or folder of a bundle')
    .requiredOption(
      '--recipe <recipe>',
      'int8, pruned, lowrank and so on, several joined by +, or a JSON or YAML file',
    )
    .option('--calibrate <file>', 'recorded requests: csv, tsv, jsonl or parquet, one column an input')
    .option('--out <folder>', 'of a model: the folder to make')
    .option('--name <name>', 'name of the new model or variant (default: the model’s, or the recipe’s)')
    .option('--from <variant>', 'of a bundle: variant to start from (default: full)')
    .option('--seed <seed>', 'seed of what is drawn', parseWholeNumber, 1)
    .option('--json', 'print the report as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ whittle compress ranker.onnx --recipe int8 --out ranker-int8\n  $ whittle compress ranker.onnx --recipe lowrank+int8 --calibrate requests.parquet --out small\n  $ whittle compress models/demo --recipe pruned+int8 --name small\n',
    )
    .action((model: string, options: CompressOptions) => compress(model, options));
}

async function compress(path: string, options: CompressOptions): Promise<void> {
  const output = createOutput(options.json ?? false);
  const recipe = await readRecipe(options.recipe);
  const found = await stat(path).catch((cause: unknown) => {
    throw new WhittleError('FILE_MISSING', `${path} does not exist`, { path }, cause);
  });
  const startedAt = performance.now();
  const done = await (found.isDirectory() ? ofBundle : ofFile)(path, recipe, options, output);
  const seconds = (performance.now() - startedAt) / 1000;
  const { report, ...rest } = done.result;
  output.result(
    { ...rest, seconds, report },
    `${describeReport(report)}\n\n${done.said} in ${seconds.toFixed(1)} s`,
  );
}

interface Done {
  readonly result: Readonly<Record<string, unknown>> & { readonly report: CompressionReport };
  readonly said: string;
}

async function ofFile(path: string, recipe: Recipe, options: CompressOptions, output: Output): Promise<Done> {
  refuse(options, 'from', 'a model file has no variants');
  const { out, name, calibrate, seed } = options;
  if (name !== undefined) checkName(name);
  const { model, report } = await compressFile(path, { recipe, out, name, calibrate, seed }, output);
  return { result: { model, report }, said: `${model}: made, with its report beside it,` };
}

async function ofBundle(
  bundle: string,
  recipe: Recipe,
  options: CompressOptions,
  output: Output,
): Promise<Done> {
  refuse(options, 'out', 'the variant goes into the bundle');
  const { from = 'full', seed, calibrate } = options;
  const name = checkName(options.name ?? options.recipe.replace(/^.*\//, '').replace(/\.(json|ya?ml)$/, ''));
  if (calibrate === undefined) output.note(`${bundle}: calibrating on requests of its own users`);
  const asked = { name, from, recipe, seed, ...(calibrate !== undefined && { calibrate }) };
  const report = await compressVariant(bundle, asked, output);
  return { result: { bundle, variant: name, report }, said: `${bundle}: variant ${name} made` };
}

function refuse(options: CompressOptions, field: 'from' | 'out', why: string): void {
  const value = options[field];
  if (value !== undefined)
    throw new WhittleError('USAGE_INVALID', `--${field} ${value}: ${why}; leave it out`, { field, value });
}

/** A name that is a file name and a URL part. */
function checkName(chosen: string): string {
  if (/^[a-z0-9][a-z0-9+_-]*$/i.test(chosen) && chosen !== 'full') return chosen;
  throw new WhittleError(
    'USAGE_INVALID',
    `--name ${chosen}: letters, digits, +, - and _ are allowed, and not "full"`,
    { field: 'name', value: chosen },
  );
}

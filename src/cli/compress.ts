import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { compressModel, readRecipe, type CompressionReport, type Recipe } from '../compression/index.js';
import {
  readManifest,
  silentLog,
  verifyFiles,
  WhittleError,
  writeManifest,
  type BundleManifest,
} from '../core/index.js';
import { markdownTable } from '../evaluation/index.js';
import { readModel, writeModel } from '../onnx/index.js';
import { openSession } from '../runtime/index.js';
import { calibrationFeeds } from '../serving/index.js';

import { parseWholeNumber } from './options.js';
import { createOutput } from './output.js';

interface CompressOptions {
  readonly recipe: string;
  readonly name?: string;
  readonly from: string;
  readonly seed: number;
  readonly json?: boolean;
}

/** `whittle compress`: a variant of a bundle by a recipe. */
export function compressCommand(program: Command): void {
  program
    .command('compress')
    .summary('make a compressed variant of a bundle')
    .description(
      'Applies a recipe to a variant of a bundle, with calibration on requests of its own users; adds the new variant, its report and a pipeline of the same name. Tables that no pass touches stay shared.',
    )
    .argument('<bundle>', 'folder of the bundle')
    .requiredOption('--recipe <recipe>', 'int8, pruned, lowrank, several joined by +, or a JSON or YAML file')
    .option('--name <name>', 'name of the variant (default: the shorthand, or the file’s name)')
    .option('--from <variant>', 'variant to start from', 'full')
    .option('--seed <seed>', 'seed of the calibration requests', parseWholeNumber, 1)
    .option('--json', 'print the report as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ whittle compress models/demo --recipe int8\n  $ whittle compress models/demo --recipe pruned+int8 --name small\n',
    )
    .action((bundle: string, options: CompressOptions) => compress(bundle, options));
}

async function compress(bundle: string, options: CompressOptions): Promise<void> {
  const output = createOutput(options.json ?? false);
  const recipe = await readRecipe(options.recipe);
  const name = variantName(options);
  const startedAt = performance.now();
  output.note(`${bundle}: calibrating on requests of its own users`);
  const report = await compressVariant(bundle, name, options.from, recipe, options.seed);
  const seconds = (performance.now() - startedAt) / 1000;
  output.result(
    { bundle, variant: name, seconds, report },
    `${describe(report)}\n\n${bundle}: variant ${name} made in ${seconds.toFixed(1)} s`,
  );
}

/** A name that is a file name and a URL part. */
function variantName({ name, recipe }: CompressOptions): string {
  const chosen = name ?? recipe.replace(/^.*\//, '').replace(/\.(json|ya?ml)$/, '');
  if (/^[a-z0-9][a-z0-9+_-]*$/i.test(chosen) && chosen !== 'full') return chosen;
  throw new WhittleError(
    'USAGE_INVALID',
    `--name ${chosen}: letters, digits, +, - and _ are allowed, and not "full"`,
    {
      field: 'name',
      value: chosen,
    },
  );
}

/** Makes a variant and writes it into the bundle. The manifest is written last, so that a failure changes nothing served. */
export async function compressVariant(
  bundle: string,
  name: string,
  from: string,
  recipe: Recipe,
  seed: number,
): Promise<CompressionReport> {
  const manifest = await readManifest(bundle);
  await verifyFiles(bundle, manifest);
  const parent = manifest.variants[from];
  if (parent === undefined) {
    const allowed = Object.keys(manifest.variants);
    throw new WhittleError(
      'USAGE_INVALID',
      `${bundle} has no variant ${from}; it has ${allowed.join(', ') || 'none'}`,
      {
        field: 'from',
        value: from,
        allowed,
      },
    );
  }
  const calibration = await calibrationFeeds(bundle, seed);
  const model = await readModel(join(bundle, parent.file));
  const { model: compressed, report } = await compressModel(model, recipe, {
    openSession,
    calibration,
    seed,
    log: silentLog,
  });
  await writeModel(compressed, join(bundle, `${name}.onnx`));
  await writeFile(join(bundle, `${name}.report.json`), `${JSON.stringify(report, null, 2)}\n`);
  await writeManifest(bundle, withVariant(manifest, name, from, recipe));
  return report;
}

/** The variant, and for each pipeline of its parent's name one of its own. */
function withVariant(manifest: BundleManifest, name: string, parent: string, recipe: Recipe): BundleManifest {
  const pipeline = manifest.pipelines[parent] ?? { candidates: 200 };
  return {
    ...manifest,
    variants: {
      ...manifest.variants,
      [name]: { file: `${name}.onnx`, parent, recipe, report: `${name}.report.json` },
    },
    pipelines: { ...manifest.pipelines, [name]: { ...pipeline, ranker: name } },
  };
}

interface LayerRow {
  readonly pass: string;
  readonly layer: string;
  readonly change: string;
  readonly error: string;
}

function describe({ steps, before, after, outputs }: CompressionReport): string {
  const layers = steps.flatMap(({ step: { pass }, changed, left }): LayerRow[] => [
    ...changed.map(({ layer, change, relativeError }) => ({
      pass,
      layer,
      change,
      error: relativeError.toExponential(1),
    })),
    ...left.map(({ layer, reason }) => ({ pass, layer, change: `left: ${reason}`, error: '' })),
  ]);
  const sizes = (['denseWeights', 'denseBytes', 'tableBytes', 'multiplyAddsPer100Rows'] as const).map(
    (name) => ({
      name,
      before: before[name],
      after: after[name],
    }),
  );
  const errors = Object.entries(outputs).map(([output, error]) => `${output}: ${JSON.stringify(error)}`);
  return [
    markdownTable(
      [
        { header: 'pass', cell: ({ pass }) => pass },
        { header: 'layer', cell: ({ layer }) => layer, align: 'left' },
        { header: 'change', cell: ({ change }) => change, align: 'left' },
        { header: 'relative error', cell: ({ error }) => error },
      ],
      layers,
    ),
    markdownTable(
      [
        { header: '', cell: ({ name }) => name },
        { header: 'before', cell: (row) => row.before },
        { header: 'after', cell: (row) => row.after },
      ],
      sizes,
    ),
    `output error: ${errors.join('; ')}`,
  ].join('\n');
}

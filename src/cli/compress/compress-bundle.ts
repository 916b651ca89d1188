import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { CompressionReport, Recipe } from '../../compression/index.js';
import {
  readManifest,
  verifyFiles,
  WhittleError,
  writeManifest,
  type BundleManifest,
} from '../../core/index.js';
import { readModel, writeModel } from '../../onnx/index.js';
import { calibrationFeeds } from '../../serving/index.js';
import type { Output } from '../output.js';
import { calibrationFile } from './calibration-file.js';
import { writeReports } from './report-files.js';
import { runRecipe } from './run-recipe.js';

export interface CompressVariantOptions {
  /** The new variant. */
  readonly name: string;
  /** The variant to start from. */
  readonly from: string;
  readonly recipe: Recipe;
  /** Seed of the calibration requests. */
  readonly seed: number;
  /** Table file of recorded requests; default: requests of the bundle's own users. */
  readonly calibrate?: string;
}

/**
 * Makes a variant and writes it, its report and a pipeline of its name into the bundle. The manifest is written last,
 * and a failure removes what is new, so that it changes nothing served.
 * @throws USAGE_INVALID for an unknown `from`; what reading, calibrating, compressing and writing throw.
 */
export async function compressVariant(
  bundle: string,
  options: CompressVariantOptions,
  output: Output,
): Promise<CompressionReport> {
  const { name, from, recipe, seed, calibrate } = options;
  const manifest = await readManifest(bundle);
  await verifyFiles(bundle, manifest);
  const model = await readModel(join(bundle, parentFile(bundle, manifest, from)));
  const calibration =
    calibrate === undefined
      ? await calibrationFeeds(bundle, seed)
      : await calibrationFile(model, calibrate, output);
  const made = await runRecipe({ model, recipe, calibration, seed }, from, output);
  await withoutRemains(bundle, async () => {
    await writeReports(bundle, `${name}.report`, made.report, `${manifest.name}: ${name}`);
    await writeModel(made.model, join(bundle, `${name}.onnx`));
    await writeManifest(bundle, withVariant(manifest, name, from, recipe));
  });
  return made.report;
}

function parentFile(bundle: string, { variants }: BundleManifest, from: string): string {
  const parent = variants[from];
  if (parent !== undefined) return parent.file;
  const allowed = Object.keys(variants);
  throw new WhittleError(
    'USAGE_INVALID',
    `${bundle} has no variant ${from}; it has ${allowed.join(', ') || 'none'}`,
    { field: 'from', value: from, allowed },
  );
}

/** Removes the files that `write` has made where it fails. */
async function withoutRemains(bundle: string, write: () => Promise<void>): Promise<void> {
  const before = new Set(await readdir(bundle, { recursive: true }));
  try {
    await write();
  } catch (thrown) {
    const made = (await readdir(bundle, { recursive: true })).filter((file) => !before.has(file));
    await Promise.all(made.map((file) => rm(join(bundle, file), { recursive: true, force: true })));
    throw thrown;
  }
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

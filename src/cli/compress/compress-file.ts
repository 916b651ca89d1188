import { basename, join } from 'node:path';
import type { CompressionReport, Recipe } from '../../compression/index.js';
import { WhittleError } from '../../core/index.js';
import { readModel, writeModel } from '../../onnx/index.js';
import type { Output } from '../output.js';
import { calibrationFile } from './calibration-file.js';
import { checkNewFolder, makeNewFolder } from './new-folder.js';
import { writeReports } from './report-files.js';
import { runRecipe } from './run-recipe.js';

export interface CompressFileOptions {
  readonly recipe: Recipe;
  /** Folder to make. */
  readonly out: string | undefined;
  /** Name of the new file without its extension; default: the model's. */
  readonly name: string | undefined;
  /** Table file of recorded requests. */
  readonly calibrate: string | undefined;
  readonly seed: number;
}

/**
 * Compresses a model file into a new folder: `<name>.onnx` with its weights, and the report as JSON, Markdown and HTML.
 * The folder appears whole or not at all.
 * @throws USAGE_INVALID where `out` is missing or exists; what reading, calibrating, compressing and writing throw.
 */
export async function compressFile(
  path: string,
  options: CompressFileOptions,
  output: Output,
): Promise<{ model: string; report: CompressionReport }> {
  const { out, recipe, calibrate, seed } = options;
  if (out === undefined)
    throw new WhittleError('USAGE_INVALID', `--out is missing: name a new folder for the compressed model`, {
      field: 'out',
      allowed: 'a folder that does not exist yet',
    });
  await checkNewFolder(out);
  const model = await readModel(path);
  const calibration = calibrate && (await calibrationFile(model, calibrate, output));
  const run = { model, recipe, seed, ...(calibration && { calibration }) };
  const { model: compressed, report } = await runRecipe(run, basename(path), output);
  const file = `${options.name ?? basename(path).replace(/\.onnx$/i, '')}.onnx`;
  await makeNewFolder(out, async (temporary) => {
    await writeModel(compressed, join(temporary, file));
    await writeReports(temporary, 'report', report, basename(path));
  });
  return { model: join(out, file), report };
}

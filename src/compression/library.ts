import { silentLog } from '../core/index.js';
import type { Log, OpenSession, TensorMap } from '../core/index.js';
import { readModel } from '../onnx/index.js';
import type { Model } from '../onnx/index.js';
import { openSession as openInProcess } from '../runtime/index.js';
import { readCalibration } from './calibration/calibration-file.js';
import { compressModel } from './compress.js';
import type { CompressionReport } from './compress.js';
import { PASSES } from './passes/index.js';
import type { PassName, RecipeStep } from './passes/index.js';
import { parseRecipe, readRecipe } from './recipes.js';
import type { Recipe } from './recipes.js';

/** What {@link compress} may be told; all optional. */
export interface CompressOptions {
  /** Recorded requests: feeds of the model's inputs, or the path of a table file with one column an input. */
  readonly calibration?: readonly TensorMap[] | string;
  /** Seed of whatever is drawn. Default 1. */
  readonly seed?: number;
  /** Told how far the work is: `done` of `total` steps, and what is being done. */
  readonly progress?: (done: number, total: number, detail: string) => void;
  /** Default: none. */
  readonly log?: Log;
  /** Default: ONNX Runtime in this process, which it keeps busy while a model runs. */
  readonly openSession?: OpenSession;
}

/**
 * Compresses a model.
 *
 * @param model A decoded model, which stays as it is, or the path of an ONNX file.
 * @param recipe Shorthands such as `int8` or `pruned+int8`, the path of a recipe file, or steps: see {@link passes}.
 * @throws RECIPE_INVALID, DATASET_INVALID, FILE_MISSING, and what compressModel throws.
 */
export async function compress(
  model: Model | string,
  recipe: string | Recipe,
  options: CompressOptions = {},
): Promise<{ model: Model; report: CompressionReport }> {
  const { seed = 1, log = silentLog, openSession = openInProcess, progress } = options;
  const steps = typeof recipe === 'string' ? await readRecipe(recipe) : parseRecipe(recipe);
  const given = typeof model === 'string' ? await readModel(model) : model;
  const calibration =
    typeof options.calibration === 'string'
      ? (await readCalibration(given, options.calibration)).feeds
      : options.calibration;
  return compressModel(given, steps, {
    openSession,
    seed,
    log,
    ...(calibration && { calibration }),
    ...(progress && { progress }),
  });
}

/** `quantize-dynamic` → `quantizeDynamic`. */
type CamelCase<Name extends string> = Name extends `${infer Head}-${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : Name;

type StepOf<Name extends PassName> = Extract<RecipeStep, { readonly pass: Name }>;

/** A function a pass: takes its parameters, all optional, and answers a step of a recipe. */
export type Passes = {
  readonly [Name in PassName as CamelCase<Name>]: (parameters?: Omit<StepOf<Name>, 'pass'>) => StepOf<Name>;
};

function camelCase(name: string): string {
  return name.replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** Every pass by its name in camel case: `passes.lowRank({ rankShare: 0.5 })`. */
export const passes = Object.fromEntries(
  Object.keys(PASSES).map((pass) => [camelCase(pass), (parameters = {}) => ({ pass, ...parameters })]),
) as Passes;

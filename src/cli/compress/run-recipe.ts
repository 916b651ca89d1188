import { compressModel, type CompressionReport, type Recipe } from '../../compression/index.js';
import { silentLog, WhittleError, type TensorMap } from '../../core/index.js';
import type { Model } from '../../onnx/index.js';
import { openSession } from '../../runtime/index.js';
import type { Output } from '../output.js';

export interface RecipeRun {
  readonly model: Model;
  readonly recipe: Recipe;
  /** None: outputs are compared on made-up inputs, and passes that need requests refuse. */
  readonly calibration?: readonly TensorMap[];
  readonly seed: number;
}

/**
 * Applies a recipe with its progress shown.
 * @throws GRAPH_UNSUPPORTED where no step changes anything; what compressModel throws.
 */
export async function runRecipe(
  { model, recipe, calibration, seed }: RecipeRun,
  label: string,
  output: Output,
): Promise<{ model: Model; report: CompressionReport }> {
  const progress = output.progress(`compressing ${label}`);
  try {
    const made = await compressModel(model, recipe, {
      openSession,
      seed,
      log: silentLog,
      ...(calibration && { calibration }),
      progress: (done, total, detail) => {
        progress.update(done, total, detail);
      },
    });
    refuseUnchanged(made.report, label);
    return made;
  } finally {
    progress.end();
  }
}

/** Reasons named in the message; the details have all. */
const SHOWN = 3;

function refuseUnchanged({ steps }: CompressionReport, label: string): void {
  if (steps.some(({ changed }) => changed.length > 0)) return;
  const passes = steps.map(({ step }) => step.pass).join(', ');
  const reasons = new Set(
    steps.flatMap(({ left }) => left.map(({ layer, reason }) => `${layer}: ${reason}`)),
  );
  const shown = [...reasons].slice(0, SHOWN);
  const why = shown.length === 0 ? 'it has no layer that they handle' : shown.join('; ');
  const more = reasons.size > SHOWN ? `; and ${reasons.size - SHOWN} more` : '';
  throw new WhittleError(
    'GRAPH_UNSUPPORTED',
    `There is nothing in ${label} that ${passes} can compress: ${why}${more}`,
    { passes: steps.map(({ step }) => step.pass), left: [...reasons] },
  );
}

import { must, WhittleError, toWhittleError } from '../core/index.js';
import type { TensorMap } from '../core/index.js';
import { checkModel, sortNodes } from '../onnx/index.js';
import type { Model } from '../onnx/index.js';
import { findFeeds } from './calibration/find-feeds.js';
import { modelStats, multiplyAddsPer100Rows } from './measure/model-stats.js';
import type { ModelStats } from './measure/model-stats.js';
import { outputErrors } from './measure/output-error.js';
import type { OutputError, Outputs } from './measure/output-error.js';
import type { PassContext, PassReport } from './pass.js';
import { createPass } from './recipes.js';
import type { Recipe } from './recipes.js';
import type { RecipeStep } from './passes/index.js';
import { runFeeds } from './calibration/session.js';

/** A model's size and the work of a run. */
export interface Measured extends ModelStats {
  readonly multiplyAddsPer100Rows: number;
}

/** What one step did. */
export interface StepReport extends PassReport {
  readonly step: RecipeStep;
  readonly before: Measured;
  readonly after: Measured;
  /** Error of each output against the step before. */
  readonly outputs: Readonly<Record<string, OutputError>>;
}

/** What a recipe did: plain JSON, without a clock or a machine in it, so that the same work gives the same report. */
export interface CompressionReport {
  /** Version of this form. */
  readonly format: 1;
  readonly seed: number;
  /** Feeds that outputs were compared on, and where they came from. */
  readonly compared: { readonly feeds: number; readonly source: 'calibration' | 'generated' };
  readonly steps: readonly StepReport[];
  readonly before: Measured;
  readonly after: Measured;
  /** Error of each output against the model that was given. */
  readonly outputs: Readonly<Record<string, OutputError>>;
}

/** Feeds made up where there are no calibration requests. */
const GENERATED_FEEDS = 4;

interface Stage {
  readonly model: Model;
  readonly outputs: Outputs;
  readonly measured: Measured;
}

/**
 * Applies a recipe. After each step the model is checked, ONNX Runtime loads it, and its outputs are compared with
 * those of the step before on the calibration feeds (or generated inputs). The same model, recipe, feeds and seed give
 * the same bytes.
 * @throws GRAPH_UNSUPPORTED, MODEL_INVALID or RECIPE_INVALID with the step and pass in the details.
 */
export async function compressModel(
  model: Model,
  recipe: Recipe,
  context: PassContext,
): Promise<{ model: Model; report: CompressionReport }> {
  const { seed } = context;
  const given = { ...model, graph: sortNodes(model.graph) };
  checkModel(given);
  const { feeds, within } = await withFeeds(given, context);
  const first = await stageOf(given, feeds, within);
  const steps: StepReport[] = [];
  let stage = first;
  for (const [index, step] of recipe.entries()) {
    context.progress?.(index, recipe.length, step.pass);
    const { next, report } = await runStep(stage, step, index + 1, feeds, stepContext(within, index, recipe));
    context.log.info('compression_step', {
      step: index + 1,
      pass: step.pass,
      changed: report.changed.length,
    });
    steps.push(report);
    stage = next;
  }
  const source = feeds === context.calibration ? 'calibration' : 'generated';
  const outputs = outputErrors(first.outputs, stage.outputs);
  const compared = { feeds: feeds.length, source } as const;
  const report = {
    format: 1,
    seed,
    compared,
    steps,
    before: first.measured,
    after: stage.measured,
    outputs,
  } as const;
  return { model: stage.model, report };
}

/** Where outputs are compared: on the calibration feeds, or on made-up ones that the model runs on. */
async function withFeeds(
  model: Model,
  context: PassContext,
): Promise<{ feeds: readonly TensorMap[]; within: PassContext }> {
  const { calibration = [] } = context;
  if (calibration.length > 0) return { feeds: calibration, within: context };
  const feeds = await findFeeds(model, context, GENERATED_FEEDS);
  return { feeds, within: { ...context, example: must(feeds[0], 'feed') } };
}

/** The context of one step, whose progress is a part of the whole recipe's. */
function stepContext(context: PassContext, index: number, recipe: Recipe): PassContext {
  const { progress } = context;
  if (progress === undefined) return context;
  return {
    ...context,
    progress: (done, total, detail) => {
      progress(index + done / total, recipe.length, `${recipe[index]?.pass ?? ''}: ${detail}`);
    },
  };
}

async function runStep(
  stage: Stage,
  step: RecipeStep,
  number: number,
  feeds: readonly TensorMap[],
  context: PassContext,
): Promise<{ next: Stage; report: StepReport }> {
  try {
    const { model, report } = await createPass(step)(stage.model, context);
    checkModel(model);
    const next = model === stage.model ? stage : await stageOf(model, feeds, context);
    const outputs = outputErrors(stage.outputs, next.outputs);
    return { next, report: { step, ...report, before: stage.measured, after: next.measured, outputs } };
  } catch (thrown) {
    const error = toWhittleError(thrown);
    const message = `Step ${number} (${step.pass}): ${error.message}`;
    throw new WhittleError(error.code, message, { ...error.details, step: number, pass: step.pass }, error);
  }
}

async function stageOf(
  model: Model,
  feeds: readonly TensorMap[],
  { openSession }: PassContext,
): Promise<Stage> {
  const outputs = await runFeeds(model, feeds, openSession);
  const [feed = {}] = feeds;
  const multiplyAdds = await multiplyAddsPer100Rows(model, feed, openSession);
  return { model, outputs, measured: { ...modelStats(model), multiplyAddsPer100Rows: multiplyAdds } };
}

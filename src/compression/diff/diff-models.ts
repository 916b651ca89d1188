import { WhittleError } from '../../core/index.js';
import type { OpenSession, TensorMap } from '../../core/index.js';
import { modelInputs, withModelSession } from '../../onnx/index.js';
import type { Model } from '../../onnx/index.js';
import { modelStats } from '../measure/model-stats.js';
import type { ModelStats } from '../measure/model-stats.js';
import { outputErrors } from '../measure/output-error.js';
import type { OutputError } from '../measure/output-error.js';
import { operatorCounts } from './structure.js';
import type { OperatorCount } from './structure.js';
import { findLoss, valueErrors } from './value-errors.js';
import type { Loss, ValueError } from './value-errors.js';
import { weightErrors } from './weight-errors.js';
import type { WeightErrors } from './weight-errors.js';

/** How a second model differs from a first: plain JSON, the same for the same models and feeds. */
export interface DiffReport {
  /** Version of this form. */
  readonly format: 1;
  /** Feeds that values and outputs were compared on, and where they came from. */
  readonly compared: { readonly feeds: number; readonly source: 'calibration' | 'generated' };
  readonly sizes: { readonly a: ModelStats; readonly b: ModelStats };
  readonly operators: readonly OperatorCount[];
  readonly weights: WeightErrors;
  /** Values that both models compute under the same name, in the order of the first. */
  readonly values: readonly ValueError[];
  /** Below this a value counts as damaged. */
  readonly thresholdDb: number;
  readonly loss: Loss;
  /** By output that both have. */
  readonly outputs: Readonly<Record<string, OutputError>>;
  /** Outputs that one model has alone. */
  readonly outputsOnlyA: readonly string[];
  readonly outputsOnlyB: readonly string[];
}

export interface DiffOptions {
  readonly openSession: OpenSession;
  /** Inputs that both models are run on; at least one. */
  readonly feeds: readonly TensorMap[];
  readonly source: 'calibration' | 'generated';
  readonly thresholdDb: number;
  readonly progress?: (done: number, total: number, detail: string) => void;
}

/** What two models answer on each feed. */
export interface BothOutputs {
  readonly a: readonly TensorMap[];
  readonly b: readonly TensorMap[];
}

/**
 * Compares two models that take the same inputs: their weights, the values on the way and the outputs.
 * @throws GRAPH_UNSUPPORTED where inputs, or the shapes of an output that both have, differ; MODEL_INVALID where ONNX
 *   Runtime cannot run one of them.
 */
export async function diffModels(
  a: Model,
  b: Model,
  { openSession, feeds, source, thresholdDb, progress }: DiffOptions,
): Promise<{ report: DiffReport; outputs: BothOutputs }> {
  checkSameInputs(a, b);
  const [namesA, namesB] = [a, b].map(({ graph }) => graph.outputs.map(({ name }) => name)) as [
    string[],
    string[],
  ];
  const common = namesA.filter((name) => namesB.includes(name));
  const runs = {
    a: await runOutputs(a, common, feeds, openSession),
    b: await runOutputs(b, common, feeds, openSession),
  };
  const outputs = outputErrors(runs.a, runs.b);
  const values = await valueErrors(a, b, feeds, openSession, progress);
  const report: DiffReport = {
    format: 1,
    compared: { feeds: feeds.length, source },
    sizes: { a: modelStats(a), b: modelStats(b) },
    operators: operatorCounts(a, b),
    weights: await weightErrors(a, b, openSession),
    values,
    thresholdDb,
    loss: findLoss(values, thresholdDb),
    outputs,
    outputsOnlyA: namesA.filter((name) => !common.includes(name)),
    outputsOnlyB: namesB.filter((name) => !common.includes(name)),
  };
  return { report, outputs: runs };
}

function checkSameInputs(a: Model, b: Model): void {
  const textOf = ({ graph }: Model): string[] =>
    modelInputs(graph)
      .map(({ name, dtype }) => `${name} (${dtype ?? 'no tensor'})`)
      .sort();
  const [inA, inB] = [textOf(a), textOf(b)];
  if (inA.join() === inB.join()) return;
  throw new WhittleError(
    'GRAPH_UNSUPPORTED',
    `The models take different inputs, so they cannot be run on the same ones: ${inA.join(', ')} and ${inB.join(', ')}`,
    { a: inA, b: inB },
  );
}

function runOutputs(
  model: Model,
  names: readonly string[],
  feeds: readonly TensorMap[],
  openSession: OpenSession,
): Promise<readonly TensorMap[]> {
  return withModelSession(model, openSession, async (session) => {
    const tensors = session.outputs.map(({ name }) => name).filter((name) => names.includes(name));
    const results: TensorMap[] = [];
    for (const feed of feeds) results.push(tensors.length === 0 ? {} : await session.run(feed, tensors));
    return results;
  });
}

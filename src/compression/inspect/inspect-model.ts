import { toWhittleError } from '../../core/index.js';
import type { OpenSession, TensorMap } from '../../core/index.js';
import { modelInputs, probeShapes } from '../../onnx/index.js';
import type { Model } from '../../onnx/index.js';
import { findFeeds } from '../calibration/find-feeds.js';
import type { Shapes } from '../graph/channel-trace.js';
import { constantsOf, modelStats, multiplyAddsAt, outputRows } from '../measure/model-stats.js';
import type { ModelStats } from '../measure/model-stats.js';
import { adviseRecipes, whyNothing } from './advice.js';
import type { Goal } from './advice.js';
import type { Advice, AdviceSubject } from './adviser.js';
import type { Cpu } from './cpu.js';
import { estimateSavings } from './savings.js';
import type { Saving } from './subject.js';
import { largestTensors, structureOf } from './structure.js';
import type { LargeTensor, Structure } from './structure.js';
import { sumOf, WeightLedger } from './weight-ledger.js';

/** How the run went that shapes and multiply-adds are from. */
export type TrialRun =
  | { readonly source: 'requests' | 'generated'; readonly multiplyAddsPer100Rows: number }
  | { readonly source: null; readonly reason: string };

/** What there is to know of a model before it is compressed: plain JSON. */
export interface Inspection extends Structure {
  /** Version of this form. */
  readonly format: 1;
  readonly weights: ModelStats;
  readonly largest: readonly LargeTensor[];
  readonly run: TrialRun;
  /** Estimates: no pass is run. */
  readonly savings: readonly Saving[];
  readonly goal: Goal;
  readonly cpu: Cpu;
  readonly advice: readonly Advice[];
  /** Why no recipe would make it smaller or faster; null where one does. */
  readonly nothingToGain: string | null;
}

export interface InspectOptions {
  readonly openSession: OpenSession;
  readonly goal: Goal;
  readonly cpu: Cpu;
  /** Seed of made-up inputs. */
  readonly seed: number;
  /** A real feed of the model; default: made-up inputs that it runs on. */
  readonly feed?: TensorMap;
}

const LARGEST = 10;

/** Looks at a model: what it consists of, what each pass would save and which recipes fit. It stays as it is. */
export async function inspectModel(model: Model, options: InspectOptions): Promise<Inspection> {
  const { goal, cpu } = options;
  const { run, shapes } = await trialRun(model, options);
  const savings = estimateSavings(model, shapes);
  const subject: AdviceSubject = {
    bytes: new WeightLedger(model).bytes,
    multiplyAddsPer100Rows: run.source === null ? null : run.multiplyAddsPer100Rows,
    savings,
    isOneRow: takesOneRow(model),
    quantizedShare: quantizedShare(model),
  };
  const advice = await adviseRecipes(subject, goal, cpu);
  return {
    format: 1,
    ...structureOf(model),
    weights: modelStats(model),
    largest: largestTensors(model, LARGEST),
    run,
    savings,
    goal,
    cpu,
    advice,
    nothingToGain: whyNothing(subject, advice, goal),
  };
}

async function trialRun(
  model: Model,
  { openSession, seed, feed }: InspectOptions,
): Promise<{ run: TrialRun; shapes: Shapes | undefined }> {
  try {
    const [found = {}] = feed === undefined ? await findFeeds(model, { openSession, seed }, 1) : [feed];
    const shapes = await probeShapes(model, openSession, found);
    const dimsOf = (name: string): readonly number[] | undefined => shapes.get(name)?.dims;
    const multiplyAdds = Math.round((100 * multiplyAddsAt(model, dimsOf)) / outputRows(model, dimsOf));
    const source = feed === undefined ? 'generated' : 'requests';
    return { run: { source, multiplyAddsPer100Rows: multiplyAdds }, shapes };
  } catch (thrown) {
    const { code, message } = toWhittleError(thrown);
    // Anything else is no matter of the model's inputs.
    if (code !== 'GRAPH_UNSUPPORTED' && code !== 'MODEL_INVALID') throw thrown;
    return { run: { source: null, reason: message }, shapes: undefined };
  }
}

function takesOneRow({ graph }: Model): boolean {
  const inputs = modelInputs(graph);
  return inputs.length > 0 && inputs.every(({ dims }) => dims?.[0] === 1 && dims.length > 1);
}

const FEW_BITS: readonly string[] = ['int8', 'uint8', 'int4', 'uint4'];

function quantizedShare(model: Model): number {
  const constants = [...constantsOf(model)];
  const few = constants.filter(({ dtype, kind }) => kind !== 'other' && FEW_BITS.includes(dtype));
  const total = sumOf(new WeightLedger(model).bytes);
  return total === 0 ? 0 : few.reduce((sum, { bytes }) => sum + bytes, 0) / total;
}

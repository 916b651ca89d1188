import type { Model } from '../../onnx/index.js';
import type { LayerChange, LeftLayer, Pass, PassContext, PassDefinition } from '../pass.js';
import { shareDuplicates } from '../simplify/duplicates.js';
import { foldBatchNorms } from '../simplify/fold-batch-norm.js';
import { foldConstants } from '../simplify/fold-constants.js';
import { removeNoOps } from '../simplify/no-ops.js';
import { runOnnxsim } from '../simplify/onnxsim.js';
import { changesOf } from '../simplify/removal.js';
import type { Removal, Step } from '../simplify/removal.js';
import { removeDead } from '../simplify/unused.js';

export interface SimplifyParameters {
  /** Evaluate what depends on constants only. Default true. */
  readonly fold?: boolean;
  /** Work BatchNormalization into the layer before it. Default true. */
  readonly batchNorm?: boolean;
  /** Remove operators that give back their input. Default true. */
  readonly noOps?: boolean;
  /** Store equal constants once, and compute equal nodes once. Default true. */
  readonly duplicates?: boolean;
  /** Run the onnxsim package too, for shape inference and fusions. Default true. */
  readonly onnxsim?: boolean;
}

/** Each round makes the graph smaller; what takes more than these is finished by the next run. */
const MAX_ROUNDS = 20;

/**
 * Clean-up: the same results from fewer nodes and constants. Folds constants, works batch normalizations into the layers
 * before them, removes operators that do nothing, nodes that compute and constants that store the same as others, and
 * whatever no output depends on; then the onnxsim package infers shapes and fuses operators, and the first steps go over
 * its result. Works on the main graph of any model; subgraphs only by onnxsim. Inputs, outputs and their shapes stay.
 * @throws PACKAGE_MISSING where onnxsim is wanted and not installed.
 */
export function simplify(parameters: SimplifyParameters = {}): Pass {
  const { onnxsim = true } = parameters;
  return async (model, context) => {
    const own = await untilDone(start(model), parameters, context);
    const last = onnxsim ? await withOnnxsim(own, parameters, context) : own;
    const { removals, changed, left } = last;
    if (last.model === model) return { model, report: { changed: [], left } };
    const report = {
      changed: [...changed, ...changesOf(removals)],
      left,
      notes: [noteOf(model, last.model)],
    };
    return { model: last.model, report };
  };
}

/** A model on its way, with what happened to it so far. */
interface State {
  readonly model: Model;
  readonly removals: readonly Removal[];
  readonly changed: readonly LayerChange[];
  readonly left: readonly LeftLayer[];
}

function start(model: Model): State {
  return { model, removals: [], changed: [], left: [] };
}

/** What a step left is what it left the last time it ran. */
function apply({ model, removals, changed, left }: State, step: Step): State {
  return {
    model: step.graph === model.graph ? model : { ...model, graph: step.graph },
    removals: [...removals, ...step.removals],
    changed: [...changed, ...step.changed],
    left: [...left, ...step.left],
  };
}

async function withOnnxsim(own: State, parameters: SimplifyParameters, context: PassContext): Promise<State> {
  context.progress?.(1, 3, `onnxsim on ${own.model.graph.nodes.length} nodes`);
  const step = await runOnnxsim(own.model, context);
  const state = apply(own, step);
  return state.model === own.model ? state : untilDone({ ...state, left: step.left }, parameters, context);
}

async function untilDone(from: State, parameters: SimplifyParameters, context: PassContext): Promise<State> {
  const { fold = true, batchNorm = true, noOps = true, duplicates = true } = parameters;
  let state = from;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const { model } = state;
    const opset = model.opsets.get('') ?? 0;
    let next: State = { ...state, left: from.left };
    const run = (step: Step): void => {
      next = apply(next, step);
      next = apply(next, removeDead(next.model.graph));
    };
    run(removeDead(next.model.graph));
    if (fold) run(await foldConstants(next.model, context.openSession));
    if (noOps) run(removeNoOps(next.model.graph, opset));
    if (duplicates) run(shareDuplicates(next.model.graph));
    if (batchNorm) run(foldBatchNorms(next.model.graph, opset));
    state = next;
    if (state.model === model) break;
  }
  return state;
}

function noteOf(before: Model, after: Model): string {
  const count = ({ graph }: Model): string =>
    `${graph.nodes.length} nodes and ${graph.initializers.size} initializers`;
  return `${count(before)} became ${count(after)}.`;
}

/** As recipes name it. */
export const simplifyPass: PassDefinition<SimplifyParameters> = {
  summary: 'Folds constants and removes what does nothing: the same results from fewer nodes and bytes.',
  parameters: {
    fold: { type: 'boolean' },
    batchNorm: { type: 'boolean' },
    noOps: { type: 'boolean' },
    duplicates: { type: 'boolean' },
    onnxsim: { type: 'boolean' },
  },
  create: simplify,
};

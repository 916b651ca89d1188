import type { Log, OpenSession, TensorMap } from '../core/index.js';
import { WhittleError } from '../core/index.js';
import type { Model } from '../onnx/index.js';

/** What a pass may use beside the model. */
export interface PassContext {
  readonly openSession: OpenSession;
  /** Batches of real requests: one map of the model's inputs each. */
  readonly calibration?: readonly TensorMap[];
  /** Inputs that the model is known to run on, where there are no calibration requests. */
  readonly example?: TensorMap;
  /** Seed of generated inputs. */
  readonly seed: number;
  readonly log: Log;
  /** Told how far a pass is, by passes that may take more than two seconds. */
  readonly progress?: (done: number, total: number, detail: string) => void;
}

/**
 * One graph-to-graph transformation. It never mutates the model, leaves what it does not understand exactly as it was,
 * and reports what it left and why.
 */
export type Pass = (model: Model, context: PassContext) => Promise<PassResult>;

/** A pass as recipes and people see it. Its parameters are plain JSON, all optional. */
export interface PassDefinition<Parameters extends object> {
  /** One line: what it does and what becomes smaller or faster. */
  readonly summary: string;
  /** JSON schema of each parameter, by name. */
  readonly parameters: Readonly<Record<keyof Parameters & string, object>>;
  /** @throws RECIPE_INVALID for parameters that contradict each other. */
  readonly create: (parameters: Parameters) => Pass;
}

export interface PassResult {
  readonly model: Model;
  readonly report: PassReport;
}

export interface PassReport {
  readonly changed: readonly LayerChange[];
  readonly left: readonly LeftLayer[];
  /** For people: what holds for the result as a whole, a sentence each. */
  readonly notes?: readonly string[];
}

/** A layer that a pass changed. */
export interface LayerChange {
  /** The node's name, or its output's where it has none. */
  readonly layer: string;
  /** For people: what was done, with the figures. */
  readonly change: string;
  /** Elements of the weights concerned. */
  readonly weightsBefore: number;
  readonly weightsAfter: number;
  /**
   * Root mean square of what the pass changed over that of the original: of the outputs on the calibration requests
   * where the pass used them, else of the weights.
   */
  readonly relativeError: number;
  /** Where it was measured: error of the model's outputs where this layer alone is changed, as `relativeRms`. */
  readonly sensitivity?: number;
}

/** A layer that a pass could have meant but left as it was. */
export interface LeftLayer {
  readonly layer: string;
  readonly op: string;
  readonly reason: string;
}

/**
 * What a pass goes by when it chooses what to keep: the layer's inputs on calibration requests, or its weights alone.
 */
export type Basis = 'activations' | 'weights';

/** JSON schemas that parameters of several passes have. */
export const BASIS = { enum: ['activations', 'weights'] };
export const SHARE = { type: 'number', exclusiveMinimum: 0, exclusiveMaximum: 1 };

/**
 * The calibration feeds.
 * @param hasBasis whether the pass has a parameter `basis`, by which it would do without.
 * @throws RECIPE_INVALID where there are none: a pass never falls back to weights by itself.
 */
export function calibrationOf(context: PassContext, pass: string, hasBasis = true): readonly TensorMap[] {
  const { calibration = [] } = context;
  if (calibration.length > 0) return calibration;
  if (!hasBasis)
    throw new WhittleError('RECIPE_INVALID', `${pass} needs calibration requests: give some`, {
      pass,
      field: 'calibration',
      allowed: 'one request or more',
    });
  throw new WhittleError(
    'RECIPE_INVALID',
    `${pass} needs calibration requests: give some, or set basis to "weights"`,
    { pass, field: 'basis', value: 'activations', allowed: ['weights'] },
  );
}

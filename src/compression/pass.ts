import type { Log, OpenSession, TensorMap } from '../core/index.js';
import { WhittleError } from '../core/index.js';
import type { Model } from '../onnx/index.js';

/** What a pass may use beside the model. */
export interface PassContext {
  readonly openSession: OpenSession;
  /** Batches of real requests: one map of the model's inputs each. */
  readonly calibration?: readonly TensorMap[];
  /** Seed of generated inputs. */
  readonly seed: number;
  readonly log: Log;
}

/**
 * One graph-to-graph transformation. It never mutates the model, leaves what it does not understand exactly as it was,
 * and reports what it left and why.
 */
export type Pass = (model: Model, context: PassContext) => Promise<PassResult>;

export interface PassResult {
  readonly model: Model;
  readonly report: PassReport;
}

export interface PassReport {
  readonly changed: readonly LayerChange[];
  readonly left: readonly LeftLayer[];
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

/**
 * The calibration feeds.
 * @throws RECIPE_INVALID where there are none: a pass never falls back to weights by itself.
 */
export function calibrationOf(context: PassContext, pass: string): readonly TensorMap[] {
  const { calibration = [] } = context;
  if (calibration.length > 0) return calibration;
  throw new WhittleError(
    'RECIPE_INVALID',
    `${pass} needs calibration requests: give some, or set basis to "weights"`,
    { pass, field: 'basis', value: 'activations', allowed: ['weights'] },
  );
}

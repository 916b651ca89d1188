import type { Model, Node } from '../../onnx/index.js';
import type { Shapes } from '../graph/channel-trace.js';
import { multiplyAddsAt, outputRows } from '../measure/model-stats.js';
import { nodeMultiplyAdds } from '../measure/node-multiply-adds.js';
import type { DimsOf } from '../measure/node-multiply-adds.js';
import type { PassName } from '../passes/index.js';
import { timesFaster } from './speed.js';
import type { FasterPart, SpeedRange } from './speed.js';
import type { KindBytes } from './weight-ledger.js';

/** What one recipe would save, estimated without running it. */
export interface Saving {
  /** The recipe's short name, or the pass's where it has none. */
  readonly recipe: string;
  readonly pass: PassName;
  /** How many layers, tables or nodes it would take, and how many of the kind the model has. */
  readonly takes: number;
  readonly of: number;
  readonly unit: 'layers' | 'tables' | 'nodes';
  /** Bytes of the constants afterwards; null where that depends on requests. */
  readonly bytes: KindBytes | null;
  /** Afterwards; null where the model could not be run on made-up inputs. */
  readonly multiplyAddsPer100Rows: number | null;
  /** Of the multiply-adds as they are, those in what it takes. */
  readonly takenMultiplyAdds: number | null;
  /** Gain at 100 rows, as measured elsewhere; null where it is not known. */
  readonly timesFaster: SpeedRange | null;
  readonly needsRequests: boolean;
}

/** The model with what is known of it. */
export interface Subject {
  readonly model: Model;
  /** Multiply-adds of a node and of the model, at 100 rows; undefined where shapes are not known. */
  readonly work: ((node: Node) => number) | undefined;
  readonly totalWork: number | undefined;
}

/** The model with the multiply-adds of a run. */
export function subjectOf(model: Model, shapes: Shapes | undefined): Subject {
  if (shapes === undefined) return { model, work: undefined, totalWork: undefined };
  const dimsOf: DimsOf = (name) => shapes.get(name)?.dims;
  const scale = 100 / outputRows(model, dimsOf);
  return {
    model,
    work: (node) => scale * (nodeMultiplyAdds(node, dimsOf) ?? 0),
    totalWork: scale * multiplyAddsAt(model, dimsOf),
  };
}

/** How many times as fast a product becomes: from, to. */
export interface Gain {
  readonly low: number;
  readonly high: number;
}

/** Something taken: its node, how wide it is, its gain, and the share of its multiply-adds that stays. */
export interface Taken extends Gain {
  readonly node: Node;
  readonly isWide: boolean;
  readonly kept?: number;
}

type Figures = Pick<Saving, 'multiplyAddsPer100Rows' | 'takenMultiplyAdds' | 'timesFaster'>;

/** What `taken` makes of the model's multiply-adds and time. */
export function figuresOf({ work, totalWork }: Subject, taken: readonly Taken[]): Figures {
  if (work === undefined || totalWork === undefined)
    return { multiplyAddsPer100Rows: null, takenMultiplyAdds: null, timesFaster: null };
  const parts = taken.map((each): FasterPart & { kept: number } => ({
    multiplyAdds: work(each.node),
    kept: each.kept ?? 1,
    low: each.isWide ? each.low : 1,
    high: each.isWide ? each.high : 1,
  }));
  const saved = parts.reduce((sum, { multiplyAdds, kept }) => sum + multiplyAdds * (1 - kept), 0);
  return {
    multiplyAddsPer100Rows: Math.round(totalWork - saved),
    takenMultiplyAdds: Math.round(parts.reduce((sum, { multiplyAdds }) => sum + multiplyAdds, 0)),
    timesFaster: timesFaster(totalWork, parts),
  };
}

/** Of what is multiplied as before. */
export const UNCHANGED: Gain = { low: 1, high: 1 };

/** Least weights of a layer or table, by default of the passes that quantize. */
export const MIN_WEIGHTS = 4096;
/** The same of those that cut ranks. */
export const MIN_CUT_WEIGHTS = 8192;

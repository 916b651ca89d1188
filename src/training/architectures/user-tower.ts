import { layerNorm, causalMask, transformerBlock, type Dropout } from './layers.js';
import type { ParameterSet } from './parameter-set.js';

/** Sizes of the two towers. */
export interface TowerShape {
  /** Width of item and user vectors. */
  readonly dimensions: number;
  /** Items of the history that count. */
  readonly maxLength: number;
  readonly blocks: number;
  readonly heads: number;
  /** Periods of time that the user's side tells apart. */
  readonly periods: number;
}

/**
 * The user tower's sequence encoder, a causal transformer over item vectors (after SASRec, Kang and McAuley 2018).
 *
 * @param history int64 `[requests, maxLength]`, item numbers from 1, 0 pads in front.
 * @param table float32 `[items + 1, dimensions]`.
 * @param lastOnly compute only the state after the whole history.
 * @returns float32 `[requests, maxLength, dimensions]`, or `[requests, 1, dimensions]` with `lastOnly`.
 */
export function encodeHistory(
  set: ParameterSet,
  shape: TowerShape,
  history: string,
  table: string,
  { dropout, lastOnly }: { readonly dropout: Dropout; readonly lastOnly: boolean },
): string {
  const { op } = set.builder;
  const { dimensions: width, maxLength: length, heads, blocks } = shape;
  const positions = set.normal('tower.positions', [length, width], 0.02);
  const mask = causalMask(set, history, length);
  let x = dropout(op.Add(op.Mul(op.Gather(table, history), Math.sqrt(width)), positions));
  for (let block = 0; block < blocks; block++) {
    const isLast = lastOnly && block === blocks - 1;
    x = transformerBlock(set, `tower.block${block}`, x, mask, { width, heads, length }, dropout, isLast);
  }
  return layerNorm(set, 'tower.norm', x, width);
}

/** Adds what the period of time says to user states: `states` `[n, dimensions]`, `period` int64 `[n]`. */
export function addPeriod(set: ParameterSet, shape: TowerShape, states: string, period: string): string {
  const { op } = set.builder;
  return op.Add(
    states,
    op.Gather(set.normal('tower.periods', [shape.periods, shape.dimensions], 0.02), period),
  );
}

/**
 * The user vector of each request, `[requests, dimensions]`: the state after the history and the period's vector.
 *
 * @param period int64 `[requests]`.
 */
export function userVector(
  set: ParameterSet,
  shape: TowerShape,
  history: string,
  period: string,
  table: string,
): string {
  const states = encodeHistory(set, shape, history, table, { dropout: (x) => x, lastOnly: true });
  return addPeriod(set, shape, set.builder.op.Squeeze(states, [1]), period);
}

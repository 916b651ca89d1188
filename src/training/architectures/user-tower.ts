import { float32 } from '../../core/index.js';
import { layerNorm, causalMask, lastOf, transformerBlock, type Dropout } from './layers.js';
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
 * Columns of the item table: the item's vector, how popular it was before each period, its bias. A user vector has the
 * same columns, so that their dot product is the match.
 */
export function tableWidth({ dimensions, periods }: TowerShape): number {
  return dimensions + periods + 1;
}

/** Where histories begin to hold items. */
export interface SeenHistory {
  /** int64 `[requests, seen]`, item numbers from 1, 0 pads in front. */
  readonly history: string;
  /** int64 `[1]`: places of `maxLength` that were cut off in front; absent where none were. */
  readonly start?: string;
}

/**
 * Cuts off the padding that all histories of a batch share: what nobody's history fills need not be computed. Padding
 * is masked everywhere, so that the answers stay; only an empty history looks at its own padding, and keeps all of it.
 *
 * @param history int64 `[requests, maxLength]`.
 */
export function cutPadding(
  { builder }: ParameterSet,
  { maxLength }: TowerShape,
  history: string,
): SeenHistory {
  const { op } = builder;
  const zero = builder.constant({ dtype: 'int64', dims: [], data: BigInt64Array.of(0n) });
  const isFilled = (axis: number): string =>
    op.Cast(op.Greater(op.ReduceMax(history, [axis], { keepdims: 0 }), zero), { to: 'int32' });
  const first = op.ArgMax(isFilled(0), { axis: 0, keepdims: 1 });
  const noneEmpty = op.Cast(op.ReduceMin(isFilled(1), [0], { keepdims: 1 }), { to: 'int64' });
  const start = op.Mul(first, noneEmpty);
  return { history: op.Slice(history, start, [maxLength], [1]), start };
}

/**
 * The user tower's sequence encoder: a causal transformer over item vectors (after SASRec, Kang and McAuley 2018), and
 * beside it the mean of second vectors of all items seen, for tastes that do not hang on order (after FISM, Kabbur et
 * al. 2013).
 *
 * @param past the history's item vectors, float32 `[requests, seen, dimensions]`.
 * @param items rows of the item table.
 * @param lastOnly compute only the state after the whole history.
 * @returns float32 `[requests, seen, dimensions]`, or `[requests, 1, dimensions]` with `lastOnly`.
 */
export function encodeHistory(
  set: ParameterSet,
  shape: TowerShape,
  { history, start }: SeenHistory,
  past: string,
  items: number,
  { dropout, lastOnly }: { readonly dropout: Dropout; readonly lastOnly: boolean },
): string {
  const { op } = set.builder;
  const { dimensions: width, maxLength: length, heads, blocks } = shape;
  const places = set.normal('tower.positions', [length, width], 0.02);
  const positions = start === undefined ? places : op.Slice(places, start, [length], [0]);
  const mask = causalMask(set, history, length, start);
  let x = dropout(op.Add(op.Mul(past, Math.sqrt(width)), positions));
  for (let block = 0; block < blocks; block++) {
    const isLast = lastOnly && block === blocks - 1;
    x = transformerBlock(set, `tower.block${block}`, x, mask, { width, heads }, dropout, isLast);
  }
  const shown = lastOnly ? lastOf(set, mask, 2) : mask;
  const shares = op.Softmax(op.Squeeze(shown, [1]), { axis: -1 });
  const tastes = op.MatMul(shares, op.Gather(set.normal('tower.tastes', [items, width], 0.02), history));
  return op.Add(layerNorm(set, 'tower.norm', x, width), tastes);
}

/**
 * The user's side of the match: the states with what the period of time says, the period's weight on the items'
 * popularity before it, and 1 for their bias.
 *
 * @param states float32 `[n, dimensions]`.
 * @param period int64 `[n]`.
 * @returns float32 `[n, tableWidth]`.
 */
export function userSide(set: ParameterSet, shape: TowerShape, states: string, period: string): string {
  const { builder } = set;
  const { op } = builder;
  const { dimensions, periods } = shape;
  const season = op.Gather(set.normal('tower.periods', [periods, dimensions], 0.02), period);
  const identity = new Float32Array(periods * periods);
  for (let one = 0; one < periods; one++) identity[one * periods + one] = 1;
  const weighted = op.Mul(
    builder.constant(float32(identity, [periods, periods])),
    set.filled('tower.trend', [1], 0.5),
  );
  const one = op.Expand(1, op.Concat(op.Shape(period), [1], { axis: 0 }));
  return op.Concat(op.Add(states, season), op.Gather(weighted, period), one, { axis: 1 });
}

/**
 * The user vector of each request, `[requests, tableWidth]`, as it is served.
 *
 * @param seen the histories.
 * @param period int64 `[requests]`.
 * @param table the item table, float32 `[items, tableWidth]`.
 */
export function userVector(
  set: ParameterSet,
  shape: TowerShape,
  seen: SeenHistory,
  period: string,
  table: string,
  items: number,
): string {
  const past = itemPart(set, shape, set.builder.op.Gather(table, seen.history));
  const states = encodeHistory(set, shape, seen, past, items, { dropout: (x) => x, lastOnly: true });
  return userSide(set, shape, set.builder.op.Squeeze(states, [1]), period);
}

/** The items' vectors out of rows of the item table: `[..., tableWidth]` → `[..., dimensions]`. */
export function itemPart({ builder }: ParameterSet, { dimensions }: TowerShape, rows: string): string {
  return builder.op.Slice(rows, [0], [dimensions], [-1]);
}

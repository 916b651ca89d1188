import { MASKED, dense } from './layers.js';
import type { ParameterSet } from './parameter-set.js';
import { itemPart, userVector, type SeenHistory, type TowerShape } from './user-tower.js';

/** Sizes of the ranker. */
export interface RankerShape {
  readonly tower: TowerShape;
  /** Cross layers (DCN-v2). */
  readonly crossLayers: number;
  /** Widths of the deep part's hidden layers. */
  readonly hidden: readonly number[];
}

export interface RankerValues {
  readonly seen: SeenHistory;
  /** int64 `[requests]`. */
  readonly period: string;
  /** Item numbers from 1, int64 `[candidates]`. */
  readonly candidate: string;
  /** int64 `[candidates]`. */
  readonly requestIndex: string;
  /** The item table, float32 `[items, tableWidth]`. */
  readonly table: string;
  /** Rows of the item table. */
  readonly items: number;
}

/** Features are multiplied by a mask while training. */
export type FeatureDropout = (features: string, width: number) => string;

/**
 * The large model: DCN-v2 (Wang et al. 2021) over the candidate, the user's state, their product and what attention
 * from the candidate finds in the history (after DIN, Zhou et al. 2018), added to the towers' own match.
 *
 * @returns float32 `[candidates]` each: the towers' match, and what DCN-v2 adds to it.
 */
export function rankerParts(
  set: ParameterSet,
  shape: RankerShape,
  values: RankerValues,
  dropout: FeatureDropout = (x) => x,
): { readonly match: string; readonly judgement: string } {
  const { op } = set.builder;
  const { dimensions: width } = shape.tower;
  const user = userVector(set, shape.tower, values.seen, values.period, values.table, values.items);
  const askedRow = op.Gather(user, values.requestIndex);
  const itemRow = op.Gather(values.table, values.candidate);
  const match = op.ReduceSum(op.Mul(askedRow, itemRow), [1], { keepdims: 0 });
  const asked = itemPart(set, shape.tower, askedRow);
  const item = itemPart(set, shape.tower, itemRow);
  const attended = attendHistory(set, shape.tower, values, item);
  const parts = [item, asked, op.Mul(asked, item), attended, op.Mul(attended, item)];
  const features = op.Concat(...parts, { axis: 1 });
  const judgement = crossAndDeep(set, shape, dropout(features, parts.length * width), parts.length * width);
  return { match, judgement };
}

/** Number of features per candidate. */
export function featureWidth({ tower }: RankerShape): number {
  return 5 * tower.dimensions;
}

/**
 * Attention from each candidate over its own request's history, computed for all pairs of candidates and requests at
 * once: for the few requests of a batch, masking is cheaper than gathering a history a candidate.
 */
function attendHistory(set: ParameterSet, tower: TowerShape, values: RankerValues, item: string): string {
  const { builder } = set;
  const { op } = builder;
  const { dimensions: width, maxLength: length } = tower;
  const { history, start } = values.seen;
  const past = itemPart(set, tower, op.Gather(values.table, history));
  const flat = op.Reshape(past, [-1, width]);
  const key = dense(set, 'ranker.attention.key', flat, width, width);
  const query = dense(set, 'ranker.attention.query', item, width, width);
  const logits = op.Mul(op.MatMul(query, op.Transpose(key, { perm: [1, 0] })), 1 / Math.sqrt(width));
  const ages = set.filled('ranker.attention.recency', [length], 0);
  const recency = op.Unsqueeze(start === undefined ? ages : op.Slice(ages, start, [length], [0]), [0, 1]);
  const zero = builder.constant({ dtype: 'int64', dims: [], data: BigInt64Array.of(0n) });
  const isPadding = op.Cast(op.Equal(history, zero), { to: 1 });
  const masked = op.Add(recency, op.Unsqueeze(op.Mul(isPadding, MASKED), [0]));
  const all = op.Add(
    op.Reshape(logits, op.Concat(op.Shape(values.candidate), op.Shape(history), { axis: 0 })),
    masked,
  );
  const own = op.Add(all, foreignRequests(set, values));
  const weights = op.Softmax(op.Flatten(own, { axis: 1 }), { axis: -1 });
  return op.MatMul(weights, flat);
}

/** `[candidates, requests, 1]`: 0 at the candidate's own request, masked elsewhere. */
function foreignRequests({ builder }: ParameterSet, { seen, requestIndex }: RankerValues): string {
  const { op } = builder;
  const scalar = (value: bigint): string =>
    builder.constant({ dtype: 'int64', dims: [], data: BigInt64Array.of(value) });
  const requests = op.Squeeze(op.Shape(seen.history, { start: 0, end: 1 }), [0]);
  const numbers = op.Range(scalar(0n), requests, scalar(1n));
  const isOwn = op.Equal(op.Unsqueeze(requestIndex, [1]), op.Unsqueeze(numbers, [0]));
  // Twice as strong as padding, so that a request with an empty history attends to its own padding.
  const foreign = op.Mul(op.Sub(1, op.Cast(isOwn, { to: 1 })), 2 * MASKED);
  return op.Unsqueeze(foreign, [2]);
}

function crossAndDeep(
  set: ParameterSet,
  { crossLayers, hidden }: RankerShape,
  features: string,
  width: number,
): string {
  const { op } = set.builder;
  let crossed = features;
  for (let layer = 0; layer < crossLayers; layer++) {
    crossed = op.Add(
      op.Mul(features, dense(set, `ranker.cross${layer}`, crossed, width, width, 0.5)),
      crossed,
    );
  }
  let deep = features;
  let from = width;
  hidden.forEach((to, layer) => {
    deep = op.Relu(dense(set, `ranker.deep${layer}`, deep, from, to, Math.SQRT2));
    from = to;
  });
  const joined = op.Concat(crossed, deep, { axis: 1 });
  const score = dense(set, 'ranker.out', joined, width + from, 1, 0.1);
  return op.Squeeze(score, [1]);
}

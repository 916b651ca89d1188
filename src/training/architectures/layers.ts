import { float32 } from '../../core/index.js';
import type { ParameterSet } from './parameter-set.js';

/** x `[..., from]` → x W + b `[..., to]`; weights `<name>.weight` `[from, to]` and `<name>.bias` `[to]`. */
export function dense(
  set: ParameterSet,
  name: string,
  x: string,
  from: number,
  to: number,
  gain = 1,
): string {
  const { op } = set.builder;
  const weight = set.normal(`${name}.weight`, [from, to], gain * Math.sqrt(1 / from));
  return op.Add(op.MatMul(x, weight), set.filled(`${name}.bias`, [to], 0));
}

/** Layer normalisation over the last axis (Ba et al. 2016). */
export function layerNorm(set: ParameterSet, name: string, x: string, width: number): string {
  const scale = set.filled(`${name}.scale`, [width], 1);
  const bias = set.filled(`${name}.bias`, [width], 0);
  return set.builder.op.LayerNormalization(x, scale, bias, { axis: -1, epsilon: 1e-5 });
}

/** Added to attention logits that must not count; large, and finite so that a row of them stays a number. */
export const MASKED = -1e9;

/**
 * What position i of a padded sequence may attend to: itself and earlier positions that are no padding. `history`
 * int64 `[requests, seen]`, 0 pads, its places counted from `start` of `length`; answers float32
 * `[requests, 1, seen, seen]` to add to the logits.
 */
export function causalMask(
  { builder }: ParameterSet,
  history: string,
  length: number,
  start?: string,
): string {
  const { op } = builder;
  const later = new Float32Array(length * length);
  // Twice as strong as padding: a place before the first item must attend to padding and not to what comes later.
  for (let row = 0; row < length; row++) later.fill(2 * MASKED, row * length + row + 1, (row + 1) * length);
  const isPadding = op.Cast(
    op.Equal(history, builder.constant({ dtype: 'int64', dims: [], data: BigInt64Array.of(0n) })),
    { to: 1 },
  );
  const padding = op.Unsqueeze(op.Mul(isPadding, MASKED), [1, 2]);
  const ahead = builder.constant(float32(later, [length, length]));
  return op.Add(
    padding,
    start === undefined ? ahead : op.Slice(ahead, op.Concat(start, start, { axis: 0 }), [length, length]),
  );
}

export interface BlockShape {
  readonly width: number;
  readonly heads: number;
}

/** Multiplies `[requests, length, width]` by a dropout mask while training; the identity when serving. */
export type Dropout = (x: string) => string;

/**
 * One pre-norm transformer block (Vaswani et al. 2017; Xiong et al. 2020). `x` `[requests, length, width]`. With
 * `lastOnly` only the last position is computed and the answer is `[requests, 1, width]`.
 */
export function transformerBlock(
  set: ParameterSet,
  name: string,
  x: string,
  mask: string,
  shape: BlockShape,
  dropout: Dropout,
  lastOnly: boolean,
): string {
  const { op } = set.builder;
  const { width } = shape;
  const normed = layerNorm(set, `${name}.norm1`, x, width);
  const [asked, residual, seen] = lastOnly
    ? [lastOf(set, normed, 1), lastOf(set, x, 1), lastOf(set, mask, 2)]
    : [normed, x, mask];
  const attended = selfAttention(set, `${name}.attention`, asked, normed, seen, shape);
  const middle = op.Add(residual, dropout(attended));
  const hidden = op.Relu(
    dense(set, `${name}.feed1`, layerNorm(set, `${name}.norm2`, middle, width), width, 4 * width),
  );
  return op.Add(middle, dropout(dense(set, `${name}.feed2`, hidden, 4 * width, width)));
}

/** The last place along an axis, which stays. */
export function lastOf({ builder }: ParameterSet, x: string, axis: number): string {
  return builder.op.Slice(x, [-1], [Number.MAX_SAFE_INTEGER], [axis]);
}

function selfAttention(
  set: ParameterSet,
  name: string,
  asked: string,
  given: string,
  mask: string,
  shape: BlockShape,
): string {
  const { op } = set.builder;
  const { width, heads } = shape;
  const split = (x: string): string => op.Reshape(x, [0, 0, heads, width / heads]);
  const project = (part: string, x: string): string => split(dense(set, `${name}.${part}`, x, width, width));
  const query = op.Transpose(project('query', asked), { perm: [0, 2, 1, 3] });
  const key = op.Transpose(project('key', given), { perm: [0, 2, 3, 1] });
  const value = op.Transpose(project('value', given), { perm: [0, 2, 1, 3] });
  const logits = op.Add(op.Mul(op.MatMul(query, key), 1 / Math.sqrt(width / heads)), mask);
  const mixed = op.Transpose(op.MatMul(op.Softmax(logits, { axis: -1 }), value), { perm: [0, 2, 1, 3] });
  return dense(set, `${name}.out`, op.Reshape(mixed, [0, 0, width]), width, width);
}

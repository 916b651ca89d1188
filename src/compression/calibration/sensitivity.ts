import { must } from '../../core/index.js';
import type { TensorMap } from '../../core/index.js';
import type { Model } from '../../onnx/index.js';
import { outputErrors } from '../measure/output-error.js';
import type { PassContext } from '../pass.js';
import { runFeeds } from './session.js';

/** Feeds that errors are measured on, taken evenly from all. */
const MEASURED_FEEDS = 4;

/** A few feeds, evenly from all of them. */
export function someFeeds(feeds: readonly TensorMap[]): readonly TensorMap[] {
  const count = Math.min(MEASURED_FEEDS, feeds.length);
  return Array.from({ length: count }, (_, index) =>
    must(feeds[Math.floor((index * feeds.length) / count)], 'feed'),
  );
}

/** How many layers stay as they were: a number, or as many as an error of the model's outputs asks for. */
export interface KeepLimits {
  /** The most that stay. */
  readonly keepFloat: number;
  /** Undefined: exactly `keepFloat` stay. Else no more than needed for this error, as `relativeRms`. */
  readonly maxRelativeError: number | undefined;
}

export interface Sensitivities<Layer> {
  /** Error of the model's outputs where that layer alone is changed; the worst output counts. */
  readonly alone: ReadonlyMap<Layer, number>;
  /** The layers that stay as they were: those that alone cost most. */
  readonly kept: ReadonlySet<Layer>;
}

/**
 * Measures what each layer costs, and chooses those that stay as they were. On at most 4 of the feeds, in a run of the
 * model for each layer, and log₂(layers) more where an error is asked for: that few layers kept too many never hurts.
 */
export async function measureSensitivity<Layer>(
  model: Model,
  layers: readonly Layer[],
  changedWith: (layers: readonly Layer[]) => Model,
  { keepFloat, maxRelativeError }: KeepLimits,
  feeds: readonly TensorMap[],
  context: PassContext,
): Promise<Sensitivities<Layer>> {
  const { openSession, progress } = context;
  const few = someFeeds(feeds);
  const reference = await runFeeds(model, few, openSession);
  const errorWith = async (changed: readonly Layer[]): Promise<number> => {
    const errors = outputErrors(reference, await runFeeds(changedWith(changed), few, openSession));
    return Math.max(0, ...Object.values(errors).map((error) => error.relativeRms ?? 0));
  };
  const alone = new Map<Layer, number>();
  for (const [index, layer] of layers.entries()) {
    progress?.(index, layers.length, 'sensitivity of each layer');
    alone.set(layer, await errorWith([layer]));
  }
  const worstFirst = [...layers].sort((a, b) => (alone.get(b) ?? 0) - (alone.get(a) ?? 0));
  const most = Math.min(keepFloat, layers.length);
  const count =
    maxRelativeError === undefined
      ? most
      : await leastCount(most, async (kept) => (await errorWith(worstFirst.slice(kept))) <= maxRelativeError);
  return { alone, kept: new Set(worstFirst.slice(0, count)) };
}

/** The least count up to `most` that is enough, by halving; `most` where none is. */
async function leastCount(most: number, isEnough: (count: number) => Promise<boolean>): Promise<number> {
  let [low, high] = [0, most];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (await isEnough(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

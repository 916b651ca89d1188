import { must } from '../../core/index.js';
import type { TensorMap } from '../../core/index.js';
import type { Model } from '../../onnx/index.js';
import { countIntoBins, widenRange } from '../kernels/calibration-kernel.js';
import type { PassContext } from '../pass.js';
import { withTaps } from './tap-values.js';

/** Least and greatest of what a value takes. */
export interface ValueRange {
  readonly min: number;
  readonly max: number;
}

/** How often a value lies where: `counts` over bins of equal width from `low` to `high`. */
export interface Histogram {
  readonly low: number;
  readonly high: number;
  readonly counts: Float64Array;
  /** How often it is exactly zero. These are in no bin: every quantization keeps them. */
  readonly zeros: number;
}

const BINS = 2048;

/**
 * Ranges of float32 values over the feeds. A value that is ever NaN or infinite, or that has no elements, has none.
 */
export async function observeRanges(
  model: Model,
  names: readonly string[],
  feeds: readonly TensorMap[],
  context: PassContext,
): Promise<ReadonlyMap<string, ValueRange>> {
  const ranges = new Map(names.map((name) => [name, Float64Array.of(Infinity, -Infinity)]));
  await observe(model, names, feeds, context, (name, values) => {
    const range = ranges.get(name);
    if (range !== undefined && !widenRange(values, range)) ranges.delete(name);
  });
  return new Map(
    [...ranges].flatMap(([name, [min = 0, max = 0]]) => (min <= max ? [[name, { min, max }] as const] : [])),
  );
}

/** Histograms of 2048 bins over ranges that were observed on the same feeds. */
export async function observeHistograms(
  model: Model,
  ranges: ReadonlyMap<string, ValueRange>,
  feeds: readonly TensorMap[],
  context: PassContext,
): Promise<ReadonlyMap<string, Histogram>> {
  const wide = [...ranges].filter(([, { min, max }]) => min < max);
  const histograms = new Map(
    wide.map(([name, { min, max }]) => [
      name,
      { low: min, high: max, counts: new Float64Array(BINS), zeros: 0 },
    ]),
  );
  await observe(model, [...histograms.keys()], feeds, context, (name, values) => {
    const histogram = must(histograms.get(name), name);
    histogram.zeros += countIntoBins(values, histogram.low, histogram.high, histogram.counts);
  });
  return histograms;
}

/** Shows `visit` each value on one feed after the other, so that no more than one feed's are held. */
async function observe(
  model: Model,
  names: readonly string[],
  feeds: readonly TensorMap[],
  { openSession, progress }: PassContext,
  visit: (name: string, values: Float32Array) => void,
): Promise<void> {
  if (names.length === 0) return;
  await withTaps(model, names, openSession, async (read) => {
    for (const [index, feed] of feeds.entries()) {
      progress?.(index, feeds.length, `calibration of ${names.length} values`);
      for (const [name, values] of await read(feed)) visit(name, values);
    }
  });
}

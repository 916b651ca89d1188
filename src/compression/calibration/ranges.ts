import { must } from '../../core/index.js';
import type { TensorMap } from '../../core/index.js';
import type { Model } from '../../onnx/index.js';
import { countIntoBins, widenRange } from '../kernels/calibration-kernel.js';
import type { PassContext } from '../pass.js';
import { tapGroups, withTaps } from './tap-values.js';

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

/** Dimensions of each value that is to be observed, on one of the feeds. */
export type Observed = ReadonlyMap<string, readonly number[]>;

const BINS = 2048;

/** Values that one run may hand back. */
const MAX_BYTES_PER_RUN = 2 ** 28;

/**
 * Ranges of float32 values over the feeds. A value that is ever NaN or infinite, or that has no elements, has none.
 */
export async function observeRanges(
  model: Model,
  observed: Observed,
  feeds: readonly TensorMap[],
  context: PassContext,
): Promise<ReadonlyMap<string, ValueRange>> {
  const ranges = new Map([...observed.keys()].map((name) => [name, Float64Array.of(Infinity, -Infinity)]));
  await observe(model, observed, feeds, context, (name, values) => {
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
  observed: Observed,
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
  const kept = new Map([...observed].filter(([name]) => histograms.has(name)));
  await observe(model, kept, feeds, context, (name, values) => {
    const histogram = must(histograms.get(name), name);
    histogram.zeros += countIntoBins(values, histogram.low, histogram.high, histogram.counts);
  });
  return histograms;
}

/** Shows `visit` each value on one feed after the other, so that no more than one feed's are held. */
async function observe(
  model: Model,
  observed: Observed,
  feeds: readonly TensorMap[],
  { openSession, progress }: PassContext,
  visit: (name: string, values: Float32Array) => void,
): Promise<void> {
  const groups = tapGroups(observed, MAX_BYTES_PER_RUN);
  for (const [at, names] of groups.entries())
    await withTaps(model, names, openSession, async (read) => {
      for (const [index, feed] of feeds.entries()) {
        progress?.(at * feeds.length + index, groups.length * feeds.length, 'calibration');
        for (const [name, values] of await read(feed)) visit(name, values);
      }
    });
}

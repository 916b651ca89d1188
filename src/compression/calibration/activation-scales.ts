import type { TensorMap } from '../../core/index.js';
import type { Model } from '../../onnx/index.js';
import type { PassContext } from '../pass.js';
import { activationScale, entropyRange, mseRange, percentileRange } from './clipping.js';
import type { ActivationScale, CalibrationMethod } from './clipping.js';
import { observeHistograms, observeRanges } from './ranges.js';
import type { Histogram, Observed, ValueRange } from './ranges.js';

export interface CalibrationParameters {
  /** How the range of a value is chosen from what the calibration requests show. Default `percentile`. */
  readonly calibration?: CalibrationMethod;
  /** Share of the values that `percentile` covers, of 100. Default 99.99. */
  readonly percentile?: number;
  /** Ranges around zero (zero point 128; 0 for what is never negative), not from end to end. Default false. */
  readonly symmetric?: boolean;
}

/** Scales of values, from what they take on the feeds; none for a value that is empty or not finite there. */
export async function activationScales(
  model: Model,
  observed: Observed,
  feeds: readonly TensorMap[],
  parameters: CalibrationParameters,
  context: PassContext,
): Promise<ReadonlyMap<string, ActivationScale>> {
  const { calibration = 'percentile', symmetric = false } = parameters;
  const ranges = await observeRanges(model, observed, feeds, context);
  const histograms =
    calibration === 'min-max'
      ? new Map<string, Histogram>()
      : await observeHistograms(model, observed, ranges, feeds, context);
  let done = 0;
  return new Map(
    [...ranges].map(([name, range]) => {
      const histogram = histograms.get(name);
      context.progress?.(done++, ranges.size, 'choosing ranges');
      const clipped = histogram === undefined ? range : clippedRange(histogram, calibration, parameters);
      return [name, activationScale(clipped, symmetric)];
    }),
  );
}

function clippedRange(
  histogram: Histogram,
  method: CalibrationMethod,
  { percentile = 99.99, symmetric = false }: CalibrationParameters,
): ValueRange {
  if (method === 'percentile') return percentileRange(histogram, percentile);
  return method === 'mse' ? mseRange(histogram, symmetric) : entropyRange(histogram);
}

import { must } from '../core/index.js';
import { LatencyHistogram } from '../statistics/index.js';
import type { AnswerInfo, VariantStatus } from './types.js';

/** Answers and latencies by variant since the process started; bounded memory. */
export class Traffic {
  readonly #byVariant = new Map<string, LatencyHistogram>();

  record({ variant, timings }: AnswerInfo): void {
    let histogram = this.#byVariant.get(variant);
    if (histogram === undefined) {
      histogram = new LatencyHistogram();
      this.#byVariant.set(variant, histogram);
    }
    histogram.record(timings.totalMs);
  }

  requests(variant: string): number {
    return this.#byVariant.get(variant)?.count ?? 0;
  }

  /** Quantiles of the whole answer; undefined before the first. */
  latency(variant: string): VariantStatus['latency'] {
    const histogram = this.#byVariant.get(variant);
    if (histogram === undefined) return undefined;
    const quantile = (probability: number): number => must(histogram.quantile(probability), 'quantile');
    return { p50Ms: quantile(0.5), p90Ms: quantile(0.9), p99Ms: quantile(0.99) };
  }
}

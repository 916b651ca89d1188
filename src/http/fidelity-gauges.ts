import { Gauge, type Registry } from 'prom-client';
import type { LiveFidelity, VariantStatus } from '../serving/index.js';

type Measure = Exclude<keyof LiveFidelity, 'count'>;

const MEASURES: Readonly<Record<Measure, readonly [metric: string, help: string]>> = {
  overlapAt10: [
    'whittle_shadow_overlap_at_10',
    "Share of the full model's first 10 items among the variant's",
  ],
  ndcgAt10: ['whittle_shadow_ndcg_at_10', "NDCG@10 of the variant's order, the full model's scores as gains"],
  scoreError: [
    'whittle_shadow_score_error',
    "Mean absolute difference of scores in standard deviations of the full model's",
  ],
};
const PARTS = {
  mean: 'mean',
  low: 'lower bound of the 95 % interval',
  high: 'upper bound of the 95 % interval',
  count: 'requests compared',
} as const;
type Part = keyof typeof PARTS;

/** Live fidelity by variant as gauges: mean, bounds and count of each measure. */
export class FidelityGauges {
  readonly #gauges = new Map<string, Gauge>();

  constructor(registry: Registry) {
    for (const [metric, help] of Object.values(MEASURES)) {
      for (const [part, meaning] of Object.entries(PARTS)) {
        const name = `${metric}_${part}`;
        const gauge = new Gauge({
          name,
          help: `${help}: ${meaning}.`,
          labelNames: ['variant'],
          registers: [registry],
          // Means and bounds do not add up; see mergeMetrics.
          aggregator: 'omit',
        });
        this.#gauges.set(name, gauge);
      }
    }
  }

  set(variants: readonly VariantStatus[]): void {
    for (const { name: variant, fidelity } of variants) {
      for (const measure of Object.keys(MEASURES) as Measure[]) {
        const [metric] = MEASURES[measure];
        const parts: Partial<Record<Part, number>> = { ...fidelity[measure], count: fidelity.count };
        for (const [part, value] of Object.entries(parts))
          this.#gauges.get(`${metric}_${part}`)?.set({ variant }, value);
      }
    }
  }
}

import { Counter, Gauge, type Registry } from 'prom-client';
import type { DegradationStatus, LiveRetention, VariantStatus } from '../serving/index.js';

const RETENTION_PARTS: Readonly<Record<keyof LiveRetention, string>> = {
  pairs: 'requests with a label',
  users: 'users they came from',
  mean: 'mean',
  low: 'one-sided lower bound at 95 %',
};

type Aggregator = 'sum' | 'average' | 'min' | 'max';

/** How the parts of several gateways become one: bounds only the safe way. */
const RETENTION_OF_ALL: Readonly<Record<keyof LiveRetention, Aggregator>> = {
  pairs: 'sum',
  users: 'max',
  mean: 'average',
  low: 'min',
};

/** Live retention by variant, and what overload moves away from the default pipeline. */
export class DegradationMetrics {
  readonly #retention = new Map<string, Gauge>();
  readonly #share: Gauge;
  readonly #queueSeconds: Gauge;
  readonly #eligible: Gauge;
  readonly #answers: Counter;

  constructor(registry: Registry) {
    const gauge = (name: string, help: string, aggregator: Aggregator, labelNames: string[] = []): Gauge =>
      new Gauge({ name, help, labelNames, aggregator, registers: [registry] });
    for (const [part, meaning] of Object.entries(RETENTION_PARTS)) {
      const help = `NDCG@10 of the variant over that of the full model, by what users did: ${meaning}.`;
      this.#retention.set(
        part,
        gauge(`whittle_retention_${part}`, help, RETENTION_OF_ALL[part as keyof LiveRetention], ['variant']),
      );
    }
    this.#share = gauge(
      'whittle_degraded_share',
      'Share of the traffic outside experiments that is moved.',
      'average',
    );
    this.#queueSeconds = gauge(
      'whittle_degradation_queue_seconds',
      "Time in the queue of the default pipeline's ranker, by which traffic moves.",
      'max',
    );
    this.#eligible = gauge(
      'whittle_degradation_eligible',
      '1 where the pipeline may take traffic over; GET /v1/variants says why not.',
      'min',
      ['pipeline'],
    );
    this.#answers = new Counter({
      name: 'whittle_degraded_answers_total',
      help: 'Answers of a pipeline in the place of the default one.',
      labelNames: ['pipeline'],
      registers: [registry],
    });
  }

  /** An answer of a pipeline in the place of the default one. */
  count(pipeline: string): void {
    this.#answers.inc({ pipeline });
  }

  set(variants: readonly VariantStatus[], { share, queueMs, candidates }: DegradationStatus): void {
    for (const { name: variant, retention } of variants) {
      for (const [part, value] of Object.entries(retention) as [string, number][])
        this.#retention.get(part)?.set({ variant }, value);
    }
    this.#share.set(share);
    this.#queueSeconds.set(queueMs / 1000);
    this.#eligible.reset();
    for (const { pipeline, eligible } of candidates) this.#eligible.set({ pipeline }, eligible ? 1 : 0);
  }
}

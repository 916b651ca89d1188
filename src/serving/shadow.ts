import { createRandom, must, toWhittleError, type ServerConfig } from '../core/index.js';
import { topK } from '../evaluation/index.js';
import type { OpenBundle } from './bundle.js';
import type { EvidenceBook, VariantEvidence } from './evidence.js';
import { compareScores } from './fidelity-pair.js';
import type { Fleet } from './fleet.js';
import { LiveRetentionJoin, type Comparison, type Engagement } from './live-retention.js';
import type { Pipeline, Ranking } from './pipeline.js';
import type { AnyRequest } from './prepare.js';
import { takeoversOf } from './takeover.js';
import type { LiveFidelity, LiveRetention, Observation } from './types.js';

/** How long a shadow may wait for an idle runner before it is worth nothing. */
const SHADOW_DEADLINE_MS = 10_000;
/** Depth of the orders that are kept for labels. */
const DEPTH = 10;

/** An answer that may be ranked again. */
export interface ShadowedAnswer {
  readonly request: Pick<AnyRequest, 'requestId' | 'user' | 'forcedPipeline' | 'timeMs'>;
  readonly pipeline: Pipeline;
  readonly ranking: Ranking;
}

export interface ShadowOptions {
  readonly config: Pick<ServerConfig, 'shadow' | 'overload'>;
  readonly bundle: OpenBundle;
  readonly fleet: Fleet;
  readonly evidence: EvidenceBook;
  readonly observe: (observation: Observation) => void;
  readonly now?: () => number;
}

/**
 * For a sampled share of answers, after they are sent and while the runners needed are idle, ranks the same candidates
 * again and records how the orders compare.
 * - An answer of a variant is ranked by the full model: the variant's fidelity, which needs no labels.
 * - Where degradation is on, any answer is ranked by a variant that could take over, and by the full model: that
 *   variant's fidelity, and with what the user does afterwards its retention. What was shown draws the labels to itself,
 *   so that a variant is never judged by answers of its own.
 */
export class Shadow {
  /** Outlives this generation. */
  readonly evidence: EvidenceBook;
  readonly #options: ShadowOptions;
  readonly #join: LiveRetentionJoin;
  readonly #evidence: ReadonlyMap<string, VariantEvidence>;
  readonly #rivals = new Map<string, readonly string[]>();
  /** Each answer is drawn by itself: a fixed step would meet the same users of periodic traffic again and again. */
  readonly #random = createRandom(1);
  readonly #rivalRandom = createRandom(2);

  constructor(options: ShadowOptions) {
    const { bundle, fleet, evidence, now } = options;
    this.#options = options;
    this.evidence = evidence;
    this.#join = new LiveRetentionJoin(now);
    this.#evidence = new Map([...fleet.rankers.keys()].map((name) => [name, evidence.of(bundle, name)]));
  }

  /** Samples the answer; returns at once. */
  consider(answer: ShadowedAnswer): void {
    const { rankers } = this.#options.fleet;
    if (!rankers.has('full')) return;
    const rivals = this.#rivalsOf(answer.pipeline);
    if (answer.ranking.variant === 'full' && rivals.length === 0) return;
    if (this.#random.uniform() >= this.#options.config.shadow.share) return;
    void this.#compare(answer, rivals[this.#rivalRandom.integer(rivals.length)]);
  }

  /** Labels the answers that this can have come from. */
  engage(engagement: Engagement): void {
    this.#join.engage(engagement);
  }

  /** What is known of a variant so far. */
  fidelity(variant: string): LiveFidelity {
    return this.#evidenceOf(variant).fidelity.report();
  }

  retention(variant: string): LiveRetention {
    return this.#evidenceOf(variant).retention.report();
  }

  async #compare(answer: ShadowedAnswer, rival: string | undefined): Promise<void> {
    const { variant, scores } = answer.ranking;
    const comparison = rival === undefined ? undefined : this.#open(answer);
    let judged = variant;
    try {
      const full = variant === 'full' ? scores : await this.#rank('full', answer.ranking);
      if (variant !== 'full') this.#addFidelity(variant, scores, full);
      if (rival === undefined) return;
      judged = rival;
      const other = await this.#rank(rival, answer.ranking);
      this.#addFidelity(rival, other, full);
      this.#settle(comparison, rival, answer.ranking.rows, other, full);
    } catch (thrown) {
      if (comparison !== undefined) this.#join.close(comparison);
      this.#options.observe({
        kind: 'shadow_dropped',
        variant: judged,
        reason: toWhittleError(thrown).code,
      });
    }
  }

  /** From here on, for labels may come before the shadow is ranked. What follows a forced request, a test, is none. */
  #open({ request, ranking: { rows } }: ShadowedAnswer): Comparison | undefined {
    const { requestId, user, forcedPipeline, timeMs = Date.now() } = request;
    if (user === undefined || forcedPipeline !== undefined) return undefined;
    return this.#join.open({ user, requestId, timeMs, rows });
  }

  #settle(
    comparison: Comparison | undefined,
    rival: string,
    rows: Int32Array,
    other: Float32Array,
    full: Float32Array,
  ): void {
    if (comparison === undefined) return;
    const evidence = this.#evidenceOf(rival).retention;
    this.#join.settle(comparison, { evidence, variant: bestRows(rows, other), full: bestRows(rows, full) });
  }

  async #rank(variant: string, { job }: Ranking): Promise<Float32Array> {
    const ranker = must(this.#options.fleet.rankers.get(variant), `ranker ${variant}`);
    const { result } = await ranker.rankWhenIdle(job, performance.now() + SHADOW_DEADLINE_MS);
    return result;
  }

  #addFidelity(variant: string, scores: Float32Array, full: Float32Array): void {
    const pair = compareScores(scores, full);
    this.#evidenceOf(variant).fidelity.add(pair);
    this.#options.observe({ kind: 'shadow', variant, ...pair });
  }

  #evidenceOf(variant: string): VariantEvidence {
    return must(this.#evidence.get(variant), `evidence of ${variant}`);
  }

  /** Variants that could take over from a pipeline, where degradation would let them. */
  #rivalsOf(pipeline: Pipeline): readonly string[] {
    const { config, fleet } = this.#options;
    if (!config.overload.degradation.enabled) return [];
    let rivals = this.#rivals.get(pipeline.name);
    if (rivals === undefined) {
      const variants = takeoversOf(fleet.pipelines.values(), pipeline).map(({ ranker }) => ranker?.variant);
      rivals = [...new Set(variants)].filter(
        (variant) => variant !== undefined && variant !== 'full',
      ) as string[];
      this.#rivals.set(pipeline.name, rivals);
    }
    return rivals;
  }
}

/** The candidates that scores put first, best first. */
function bestRows(rows: Int32Array, scores: Float32Array): Int32Array {
  return Int32Array.from(topK(scores, DEPTH), (place) => must(rows[place], 'row'));
}

import { createRandom, toWhittleError, type ServerConfig } from '../core/index.js';
import { addSample, emptyMean, meanInterval, type MeanStatistics } from '../statistics/index.js';
import { compareScores, type FidelityPair } from './fidelity-pair.js';
import type { Ranking } from './pipeline.js';
import type { Ranker } from './ranker.js';
import type { LiveFidelity, Observation } from './types.js';

/** How long a shadow may wait for an idle runner before it is worth nothing. */
const SHADOW_DEADLINE_MS = 10_000;

interface VariantFidelity {
  overlapAt10: MeanStatistics;
  ndcgAt10: MeanStatistics;
  scoreError: MeanStatistics;
}

/**
 * For a sampled share of answers, after they are sent and while the full model's runner is idle, ranks the same
 * candidates with the full model and records the paired fidelity. Needs no labels.
 */
export class Shadow {
  readonly #share: number;
  readonly #full: Ranker | undefined;
  readonly #observe: (observation: Observation) => void;
  readonly #byVariant = new Map<string, VariantFidelity>();
  /** Each answer is drawn by itself: a fixed step would meet the same users of periodic traffic again and again. */
  readonly #random = createRandom(1);

  constructor(
    { share }: ServerConfig['shadow'],
    full: Ranker | undefined,
    observe: (observation: Observation) => void,
  ) {
    this.#share = share;
    this.#full = full;
    this.#observe = observe;
  }

  /** Samples the answer; returns at once. */
  consider(ranking: Ranking): void {
    if (this.#full === undefined || ranking.variant === 'full') return;
    if (this.#random.uniform() >= this.#share) return;
    void this.#compare(this.#full, ranking);
  }

  /** What is known of a variant so far, since the process started. */
  fidelity(variant: string): LiveFidelity {
    const known = this.#byVariant.get(variant);
    if (known === undefined) return { count: 0 };
    return {
      count: known.overlapAt10.count,
      overlapAt10: meanInterval(known.overlapAt10),
      ndcgAt10: meanInterval(known.ndcgAt10),
      scoreError: meanInterval(known.scoreError),
    };
  }

  async #compare(full: Ranker, { variant, job, scores }: Ranking): Promise<void> {
    try {
      const { result } = await full.rankWhenIdle(job, performance.now() + SHADOW_DEADLINE_MS);
      const pair = compareScores(scores, result);
      this.#add(variant, pair);
      this.#observe({ kind: 'shadow', variant, ...pair });
    } catch (thrown) {
      this.#observe({ kind: 'shadow_dropped', variant, reason: toWhittleError(thrown).code });
    }
  }

  #add(variant: string, pair: FidelityPair): void {
    const known = this.#byVariant.get(variant) ?? {
      overlapAt10: emptyMean,
      ndcgAt10: emptyMean,
      scoreError: emptyMean,
    };
    this.#byVariant.set(variant, {
      overlapAt10: addSample(known.overlapAt10, pair.overlapAt10),
      ndcgAt10: addSample(known.ndcgAt10, pair.ndcgAt10),
      scoreError: addSample(known.scoreError, pair.scoreError),
    });
  }
}

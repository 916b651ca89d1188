import { LRUCache } from 'lru-cache';
import { must, sha256 } from '../core/index.js';
import {
  addPair,
  addSample,
  emptyMean,
  emptyPairs,
  lowerBound,
  meanInterval,
  ratioEstimate,
  removePair,
} from '../statistics/index.js';
import type { OpenBundle } from './bundle.js';
import type { FidelityPair } from './fidelity-pair.js';
import type { LiveFidelity, LiveRetention } from './types.js';

/** NDCG@10 of both orders of the same candidates by the same labels. */
export interface RelevancePair {
  readonly variant: number;
  readonly full: number;
}

/** Users whose sums are kept so that their further requests count as theirs; of others a new one starts. */
const MAX_USERS = 20_000;
/** Pairs of models whose figures are kept: those of several reloads. */
const MAX_RECORDS = 64;
/** 95 % upper bound, in users, of what none of many users showed (rule of three, Hanley and Lippman-Hand 1983). */
const RULE_OF_THREE = 3;

/** Paired fidelity of one variant against full. */
class FidelityEvidence {
  #overlapAt10 = emptyMean;
  #ndcgAt10 = emptyMean;
  #scoreError = emptyMean;

  add({ overlapAt10, ndcgAt10, scoreError }: FidelityPair): void {
    this.#overlapAt10 = addSample(this.#overlapAt10, overlapAt10);
    this.#ndcgAt10 = addSample(this.#ndcgAt10, ndcgAt10);
    this.#scoreError = addSample(this.#scoreError, scoreError);
  }

  report(): LiveFidelity {
    const { count } = this.#overlapAt10;
    if (count === 0) return { count };
    return {
      count,
      overlapAt10: meanInterval(this.#overlapAt10),
      ndcgAt10: meanInterval(this.#ndcgAt10),
      scoreError: meanInterval(this.#scoreError),
    };
  }
}

/**
 * Retention of one variant: Σ NDCG@10 of its orders / Σ NDCG@10 of full's, over labelled requests. A user's pair is the
 * sums over their requests, and is replaced as these grow, so that the interval is clustered by user.
 */
export class RetentionEvidence {
  readonly #users = new LRUCache<string, RelevancePair>({ max: MAX_USERS });
  #statistics = emptyPairs;
  #pairs = 0;

  /** Counts a request's pair; `before` is the pair that it counted with until now, absent for a new request. */
  update(user: string, pair: RelevancePair, before?: RelevancePair): void {
    const known = this.#users.get(user);
    if (known !== undefined) this.#statistics = removePair(this.#statistics, known.variant, known.full);
    const sums = {
      variant: (known?.variant ?? 0) + pair.variant - (before?.variant ?? 0),
      full: (known?.full ?? 0) + pair.full - (before?.full ?? 0),
    };
    this.#statistics = addPair(this.#statistics, sums.variant, sums.full);
    this.#users.set(user, sums);
    if (before === undefined) this.#pairs += 1;
  }

  /**
   * The ratio with its one-sided lower bound at 95 % by the delta method. Where the variant did the same for every user
   * nothing is known of the spread; the bound is then what so many users can rule out: mean × (1 − 3 / users).
   */
  report(): LiveRetention {
    const { count: users, meanY: full } = this.#statistics;
    const pairs = this.#pairs;
    if (!(full > 0)) return { pairs, users };
    if (users < 2) return { pairs, users, mean: this.#statistics.meanX / full };
    const estimate = ratioEstimate(this.#statistics);
    const low =
      estimate.standardError > 0
        ? lowerBound(estimate)
        : estimate.mean * Math.max(0, 1 - RULE_OF_THREE / users);
    return { pairs, users, mean: estimate.mean, low };
  }
}

/** What live traffic has shown of a variant against full. */
export interface VariantEvidence {
  readonly fidelity: FidelityEvidence;
  readonly retention: RetentionEvidence;
}

/**
 * The evidence of every variant since the process started. It belongs to the files of both models, not to their names:
 * a reload keeps it where neither changed, and starts anew where one did.
 */
export class EvidenceBook {
  readonly #records = new LRUCache<string, VariantEvidence>({ max: MAX_RECORDS });

  /** The evidence of a variant of a bundle. */
  of(bundle: Pick<OpenBundle, 'manifest' | 'models'>, variant: string): VariantEvidence {
    const key = sha256(JSON.stringify([hashesOf(bundle, variant), hashesOf(bundle, 'full')]));
    let record = this.#records.get(key);
    if (record === undefined) {
      record = { fidelity: new FidelityEvidence(), retention: new RetentionEvidence() };
      this.#records.set(key, record);
    }
    return record;
  }
}

/** SHA-256 of every file that a variant is made of; none where the bundle has no such variant. */
function hashesOf(
  { manifest, models }: Pick<OpenBundle, 'manifest' | 'models'>,
  variant: string,
): readonly string[] {
  const file = manifest.variants[variant]?.file;
  if (file === undefined) return [];
  const { files } = must(models.get(file), `model ${file}`);
  return files.map((name) => must(manifest.files[name], `file ${name}`).sha256);
}

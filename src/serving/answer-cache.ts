import { LRUCache } from 'lru-cache';
import { sha256, type ServerConfig } from '../core/index.js';
import type { Ranked } from './pipeline.js';

/** A ranking without the tensors that made it: those are for the shadow, and many times its size. */
type CachedRanked = Omit<Ranked, 'ranking'>;

/**
 * Remembers rankings by everything they follow from: bundle version, endpoint, pipeline and full input. Requests of an
 * experiment bypass it, so that an arm's latency and exposure are its own.
 */
export class AnswerCache {
  readonly #entries: LRUCache<string, CachedRanked> | undefined;
  readonly #version: string;

  /** @param version changes whenever the bundle does. */
  constructor({ maxEntries, ttlMs }: ServerConfig['cache'], version: string) {
    this.#entries = maxEntries === 0 ? undefined : new LRUCache({ max: maxEntries, ttl: ttlMs });
    this.#version = version;
  }

  /** Whether anything is remembered; where not, a key need not be made. */
  get enabled(): boolean {
    return this.#entries !== undefined;
  }

  /** Key of a request; `input` is all that its ranking follows from, as plain JSON. */
  key(endpoint: string, pipeline: string, input: unknown): string {
    return sha256(JSON.stringify([this.#version, endpoint, pipeline, input]));
  }

  get(key: string): CachedRanked | undefined {
    return this.#entries?.get(key);
  }

  set(key: string, ranked: Ranked): void {
    const { ranking: _inputs, ...kept } = ranked;
    this.#entries?.set(key, kept);
  }
}

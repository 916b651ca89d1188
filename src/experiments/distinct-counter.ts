import { murmur3 } from './murmur3.js';

const DEFAULT_CAPACITY = 65_536;

/** A 53-bit hash; among a million ids the chance of any collision is about 5 in 100,000. */
function hash53(id: string): number {
  return murmur3(id, 0x9747b28c) * 2 ** 21 + (murmur3(id, 0x3c6ef372) >>> 11);
}

/** Whether the lowest `depth` bits of a hash are zero. */
function isSampled(hash: number, depth: number): boolean {
  return hash % 2 ** depth === 0;
}

/**
 * Counts distinct ids in bounded memory by adaptive sampling (Flajolet 1990). Exact up to `capacity` ids;
 * each time that is passed, the half of the ids whose hash has a one as its next bit is dropped, and those
 * kept stand for twice as many. The relative standard error is then about 1.2 / √capacity, 0.5 % at the
 * default.
 */
export class DistinctCounter {
  private readonly capacity: number;
  private hashes = new Set<number>();
  private depthBits = 0;

  constructor(capacity: number = DEFAULT_CAPACITY) {
    this.capacity = capacity;
  }

  /** Bits by which ids are sampled: one in 2^depth is kept; 0 means that the count is exact. */
  get depth(): number {
    return this.depthBits;
  }

  add(id: string): void {
    const hash = hash53(id);
    if (!isSampled(hash, this.depthBits)) return;
    this.hashes.add(hash);
    while (this.hashes.size > this.capacity) this.halve();
  }

  /** Distinct ids added. */
  estimate(): number {
    return this.hashes.size * 2 ** this.depthBits;
  }

  /**
   * Ids in the one-in-2^depth sample, for `depth` ≥ this counter's. At an equal depth the counts of two counters are
   * of the same sample of ids, so a test of their proportions holds where one of their estimates would not.
   */
  sampledAt(depth: number): number {
    let count = 0;
    for (const hash of this.hashes) if (isSampled(hash, depth)) count++;
    return count;
  }

  private halve(): void {
    this.depthBits++;
    for (const hash of this.hashes) if (!isSampled(hash, this.depthBits)) this.hashes.delete(hash);
  }
}

import { assert } from '../../src/core/index.js';

/** A histogram as plain data: what travels between processes. */
export interface HistogramData {
  readonly significantDigits: 2 | 3;
  readonly counts: Uint32Array;
  readonly maxMicros: number;
}

/** Bits of the range that is counted exactly, so that half of it holds the digits: 128 >= 10^2, 1024 >= 10^3. */
const LINEAR_BITS = { 2: 8, 3: 11 } as const;
const MAX_MICROS = 2 ** 31 - 1;

/**
 * Log-linear histogram of whole microseconds from 0 to 2^31 - 1 (35 minutes), the layout of HdrHistogram
 * (https://hdrhistogram.org): values below 2^b have a bucket each; above, every power of two has 2^(b-1) buckets, so a
 * bucket is narrower than 1/1024 (three digits, 90 kB) or 1/128 (two digits, 13 kB) of its values.
 */
export class LatencyHistogram {
  readonly significantDigits: 2 | 3;
  readonly #bits: number;
  readonly #counts: Uint32Array;
  #count = 0;
  #maxMicros = 0;

  constructor(significantDigits: 2 | 3 = 3) {
    this.significantDigits = significantDigits;
    this.#bits = LINEAR_BITS[significantDigits];
    this.#counts = new Uint32Array(bucketOf(MAX_MICROS, this.#bits) + 1);
  }

  /** Takes over the counts of `data`, which are copied. */
  static from(data: HistogramData): LatencyHistogram {
    const histogram = new LatencyHistogram(data.significantDigits);
    histogram.add(data);
    return histogram;
  }

  /** Values recorded. */
  get count(): number {
    return this.#count;
  }

  /** Largest value recorded, exact; 0 without any. */
  get maxMicros(): number {
    return this.#maxMicros;
  }

  /** Records one value; fractions are rounded, values outside the range go to its ends. */
  record(micros: number): void {
    const value = Math.min(MAX_MICROS, Math.max(0, Math.round(micros)));
    const bucket = bucketOf(value, this.#bits);
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1;
    this.#count += 1;
    if (value > this.#maxMicros) this.#maxMicros = value;
  }

  /** Adds the counts of another histogram of the same digits. */
  add({ significantDigits, counts, maxMicros }: HistogramData): void {
    assert(significantDigits === this.significantDigits, 'histograms differ in their digits');
    for (let bucket = 0; bucket < counts.length; bucket++) {
      const count = counts[bucket] as number;
      this.#counts[bucket] = (this.#counts[bucket] as number) + count;
      this.#count += count;
    }
    if (maxMicros > this.#maxMicros) this.#maxMicros = maxMicros;
  }

  /** Quantile by nearest rank, microseconds; undefined without values. See {@link atRank}. */
  quantile(probability: number): number | undefined {
    assert(probability > 0 && probability <= 1, `probability ${probability} is not in (0, 1]`);
    return this.atRank(Math.ceil(probability * this.#count));
  }

  /** The `rank`th smallest value (from 1) as the largest that its bucket holds; undefined where there is no such rank. */
  atRank(rank: number): number | undefined {
    if (rank < 1 || rank > this.#count) return undefined;
    let seen = 0;
    for (let bucket = 0; bucket < this.#counts.length; bucket++) {
      seen += this.#counts[bucket] as number;
      if (seen >= rank) return Math.min(this.#maxMicros, lastValueOf(bucket, this.#bits));
    }
    return this.#maxMicros;
  }

  /** Values in buckets that end at or below `micros`. */
  countUpTo(micros: number): number {
    let seen = 0;
    for (let bucket = 0; bucket < this.#counts.length; bucket++) {
      if (lastValueOf(bucket, this.#bits) > micros) break;
      seen += this.#counts[bucket] as number;
    }
    return seen;
  }

  /** Its plain data; the counts are the histogram's own. */
  toData(): HistogramData {
    return {
      significantDigits: this.significantDigits,
      counts: this.#counts,
      maxMicros: this.#maxMicros,
    };
  }
}

/** Values of exponent e (0 while exact) are shifted right by e, which leaves `bits` bits, the first of them set. */
function bucketOf(value: number, bits: number): number {
  const exponent = Math.max(0, 32 - Math.clz32(value) - bits);
  return (value >>> exponent) + exponent * 2 ** (bits - 1);
}

function lastValueOf(bucket: number, bits: number): number {
  const half = 2 ** (bits - 1);
  const exponent = Math.max(0, Math.floor(bucket / half) - 1);
  return (bucket - exponent * half + 1) * 2 ** exponent - 1;
}

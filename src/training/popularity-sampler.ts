import { must, type Random } from '../core/index.js';

/** Flattens popularity, so that rare items are drawn too (Mikolov et al. 2013). */
const EXPONENT = 0.75;

/** Draws item numbers with chances that grow with their popularity. */
export class PopularitySampler {
  /** Sums of the weights of items 1 to i. */
  readonly #cumulated: Float64Array;
  readonly #random: Random;

  /** @param counts how often each item number was taken; index 0 is padding and never drawn. */
  constructor(counts: Float32Array, random: Random) {
    let sum = 0;
    this.#cumulated = Float64Array.from(
      counts,
      (count, item) => (sum += item === 0 ? 0 : (count + 1) ** EXPONENT),
    );
    this.#random = random;
  }

  draw(): number {
    const at = this.#random.uniform() * must(this.#cumulated.at(-1), 'total');
    let low = 1;
    let high = this.#cumulated.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (must(this.#cumulated[middle], 'sum') > at) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** Chance that at least one of `draws` draws is the item. */
  chance(item: number, draws: number): number {
    const weight = must(this.#cumulated[item], 'sum') - must(this.#cumulated[item - 1], 'sum');
    return 1 - (1 - weight / must(this.#cumulated.at(-1), 'total')) ** draws;
  }
}

/** How often each item number occurs in the sequences, `[items + 1]`; index 0 is padding. */
export function itemCounts(
  sequences: readonly { readonly items: Int32Array }[],
  items: number,
): Float32Array {
  const counts = new Float32Array(items + 1);
  for (const sequence of sequences)
    for (const item of sequence.items) counts[item] = must(counts[item], 'count') + 1;
  return counts;
}

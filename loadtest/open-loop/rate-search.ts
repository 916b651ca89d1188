/** What a block of load is for. */
export type Purpose = 'bracket' | 'bisect' | 'confirm';

export interface Probe {
  readonly rate: number;
  readonly purpose: Purpose;
}

export interface SearchResult {
  /** The highest rate that held; absent where even the lowest did not, or no rate could be confirmed. */
  readonly rate?: number;
  /** It held at the highest rate that is tried, so the true one may be higher. */
  readonly isLimit: boolean;
}

const FACTOR = 2;
/** The bisection ends when the lowest rate that failed is at most this many times the highest that held. */
const PRECISION = 1.03;
const LOWEST_RATE = 1;
const HIGHEST_RATE = 50_000;
/** A search picks its luckiest probe: a rate that does not hold again is lowered, this often at most. */
const MAX_STEPS_DOWN = 8;

/**
 * The highest rate that holds: doubling or halving until one rate held and one did not, then geometric bisection to 3 %,
 * then `confirmations` blocks more at that rate, which must hold together; where they do not, the rate goes
 * down by 3 %, then 6 %, then 9 %, and so on.
 * `T` is what one block measured; `holds` judges blocks of the same rate together.
 */
export class RateSearch<T> {
  readonly #holds: (blocks: readonly T[]) => boolean;
  readonly #confirmations: number;
  #rate: number;
  #highestHeld: number | undefined;
  #lowestFailed: number | undefined;
  #confirming: T[] | undefined;
  #stepsDown = 0;
  #result: SearchResult | undefined;

  constructor(startRate: number, confirmations: number, holds: (blocks: readonly T[]) => boolean) {
    this.#rate = startRate;
    this.#confirmations = confirmations;
    this.#holds = holds;
  }

  /** Where it ended; undefined while it goes on. */
  get result(): SearchResult | undefined {
    return this.#result;
  }

  /** The next block to run. Only before there is a result. */
  next(): Probe {
    const isBracketed = this.#highestHeld !== undefined && this.#lowestFailed !== undefined;
    const search = isBracketed ? 'bisect' : 'bracket';
    return { rate: this.#rate, purpose: this.#confirming === undefined ? search : 'confirm' };
  }

  /** Takes what the block of {@link next} measured. */
  take(block: T): void {
    if (this.#confirming === undefined) this.#search(this.#holds([block]));
    else this.#confirm([...this.#confirming, block]);
  }

  #search(held: boolean): void {
    if (held) this.#highestHeld = this.#rate;
    else this.#lowestFailed = this.#rate;
    const [low, high] = [this.#highestHeld, this.#lowestFailed];
    if (low === undefined) this.#goTo(this.#rate / FACTOR);
    else if (high === undefined) this.#goTo(this.#rate * FACTOR);
    else if (high / low > PRECISION) this.#rate = Math.sqrt(low * high);
    else this.#startConfirming(low);
  }

  #goTo(rate: number): void {
    if (rate < LOWEST_RATE) this.#result = { isLimit: false };
    else if (rate > HIGHEST_RATE) this.#startConfirming(this.#rate);
    else this.#rate = rate;
  }

  #startConfirming(rate: number): void {
    this.#rate = rate;
    this.#confirming = [];
  }

  #confirm(blocks: T[]): void {
    this.#confirming = blocks;
    if (blocks.length < this.#confirmations) return;
    if (this.#holds(blocks)) this.#result = { rate: this.#rate, isLimit: this.#lowestFailed === undefined };
    else if (++this.#stepsDown > MAX_STEPS_DOWN) this.#result = { isLimit: false };
    else this.#startConfirming(this.#rate / PRECISION ** this.#stepsDown);
  }
}

import { editDistance } from './edit-distance-kernel.js';

/** A term of the index that an unknown word may have meant. */
export interface SimilarTerm {
  readonly term: number;
  readonly distance: number;
}

const ONE_EDIT_FROM = 4;
const TWO_EDITS_FROM = 8;

/**
 * Finds the terms within a few edits of a word: one edit (a letter more, less, other, or two neighbours exchanged) from
 * 4 letters on, two from 8. Words with a digit have no similar terms: another number is another thing.
 *
 * Candidates share enough letter pairs with the word: an edit destroys at most three of its n + 1 pairs (with a mark at
 * either end), so a term within d edits has at least n + 1 − 3 d of them (Ukkonen, "Approximate string-matching with
 * q-grams and maximal matches", 1992, with exchanges added).
 */
export class SimilarTerms {
  readonly #terms: readonly string[];
  readonly #termsOfPair = new Map<string, number[]>();
  readonly #shared: Uint8Array;

  constructor(terms: readonly string[]) {
    this.#terms = terms;
    this.#shared = new Uint8Array(terms.length);
    terms.forEach((term, index) => {
      if (!correctable(term)) return;
      for (const pair of new Set(letterPairs(term))) {
        const known = this.#termsOfPair.get(pair);
        if (known === undefined) this.#termsOfPair.set(pair, [index]);
        else known.push(index);
      }
    });
  }

  /** The terms at the smallest distance that there is one at, in term order. */
  nearest(word: string): readonly SimilarTerm[] {
    const within = editsAllowed(word);
    if (within === 0 || !correctable(word)) return [];
    const pairs = letterPairs(word);
    const found = this.#sharing(pairs, pairs.length - 3 * within).flatMap((term) => {
      const distance = editDistance(word, this.#terms[term] ?? '', within);
      return distance > within ? [] : [{ term, distance }];
    });
    const least = Math.min(...found.map(({ distance }) => distance));
    return found.filter(({ distance }) => distance === least).sort((a, b) => a.term - b.term);
  }

  #sharing(pairs: readonly string[], least: number): number[] {
    const candidates: number[] = [];
    const counted: number[] = [];
    for (const pair of pairs)
      for (const term of this.#termsOfPair.get(pair) ?? []) {
        const shared = (this.#shared[term] ?? 0) + 1;
        this.#shared[term] = shared;
        if (shared === 1) counted.push(term);
        if (shared === least) candidates.push(term);
      }
    for (const term of counted) this.#shared[term] = 0;
    return candidates;
  }
}

/** How many edits a word of this length may be away. */
export function editsAllowed(word: string): number {
  if (word.length < ONE_EDIT_FROM) return 0;
  return word.length < TWO_EDITS_FROM ? 1 : 2;
}

// Longer ones are no words; the counters of shared pairs hold 255.
const MAX_LETTERS = 64;

function correctable(term: string): boolean {
  return term.length <= MAX_LETTERS && !/\p{N}/u.test(term);
}

function letterPairs(term: string): string[] {
  const marked = `\u0002${term}\u0003`;
  return Array.from({ length: marked.length - 1 }, (_, at) => marked.slice(at, at + 2));
}

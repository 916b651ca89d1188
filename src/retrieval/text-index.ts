import { WhittleError } from '../core/index.js';
import { addPostings, postingScores } from './bm25-kernel.js';
import { SimilarTerms } from './similar-terms.js';
import { termOf, wordsOf } from './text-analysis.js';
import type { TextIndexData } from './text-index-data.js';
import { TopK } from './top-k-kernel.js';

/** Rows that match, best first; of equal scores the lower row first. As many as match, at most k. */
export interface TextSearchResult {
  readonly rows: Int32Array;
  /** BM25, above 0. */
  readonly scores: Float32Array;
}

/** Finds documents by their words. */
export interface TextIndex {
  /** Number of documents. */
  readonly size: number;
  /**
   * The best k documents that have a word of the query. A word counts once, in any order. A word that no document has
   * is replaced by the terms closest to it in spelling, at a discount; words that some document has never are.
   * @throws INPUT_INVALID where k is not a positive integer.
   */
  search(query: string, k: number): TextSearchResult;
}

// Bounds on the work for a query of many unknown words.
const CORRECTED_WORDS = 8;
const TERMS_FOR_A_WORD = 3;

/** Makes an index ready for searching. `data` must not change afterwards. */
export function openTextIndex(data: TextIndexData): TextIndex {
  const scores = postingScores(data);
  const termIds = new Map(data.terms.map((term, id) => [term, id]));
  const similar = new SimilarTerms(data.terms);
  const totals = new Float64Array(data.rows);
  return {
    size: data.rows,
    search: (query, k) => {
      if (!Number.isInteger(k) || k < 1)
        throw new WhittleError('INPUT_INVALID', `k must be a positive integer, not ${k}`, {
          field: 'k',
          value: k,
        });
      const weights = queryTerms(data, termIds, similar, query);
      const touched: number[] = [];
      for (const [term, weight] of weights) {
        const [start = 0, end = 0] = data.offsets.subarray(term, term + 2);
        addPostings(totals, touched, data.postingRows, scores, start, end, weight);
      }
      return take(totals, touched, k);
    },
  };
}

/** Term ids of a query with their weights, by ascending id, so that the order of words does not change a sum. */
function queryTerms(
  data: TextIndexData,
  termIds: ReadonlyMap<string, number>,
  similar: SimilarTerms,
  query: string,
): readonly (readonly [term: number, weight: number])[] {
  const weights = new Map<number, number>();
  const unknown = new Set<string>();
  for (const word of wordsOf(query)) {
    const term = termOf(word, data.options.language);
    if (term === undefined) continue;
    const id = termIds.get(term);
    if (id === undefined) unknown.add(term);
    else weights.set(id, 1);
  }
  // Sorted, so that which words are corrected does not hang on their order either.
  for (const word of [...unknown].sort().slice(0, CORRECTED_WORDS))
    for (const [id, weight] of corrections(data, similar, word))
      weights.set(id, Math.max(weight, weights.get(id) ?? 0));
  return [...weights].sort(([a], [b]) => a - b);
}

/** The commonest of the nearest terms, each with the share of the word that is as written. */
function corrections(
  data: TextIndexData,
  similar: SimilarTerms,
  word: string,
): readonly (readonly [term: number, weight: number])[] {
  const documents = (term: number): number => (data.offsets[term + 1] ?? 0) - (data.offsets[term] ?? 0);
  return [...similar.nearest(word)]
    .sort((a, b) => documents(b.term) - documents(a.term) || a.term - b.term)
    .slice(0, TERMS_FOR_A_WORD)
    .map(({ term, distance }) => [term, 1 - distance / word.length]);
}

/** The best k of the touched rows; their totals are set back to 0 for the next search. */
function take(totals: Float64Array, touched: readonly number[], k: number): TextSearchResult {
  const top = new TopK(k);
  for (const row of touched) {
    top.offer(row, totals[row] ?? 0);
    totals[row] = 0;
  }
  return top.drain();
}

import type { TextIndexData } from './text-index-data.js';

/**
 * What each posting adds to its row's score, `[postings]`: BM25 with field weights applied to the frequencies before
 * they saturate (Robertson, Zaragoza and Taylor, "Simple BM25 extension to multiple weighted fields", 2004):
 *
 *   idf · f (k1 + 1) / (f + k1 (1 − b + b · length / mean length)),  idf = ln(1 + (N − n + 0.5) / (n + 0.5))
 *
 * where f and length are sums over fields of weight × occurrences, N the number of rows and n those that have the term.
 */
export function postingScores(data: TextIndexData): Float32Array {
  const { offsets, postingRows, rows } = data;
  const { k1, b } = data.options;
  const weighted = weightedFrequencies(data);
  const norms = lengthNorms(postingRows, weighted, rows, k1, b);
  const scores = new Float32Array(postingRows.length);
  for (let term = 0; term + 1 < offsets.length; term++) {
    const start = offsets[term] as number;
    const end = offsets[term + 1] as number;
    const idf = Math.log(1 + (rows - (end - start) + 0.5) / (end - start + 0.5));
    for (let at = start; at < end; at++) {
      const frequency = weighted[at] as number;
      scores[at] = (idf * frequency * (k1 + 1)) / (frequency + (norms[postingRows[at] as number] as number));
    }
  }
  return scores;
}

/** Adds `weight` × the postings' scores to `totals` `[rows]`; rows that had nothing yet are appended to `touched`. */
export function addPostings(
  totals: Float64Array,
  touched: number[],
  postingRows: Uint32Array,
  scores: Float32Array,
  start: number,
  end: number,
  weight: number,
): void {
  for (let at = start; at < end; at++) {
    const row = postingRows[at] as number;
    const total = totals[row] as number;
    if (total === 0) touched.push(row);
    totals[row] = total + weight * (scores[at] as number);
  }
}

function weightedFrequencies(data: TextIndexData): Float64Array {
  const { frequencies, postingRows } = data;
  const weights = data.options.fields.map((field) => field.weight);
  const weighted = new Float64Array(postingRows.length);
  for (let at = 0; at < weighted.length; at++)
    for (let field = 0; field < weights.length; field++)
      weighted[at] =
        (weighted[at] as number) +
        (weights[field] as number) * (frequencies[at * weights.length + field] as number);
  return weighted;
}

/** k1 (1 − b + b · length / mean length) of every row. */
function lengthNorms(
  postingRows: Uint32Array,
  weighted: Float64Array,
  rows: number,
  k1: number,
  b: number,
): Float64Array {
  const lengths = new Float64Array(rows);
  let total = 0;
  for (let at = 0; at < postingRows.length; at++) {
    const row = postingRows[at] as number;
    lengths[row] = (lengths[row] as number) + (weighted[at] as number);
    total += weighted[at] as number;
  }
  return lengths.map((length) => k1 * (1 - b + (b * length * rows) / total));
}

import { must } from '../core/index.js';

/** Words of each item as a dense matrix, for the text side of the item tower. */
export interface BagOfWords {
  readonly words: readonly string[];
  /** float32 `[items + 1, words]`, rows of length 1; row 0 (padding) and items without known words are 0. */
  readonly matrix: Float32Array;
}

/** Lower-case runs of letters and digits, two characters or longer. */
function wordsOf(text: string): Set<string> {
  return new Set(
    text
      .toLowerCase()
      .normalize('NFKC')
      .match(/[\p{L}\p{N}]{2,}/gu),
  );
}

/** The `maxWords` words that most items have (at least two; ties in alphabetical order), and who has them. */
export function bagOfWords(texts: readonly string[], maxWords: number): BagOfWords {
  const counts = new Map<string, number>();
  const itemWords = texts.map(wordsOf);
  for (const words of itemWords) for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  const chosen = [...counts]
    .filter(([, count]) => count >= 2)
    .sort(([a, countA], [b, countB]) => countB - countA || (a < b ? -1 : 1))
    .slice(0, maxWords)
    .map(([word]) => word);
  const columns = new Map(chosen.map((word, column) => [word, column]));
  const matrix = new Float32Array((texts.length + 1) * chosen.length);
  itemWords.forEach((words, item) => {
    const known = [...words].map((word) => columns.get(word)).filter((column) => column !== undefined);
    for (const column of known) matrix[(item + 1) * chosen.length + column] = 1 / Math.sqrt(known.length);
  });
  return { words: chosen, matrix };
}

/** `[rows, inner]` times `[inner, columns]`; all zero where `inner` is 0. */
export function multiply(
  left: Float32Array,
  right: Float32Array,
  rows: number,
  columns: number,
): Float32Array {
  const inner = left.length / rows;
  const product = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let k = 0; k < inner; k++) {
      const value = must(left[row * inner + k], 'element');
      if (value === 0) continue;
      for (let column = 0; column < columns; column++) {
        const at = row * columns + column;
        product[at] = must(product[at], 'element') + value * must(right[k * columns + column], 'element');
      }
    }
  }
  return product;
}

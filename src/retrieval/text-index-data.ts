import { WhittleError } from '../core/index.js';
import { termOf, wordsOf } from './text-analysis.js';
import type { TextLanguage } from './text-analysis.js';

/** A text column; a word in a field of weight 3 counts as three. */
export interface TextField {
  readonly name: string;
  readonly weight: number;
}

export interface TextIndexOptions {
  /** Columns in the order in which a document gives its texts. */
  readonly fields: readonly TextField[];
  readonly language: TextLanguage;
  /** How soon more occurrences of a word stop to count; default 1.2. */
  readonly k1?: number;
  /** How much longer documents are discounted, 0 to 1; default 0.75. */
  readonly b?: number;
}

/** An inverted index as plain data: what is in its file, and all that a search needs. */
export interface TextIndexData {
  readonly options: Required<TextIndexOptions>;
  /** Number of documents; a document's row is its place among them. */
  readonly rows: number;
  /** Sorted by UTF-16 code units, each once. */
  readonly terms: readonly string[];
  /** `[terms + 1]`: postings of term t are at `offsets[t]` to `offsets[t + 1]`. */
  readonly offsets: Uint32Array;
  /** `[postings]`: rows that have the term, ascending. */
  readonly postingRows: Uint32Array;
  /** `[postings, fields]`: how often the term stands in each field. */
  readonly frequencies: Uint32Array;
}

/** Postings of one term while they are collected: row and one number a field, again and again. */
type Collected = number[];

/**
 * Indexes documents, each a text for every field, in row order. The same documents and options give the same data.
 * @throws INPUT_INVALID for options out of range or a document with another number of texts.
 */
export function buildTextIndex(
  documents: Iterable<readonly string[]>,
  options: TextIndexOptions,
): TextIndexData {
  const complete = completeOptions(options);
  const collected = new Map<string, Collected>();
  const termOfWord = rememberTerms(complete.language);
  let rows = 0;
  for (const texts of documents) {
    if (texts.length !== complete.fields.length)
      throw invalid(`documents[${rows}]`, texts.length, `${complete.fields.length} texts, one a field`);
    texts.forEach((text, field) => {
      for (const word of wordsOf(text)) {
        const term = termOfWord(word);
        if (term !== undefined) count(collected, term, rows, field, texts.length);
      }
    });
    rows += 1;
  }
  return { options: complete, rows, ...flatten(collected, complete.fields.length) };
}

/** @throws INPUT_INVALID naming the option that is out of range. */
export function completeOptions(options: TextIndexOptions): Required<TextIndexOptions> {
  const { fields, language, k1 = 1.2, b = 0.75 } = options;
  if (fields.length === 0) throw invalid('fields', 0, 'one or more');
  for (const field of fields)
    if (!(field.weight > 0 && Number.isFinite(field.weight)))
      throw invalid(`fields.${field.name}.weight`, field.weight, 'a positive number');
  if (!(k1 >= 0 && Number.isFinite(k1))) throw invalid('k1', k1, '0 or more');
  if (!(b >= 0 && b <= 1)) throw invalid('b', b, '0 to 1');
  return { fields: fields.map(({ name, weight }) => ({ name, weight })), language, k1, b };
}

function invalid(field: string, value: number, allowed: string): WhittleError {
  return new WhittleError('INPUT_INVALID', `${field} of the text index is ${value}; it must be ${allowed}`, {
    field,
    value,
    allowed,
  });
}

/** A vocabulary is small beside the words of all documents: each is stemmed once. */
function rememberTerms(language: TextLanguage): (word: string) => string | undefined {
  const known = new Map<string, string | undefined>();
  return (word) => {
    if (known.has(word)) return known.get(word);
    const term = termOf(word, language);
    known.set(word, term);
    return term;
  };
}

function count(
  collected: Map<string, Collected>,
  term: string,
  row: number,
  field: number,
  fields: number,
): void {
  let postings = collected.get(term);
  if (postings === undefined) collected.set(term, (postings = []));
  let last = postings.length - fields - 1;
  if (postings[last] !== row) {
    last = postings.length;
    postings.push(row, ...new Array<number>(fields).fill(0));
  }
  const at = last + 1 + field;
  postings[at] = (postings[at] ?? 0) + 1;
}

function flatten(
  collected: ReadonlyMap<string, Collected>,
  fields: number,
): Pick<TextIndexData, 'terms' | 'offsets' | 'postingRows' | 'frequencies'> {
  const terms = [...collected.keys()].sort();
  const offsets = new Uint32Array(terms.length + 1);
  terms.forEach((term, index) => {
    offsets[index + 1] = (offsets[index] ?? 0) + (collected.get(term)?.length ?? 0) / (fields + 1);
  });
  const postings = offsets[terms.length] ?? 0;
  const postingRows = new Uint32Array(postings);
  const frequencies = new Uint32Array(postings * fields);
  let posting = 0;
  for (const term of terms) {
    const values = collected.get(term) ?? [];
    for (let at = 0; at < values.length; at += fields + 1, posting++) {
      postingRows[posting] = values[at] ?? 0;
      frequencies.set(values.slice(at + 1, at + 1 + fields), posting * fields);
    }
  }
  return { terms, offsets, postingRows, frequencies };
}

import { stem } from './porter-stemmer.js';

/** `english` leaves out stop words and stems with Porter's algorithm; `none` keeps each word as it is. */
export type TextLanguage = 'english' | 'none';

// The usual function words of English; a query of nothing else finds nothing.
const STOP_WORDS: ReadonlySet<string> = new Set(
  (
    'a about above after again all am an and any are as at be because been before being below between both but by can ' +
    'did do does doing down during each few for from further had has have having he her here him his how i if in into ' +
    'is it its just me more most my no nor not now of off on once only or other our out over own same she should so ' +
    'some such than that the their them then there these they this those through to too under until up very was we ' +
    'were what when where which while who whom why will with you your'
  ).split(' '),
);

/**
 * The words of a text, in order: runs of letters, marks and digits after compatibility normalisation (NFKC), in lower
 * case, without accents (combining diacritical marks) and apostrophes.
 */
export function wordsOf(text: string): readonly string[] {
  const folded = text
    .normalize('NFKD')
    .replace(/[\u0300-\u036f'\u2019]/gu, '')
    .normalize('NFKC')
    .toLowerCase();
  return folded.match(/[\p{L}\p{M}\p{N}]+/gu) ?? [];
}

/** The index term of a word, undefined for a stop word. */
export function termOf(word: string, language: TextLanguage): string | undefined {
  if (language === 'none') return word;
  return STOP_WORDS.has(word) ? undefined : stem(word);
}

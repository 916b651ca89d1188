/**
 * The suffix-stripping algorithm for English of M. F. Porter, "An algorithm for suffix stripping", Program 14(3), 1980,
 * step by step as in the paper. Words with anything but a–z are left as they are.
 */
type Rule = readonly [suffix: string, replacement: string];

// Longer suffixes stand before those that they end with: the longest one decides, even where its condition fails.
const STEP_2: readonly Rule[] = [
  ['ational', 'ate'],
  ['tional', 'tion'],
  ['enci', 'ence'],
  ['anci', 'ance'],
  ['izer', 'ize'],
  ['abli', 'able'],
  ['alli', 'al'],
  ['entli', 'ent'],
  ['ousli', 'ous'],
  ['eli', 'e'],
  ['ization', 'ize'],
  ['ation', 'ate'],
  ['ator', 'ate'],
  ['alism', 'al'],
  ['iveness', 'ive'],
  ['fulness', 'ful'],
  ['ousness', 'ous'],
  ['aliti', 'al'],
  ['iviti', 'ive'],
  ['biliti', 'ble'],
];
const STEP_3: readonly Rule[] = [
  ['icate', 'ic'],
  ['ative', ''],
  ['alize', 'al'],
  ['iciti', 'ic'],
  ['ical', 'ic'],
  ['ful', ''],
  ['ness', ''],
];
const STEP_4: readonly Rule[] =
  'al ance ence er ic able ible ant ement ment ent ion ou ism ate iti ous ive ize'
    .split(' ')
    .map((suffix) => [suffix, '']);

/** The stem of a lower-case word. */
export function stem(word: string): string {
  if (word.length <= 2 || !/^[a-z]+$/.test(word)) return word;
  let stemmed = pastAndGerund(plural(word));
  if (stemmed.endsWith('y') && hasVowel(stemmed.slice(0, -1))) stemmed = `${stemmed.slice(0, -1)}i`;
  stemmed = replaceSuffix(stemmed, STEP_2, 0);
  stemmed = replaceSuffix(stemmed, STEP_3, 0);
  stemmed = replaceSuffix(stemmed, STEP_4, 1);
  return finalLetters(stemmed);
}

/** Step 1a. */
function plural(word: string): string {
  if (word.endsWith('sses') || word.endsWith('ies')) return word.slice(0, -2);
  return word.endsWith('s') && !word.endsWith('ss') ? word.slice(0, -1) : word;
}

/** Step 1b. */
function pastAndGerund(word: string): string {
  if (word.endsWith('eed')) return measure(word.slice(0, -3)) > 0 ? word.slice(0, -1) : word;
  const ending = /(?:ed|ing)$/.exec(word)?.[0];
  if (ending === undefined) return word;
  const rest = word.slice(0, -ending.length);
  if (!hasVowel(rest)) return word;
  if (/(?:at|bl|iz)$/.test(rest)) return `${rest}e`;
  if (endsInDoubleConsonant(rest)) return /[lsz]$/.test(rest) ? rest : rest.slice(0, -1);
  return measure(rest) === 1 && endsInShortSyllable(rest) ? `${rest}e` : rest;
}

/** Steps 2 to 4: the first rule that matches decides; it applies where what stands before measures more than `above`. */
function replaceSuffix(word: string, rules: readonly Rule[], above: number): string {
  const rule = rules.find(([suffix]) => word.endsWith(suffix) && (suffix !== 'ion' || /[st]ion$/.test(word)));
  if (rule === undefined) return word;
  const [suffix, replacement] = rule;
  const rest = word.slice(0, word.length - suffix.length);
  return measure(rest) > above ? rest + replacement : word;
}

/** Step 5. */
function finalLetters(word: string): string {
  let result = word;
  if (result.endsWith('e')) {
    const rest = result.slice(0, -1);
    const size = measure(rest);
    if (size > 1 || (size === 1 && !endsInShortSyllable(rest))) result = rest;
  }
  return result.endsWith('ll') && measure(result) > 1 ? result.slice(0, -1) : result;
}

/** The word as c and v; y is a vowel after a consonant. */
function letterKinds(word: string): string {
  let kinds = '';
  for (const letter of word) {
    const vowel = 'aeiou'.includes(letter) || (letter === 'y' && kinds.endsWith('c'));
    kinds += vowel ? 'v' : 'c';
  }
  return kinds;
}

/** The paper's m: how often a consonant follows a vowel. */
function measure(word: string): number {
  return letterKinds(word).match(/vc/g)?.length ?? 0;
}

function hasVowel(word: string): boolean {
  return letterKinds(word).includes('v');
}

function endsInDoubleConsonant(word: string): boolean {
  return word.at(-1) === word.at(-2) && letterKinds(word).endsWith('c');
}

/** The paper's *o: consonant, vowel, consonant that is not w, x or y. */
function endsInShortSyllable(word: string): boolean {
  return letterKinds(word).endsWith('cvc') && !/[wxy]$/.test(word);
}

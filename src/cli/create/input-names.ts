/** What the name of a model's input says of it. Exporters have no rule, but people use few words. */

const ITEM = new Set(['doc', 'document', 'item', 'candidate', 'cand', 'passage', 'product', 'target', 'b']);
const QUERY = new Set(['query', 'user', 'question', 'anchor', 'q', 'a']);
const HISTORY = new Set(['history', 'hist', 'sequence', 'seq', 'clicks', 'recent']);
const CANDIDATE = new Set(['candidate', 'cand', 'item', 'product', 'doc', 'document', 'target']);
const RETRIEVAL = new Set(['retrieval', 'bm25', 'score']);

/** Which side of a comparison an input is. Undefined where its name has words of both sides or of neither. */
export function sideOf(name: string): 'item' | 'query' | undefined {
  const item = has(name, ITEM);
  const query = has(name, QUERY);
  if (item === query) return undefined;
  return item ? 'item' : 'query';
}

/** Whether the name is that of the items a user had. */
export function namesHistory(name: string): boolean {
  return has(name, HISTORY);
}

/** Whether the name is that of the item to be scored. */
export function namesCandidate(name: string): boolean {
  return has(name, CANDIDATE) && !namesHistory(name);
}

/** Whether the name is that of the score which retrieval gave. */
export function namesRetrieval(name: string): boolean {
  return has(name, RETRIEVAL);
}

/** Whether the name is that of the request a row belongs to. */
export function namesRequestIndex(name: string): boolean {
  return ['requestindex', 'requestidx', 'requestrow'].includes(plainName(name));
}

/** Whether an output's name is that of a score. */
export function namesScore(name: string): boolean {
  return /score|logit|prob|relevance|similarity|ctr|rank/i.test(name);
}

/** The name without what exporters and tables write differently: case and separators. */
export function plainName(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9]/g, '');
}

function has(name: string, words: ReadonlySet<string>): boolean {
  return wordsOf(name).some((word) => words.has(word));
}

/** `docEmbedding_2` → doc, embedding; a number at a word's end only counts inputs of a kind. */
function wordsOf(name: string): string[] {
  return name
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .map((word) => (word === 'bm25' ? word : word.replace(/\d+$/, '')))
    .filter((word) => word !== '');
}

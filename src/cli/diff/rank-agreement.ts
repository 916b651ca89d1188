import type { BothOutputs } from '../../compression/index.js';
import { must, type Tensor } from '../../core/index.js';
import { kendallTau, overlapAtK, topK } from '../../evaluation/index.js';

const K = 10;
/** Kendall's tau takes time with the square of a list's length. */
const MAX_SCORES = 2000;

/** How much two models' scores agree in order, in the mean over lists of scores. */
export interface RankAgreement {
  /** What one list ranks: the rows of a feed (one score each), or the columns of a row. */
  readonly ranked: 'rows' | 'columns';
  readonly lists: number;
  /** Share of the ten best that both have. */
  readonly overlapAt10: number;
  /** Kendall's τ-b; null where no list has two different scores in both. */
  readonly kendallTau: number | null;
}

/** Agreement of each output that holds lists of two or more finite scores: `[rows]`, `[rows, 1]` or `[…, columns]`. */
export function rankAgreement({ a, b }: BothOutputs): Readonly<Record<string, RankAgreement>> {
  const names = Object.keys(a[0] ?? {});
  const found = names.map((name) => [name, agreementOf(name, { a, b })] as const);
  return Object.fromEntries(
    found.filter((entry): entry is [string, RankAgreement] => entry[1] !== undefined),
  );
}

function agreementOf(name: string, { a, b }: BothOutputs): RankAgreement | undefined {
  const pairs = a.flatMap((outputs, feed) => {
    const first = listsOf(must(outputs[name], name));
    const second = listsOf(must(b[feed]?.[name], name));
    return first.map((list, index) => [list, must(second[index], 'list')] as const);
  });
  const usable = pairs.filter(([first, second]) => first.length > 1 && isFinite(first) && isFinite(second));
  if (usable.length === 0) return undefined;
  const overlaps = usable.map(([first, second]) => overlapAtK(topK(first, K), topK(second, K), K));
  const ranked = usable.filter((pair) => pair.every((list) => new Set(list).size > 1));
  const taus = ranked.map(([first, second]) =>
    kendallTau(first.subarray(0, MAX_SCORES), second.subarray(0, MAX_SCORES)),
  );
  return {
    ranked: columnsOf(must(a[0]?.[name], name)) > 1 ? 'columns' : 'rows',
    lists: usable.length,
    overlapAt10: mean(overlaps),
    kendallTau: taus.length === 0 ? null : mean(taus),
  };
}

function columnsOf({ dims }: Tensor): number {
  return dims.length < 2 ? 1 : (dims.at(-1) ?? 1);
}

/** The scores that are compared with each other. */
function listsOf(tensor: Tensor): Float32Array[] {
  if (!(tensor.data instanceof Float32Array)) return [];
  const { data } = tensor;
  const columns = columnsOf(tensor);
  if (columns <= 1) return [data];
  return Array.from({ length: data.length / columns }, (_, row) =>
    data.subarray(row * columns, (row + 1) * columns),
  );
}

function isFinite(list: Float32Array): boolean {
  return list.every(Number.isFinite);
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

import { WhittleError } from '../core/index.js';
import type { Dataset } from './dataset.js';

/** Per user (index into `Dataset.users`), what happened in which order, oldest first. The arrays of a user align. */
export interface Sequences {
  /** Item indexes. */
  readonly items: readonly Int32Array[];
  /** Unix seconds. */
  readonly timesSeconds: readonly Float64Array[];
  /** Basket numbers, where the data set has them. */
  readonly baskets?: readonly Int32Array[];
}

/** A past to learn from and a future to be judged by. */
export interface Split {
  /** For each user a beginning of the user's sequence. */
  readonly train: Sequences;
  /**
   * Per user the held-out item indexes, each once and none of them in the user's `train`; empty for a user who is
   * not judged.
   */
  readonly targets: readonly Int32Array[];
}

/** The sequences of a data set, with every interaction. */
export function sequencesOf(dataset: Dataset): Sequences {
  const { user, item, timeSeconds, basket } = dataset.interactions;
  const starts = new Int32Array(dataset.users.length + 1);
  for (const owner of user) starts[owner + 1] = (starts[owner + 1] ?? 0) + 1;
  for (let index = 1; index < starts.length; index++)
    starts[index] = (starts[index] ?? 0) + (starts[index - 1] ?? 0);
  const perUser = <T extends Int32Array | Float64Array>(column: T): T[] =>
    dataset.users.map((_, index) => column.slice(starts[index], starts[index + 1]) as T);
  return {
    items: perUser(item),
    timesSeconds: perUser(timeSeconds),
    ...(basket && { baskets: perUser(basket) }),
  };
}

/** The same sequences with each item of a user only at its first interaction. */
export function firstInteractions(sequences: Sequences): Sequences {
  const firsts = sequences.items.map((items) => {
    const seen = new Set<number>();
    return items.map((item) => (seen.size < seen.add(item).size ? 1 : 0));
  });
  const pick = <T extends Int32Array | Float64Array>(columns: readonly T[]): T[] =>
    columns.map((column, user) => column.filter((_, position) => firsts[user]?.[position] === 1) as T);
  return {
    items: pick(sequences.items),
    timesSeconds: pick(sequences.timesSeconds),
    ...(sequences.baskets && { baskets: pick(sequences.baskets) }),
  };
}

/**
 * Holds out each user's last item; expects {@link firstInteractions}, since an item that comes again is no target.
 * A user with fewer than `minLength` items keeps them and is not judged. Applied to `split.train` it gives the
 * validation split. Do not judge data with baskets by it: lines of one basket share a time and stand in an order that
 * a next-item model learns.
 */
export function holdOutLastItem(sequences: Sequences, minLength = 3): Split {
  return cutSequences(sequences, (items) => (items.length < minLength ? items.length : items.length - 1));
}

/**
 * Holds out each user's last basket: its items that are new to the user are the targets. A user without an earlier
 * basket, or whose last basket has nothing new, keeps everything and is not judged. Applied to `split.train` it gives
 * the validation split.
 * @throws DATASET_INVALID where the data has no baskets.
 */
export function holdOutLastBasket(sequences: Sequences): Split {
  const { baskets } = sequences;
  if (baskets === undefined)
    throw new WhittleError('DATASET_INVALID', 'The data set has no baskets; hold out the last item instead');
  return cutSequences(sequences, (_, user) => lastRunStart(baskets[user] ?? new Int32Array()));
}

/**
 * Holds out everything from `cutSeconds` (Unix) on, for all users at once; an item the user had before is no target.
 * A user without anything before the cut is not judged.
 */
export function holdOutAfter(sequences: Sequences, cutSeconds: number): Split {
  const cutOf = (items: Int32Array, user: number): number => {
    const cut = sequences.timesSeconds[user]?.findIndex((time) => time >= cutSeconds) ?? -1;
    return cut < 0 ? items.length : cut;
  };
  return cutSequences(sequences, cutOf, { always: true });
}

/** Where the run of equal values at the end starts. */
function lastRunStart(values: Int32Array): number {
  let start = Math.max(values.length - 1, 0);
  while (start > 0 && values[start - 1] === values[start]) start--;
  return start;
}

/**
 * Cuts each sequence at `cutOf` (number of interactions kept). Where that leaves nothing on one side or no new item
 * behind the cut, the user is not judged; such a user keeps everything unless the cut is `always` made.
 */
function cutSequences(
  sequences: Sequences,
  cutOf: (items: Int32Array, user: number) => number,
  { always = false } = {},
): Split {
  const cuts: number[] = [];
  const targets = sequences.items.map((items, user) => {
    const cut = cutOf(items, user);
    const news = cut === 0 ? new Int32Array() : newItems(items, cut);
    cuts.push(always || news.length > 0 ? cut : items.length);
    return news;
  });
  const begin = <T extends Int32Array | Float64Array>(columns: readonly T[]): T[] =>
    columns.map((column, user) => column.subarray(0, cuts[user]) as T);
  const train = {
    items: begin(sequences.items),
    timesSeconds: begin(sequences.timesSeconds),
    ...(sequences.baskets && { baskets: begin(sequences.baskets) }),
  };
  return { train, targets };
}

/** The distinct items from `cut` on that do not occur before it, in order. */
function newItems(items: Int32Array, cut: number): Int32Array {
  const before = new Set(items.subarray(0, cut));
  return Int32Array.from(new Set(items.subarray(cut).filter((item) => !before.has(item))));
}

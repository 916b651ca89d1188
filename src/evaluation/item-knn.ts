import { interactionMatrix, transpose, type InteractionMatrix } from './interaction-matrix.js';
import type { Scorer } from './scorer.js';
import { addSparse, countInto } from './sparse-kernel.js';

export interface ItemKnnOptions {
  /** An item counts `decay` times as much as the next later one of the history; default 1, all count the same. */
  readonly decay?: number;
}

/**
 * Item-based nearest neighbours with all items as neighbours: an item's score is the sum over the history of
 * decay^age · |U_i ∩ U_j| / √(|U_i|·|U_j|), where U_i are the users with item i in `histories` (once each) and age is
 * 0 for the most recent item. Similarities are kept sparse, 8 bytes for each pair of items with a user in common.
 */
export function itemKnnScorer(
  histories: readonly Int32Array[],
  items: number,
  { decay = 1 }: ItemKnnOptions = {},
): Scorer {
  const { starts, neighbours, similarities } = cosineSimilarities(interactionMatrix(histories, items));
  return {
    score(history, out) {
      out.fill(0);
      history.forEach((item, position) => {
        const factor = decay ** (history.length - 1 - position);
        addSparse(out, neighbours, similarities, starts[item] ?? 0, starts[item + 1] ?? 0, factor);
      });
    },
  };
}

interface Similarities {
  /** Where each item's neighbours start. */
  readonly starts: Float64Array;
  readonly neighbours: Int32Array;
  readonly similarities: Float32Array;
}

function cosineSimilarities(users: InteractionMatrix): Similarities {
  const items = transpose(users);
  const degree = (item: number): number => (items.starts[item + 1] ?? 0) - (items.starts[item] ?? 0);
  const counter = { counts: new Int32Array(items.rows), found: new Int32Array(items.rows) };
  const starts = new Float64Array(items.rows + 1);
  for (let item = 0; item < items.rows; item++) {
    starts[item + 1] = (starts[item] ?? 0) + countShared(users, items, item, counter);
    clear(counter, (starts[item + 1] ?? 0) - (starts[item] ?? 0));
  }
  const neighbours = new Int32Array(starts[items.rows] ?? 0);
  const similarities = new Float32Array(neighbours.length);
  for (let item = 0; item < items.rows; item++) {
    const size = countShared(users, items, item, counter);
    const found = counter.found.subarray(0, size);
    neighbours.set(found, starts[item]);
    similarities.set(
      Float32Array.from(
        found,
        (other) => (counter.counts[other] ?? 0) / Math.sqrt(degree(item) * degree(other)),
      ),
      starts[item],
    );
    clear(counter, size);
  }
  return { starts, neighbours, similarities };
}

/** Counts by item, and the items whose count is not 0. */
interface Counter {
  readonly counts: Int32Array;
  readonly found: Int32Array;
}

/** Counts the users that each item has in common with `item`, itself left out; returns how many items were found. */
function countShared(
  users: InteractionMatrix,
  items: InteractionMatrix,
  item: number,
  { counts, found }: Counter,
): number {
  let size = 0;
  const end = items.starts[item + 1] ?? 0;
  for (let at = items.starts[item] ?? 0; at < end; at++) {
    const user = items.columns[at] ?? 0;
    size = countInto(
      counts,
      found,
      size,
      users.columns,
      users.starts[user] ?? 0,
      users.starts[user + 1] ?? 0,
    );
  }
  return dropItem(item, counts, found, size);
}

function dropItem(item: number, counts: Int32Array, found: Int32Array, size: number): number {
  const place = found.subarray(0, size).indexOf(item);
  if (place < 0) return size;
  counts[item] = 0;
  found[place] = found[size - 1] ?? 0;
  return size - 1;
}

function clear({ counts, found }: Counter, size: number): void {
  for (let index = 0; index < size; index++) counts[found[index] ?? 0] = 0;
}

/**
 * The indexes of the `k` largest scores, best first, without those marked in `excluded` (1 a score). Equal scores: the
 * lower index first. A score that is NaN is never taken. Shorter than `k` where fewer are left.
 */
export function topK(scores: Float32Array, k: number, excluded?: Uint8Array): Int32Array {
  // A heap whose root is the worst of the kept; an index loses a tie to a lower one.
  const heap = new Int32Array(k);
  let size = 0;
  const at = (index: number): number => scores[index] ?? 0;
  const worse = (a: number, b: number): boolean => at(a) < at(b) || (at(a) === at(b) && a > b);
  for (let index = 0; index < scores.length; index++) {
    const score = at(index);
    if (excluded?.[index] === 1 || Number.isNaN(score)) continue;
    if (size < k) siftUp(heap, size++, index, worse);
    // Indexes only grow, so that a tie with the worst one kept is lost.
    else if (k > 0 && score > at(heap[0] ?? 0)) siftDown(heap, size, index, worse);
  }
  return heap.subarray(0, size).sort((a, b) => at(b) - at(a) || a - b);
}

type Worse = (a: number, b: number) => boolean;

function siftUp(heap: Int32Array, position: number, index: number, worse: Worse): void {
  let place = position;
  while (place > 0) {
    const parent = (place - 1) >> 1;
    const held = heap[parent] ?? 0;
    if (!worse(index, held)) break;
    heap[place] = held;
    place = parent;
  }
  heap[place] = index;
}

/** Replaces the root by `index`. */
function siftDown(heap: Int32Array, size: number, index: number, worse: Worse): void {
  let place = 0;
  for (;;) {
    let child = 2 * place + 1;
    if (child >= size) break;
    if (child + 1 < size && worse(heap[child + 1] ?? 0, heap[child] ?? 0)) child++;
    if (!worse(heap[child] ?? 0, index)) break;
    heap[place] = heap[child] ?? 0;
    place = child;
  }
  heap[place] = index;
}

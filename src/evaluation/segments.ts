/** Part of the judged cases. An average hides what happens to the small ones. */
export interface Segment {
  /** `head`, `middle`, `tail` items; users with `short`, `long` histories. */
  readonly name: string;
  /** For people: where its bounds are. */
  readonly bounds: string;
  /** Per user the held-out items that count here; empty where none do. */
  readonly targets: readonly ArrayLike<number>[];
}

const ITEM_SEGMENTS = ['head', 'middle', 'tail'] as const;

/**
 * Splits held-out items by popularity and users by history. Items are sorted by how often they were interacted with
 * before; the head's hold the first third of all interactions, the tail's the last (and all that were never seen), so
 * that each third of what people do counts in one segment. A history is short up to the median of judged users.
 *
 * @param histories per user the items interacted with before what is held out.
 * @param targets per user the held-out items.
 * @param items number of items.
 */
export function segmentCases(
  histories: readonly ArrayLike<number>[],
  targets: readonly ArrayLike<number>[],
  items: number,
): Segment[] {
  return [...itemSegments(histories, targets, items), ...userSegments(histories, targets)];
}

function itemSegments(
  histories: readonly ArrayLike<number>[],
  targets: readonly ArrayLike<number>[],
  items: number,
): Segment[] {
  const counts = interactionCounts(histories, items);
  const segmentOf = popularityThirds(counts);
  return ITEM_SEGMENTS.map((name, index) => {
    const members = Array.from(counts.keys()).filter((item) => segmentOf[item] === index);
    const most = Math.max(0, ...members.map((item) => counts[item] ?? 0));
    return {
      name,
      bounds: `${members.length} items with at most ${most} interactions`,
      targets: targets.map((held) => Array.from(held).filter((item) => segmentOf[item] === index)),
    };
  });
}

function interactionCounts(histories: readonly ArrayLike<number>[], items: number): Float64Array {
  const counts = new Float64Array(items);
  for (const history of histories)
    for (const item of Array.from(history)) counts[item] = (counts[item] ?? 0) + 1;
  return counts;
}

/** 0, 1 or 2 for each item; of equally popular items the lower index comes first. */
function popularityThirds(counts: Float64Array): Uint8Array {
  const order = Array.from(counts.keys()).sort((a, b) => (counts[b] ?? 0) - (counts[a] ?? 0) || a - b);
  const total = counts.reduce((sum, count) => sum + count, 0);
  const thirds = new Uint8Array(counts.length);
  let before = 0;
  for (const item of order) {
    thirds[item] = total === 0 ? 2 : Math.min(2, Math.floor((3 * before) / total));
    before += counts[item] ?? 0;
  }
  return thirds;
}

function userSegments(
  histories: readonly ArrayLike<number>[],
  targets: readonly ArrayLike<number>[],
): Segment[] {
  const lengths = histories.filter((_, user) => (targets[user]?.length ?? 0) > 0).map(({ length }) => length);
  const median = lengths.sort((a, b) => a - b)[Math.floor((lengths.length - 1) / 2)] ?? 0;
  const where = (holds: (length: number) => boolean): readonly ArrayLike<number>[] =>
    targets.map((held, user) => (holds(histories[user]?.length ?? 0) ? held : []));
  return [
    {
      name: 'short',
      bounds: `histories up to ${median} items`,
      targets: where((length) => length <= median),
    },
    { name: 'long', bounds: `histories above ${median} items`, targets: where((length) => length > median) },
  ];
}

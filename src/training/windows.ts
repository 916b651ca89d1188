import { must, type Random } from '../core/index.js';

/** What one user did, oldest first. */
export interface UserSequence {
  /** Item numbers from 1. */
  readonly items: Int32Array;
  /** Unix seconds. */
  readonly timesSeconds: ArrayLike<number>;
  /** Number of the visit (basket) each item belongs to; absent where each item is a visit of its own. */
  readonly visits?: ArrayLike<number>;
}

/** A stretch of one user's sequence with what is to be predicted along it. */
export interface TrainingWindow {
  /** Item numbers from 1, at most maxLength − 1, oldest first. */
  readonly items: readonly number[];
  readonly targets: readonly WindowTarget[];
}

export interface WindowTarget {
  /** How many of the window's items have been seen; 0 for a user's first visit. */
  readonly seen: number;
  /** Item number to predict. */
  readonly item: number;
  /** Unix seconds of what is to be predicted. */
  readonly timeSeconds: number;
}

/** A visit as a range `[start, end)` of a sequence. */
interface Visit {
  readonly start: number;
  readonly end: number;
}

/**
 * Cuts sequences into windows, anew each epoch: every item is a target once, predicted from the visit before it: from
 * its end half of the time, else from a random place inside it, as if the rest was not known yet. Items of one visit
 * have no order worth learning (the order of an invoice's lines leaks), so they are shuffled.
 */
export function* epochWindows(
  sequences: readonly UserSequence[],
  maxLength: number,
  random: Random,
): Generator<TrainingWindow> {
  for (const sequence of sequences) yield* userWindows(sequence, maxLength, random);
}

/** A sequence with its visits shuffled, and what is to be predicted along the whole of it. */
export function sequenceTargets(
  sequence: UserSequence,
  random: Random,
): { items: Int32Array; targets: WindowTarget[] } {
  const visits = visitsOf(sequence);
  const items = shuffledVisits(sequence.items, visits, random);
  const targets = visits.flatMap((visit, index) =>
    visitTargets(items, sequence, visit, visits[index - 1], random),
  );
  return { items, targets };
}

function* userWindows(sequence: UserSequence, maxLength: number, random: Random): Generator<TrainingWindow> {
  const { items, targets } = sequenceTargets(sequence, random);
  // Windows end at random places, so that each target sees a history of any length now and then.
  const length = maxLength - 1;
  let end = items.length - random.integer(Math.min(length, items.length));
  if (end < items.length)
    yield windowOf(items, targets, Math.max(0, items.length - length), items.length, end);
  for (; end > 0; end -= length) {
    const start = Math.max(0, end - length);
    yield windowOf(items, targets, start, end, start === 0 ? -1 : start);
  }
}

function visitsOf({ items, visits }: UserSequence): Visit[] {
  if (visits === undefined) return Array.from(items, (_, start) => ({ start, end: start + 1 }));
  const found: Visit[] = [];
  for (let start = 0, end = 1; start < items.length; start = end, end++) {
    while (end < items.length && visits[end] === visits[start]) end++;
    found.push({ start, end });
  }
  return found;
}

function shuffledVisits(items: Int32Array, visits: readonly Visit[], random: Random): Int32Array {
  const shuffled = items.slice();
  for (const { start, end } of visits) {
    for (let place = end - 1; place > start; place--) {
      const other = start + random.integer(place - start + 1);
      const held = must(shuffled[place], 'item');
      shuffled[place] = must(shuffled[other], 'item');
      shuffled[other] = held;
    }
  }
  return shuffled;
}

/** `seen` counts from the sequence's start here. */
function visitTargets(
  items: Int32Array,
  { timesSeconds }: UserSequence,
  { start, end }: Visit,
  before: Visit | undefined,
  random: Random,
): WindowTarget[] {
  const targets: WindowTarget[] = [];
  for (let place = start; place < end; place++) {
    const inside = before === undefined ? 0 : before.start + 1 + random.integer(before.end - before.start);
    const seen = random.uniform() < 0.5 ? start : inside;
    targets.push({ seen, item: must(items[place], 'item'), timeSeconds: must(timesSeconds[place], 'time') });
  }
  return targets;
}

/** The items `[start, end)` with the targets that are predicted after more than `after` items and at most `end`. */
function windowOf(
  items: Int32Array,
  targets: readonly WindowTarget[],
  start: number,
  end: number,
  after: number,
): TrainingWindow {
  return {
    items: [...items.subarray(start, end)],
    targets: targets
      .filter(({ seen }) => seen > after && seen <= end)
      .map((target) => ({ ...target, seen: target.seen - start })),
  };
}

import { must, shuffle, type Random } from '../core/index.js';
import { sequenceTargets, type UserSequence } from './windows.js';

/** One decision to learn from: this user, at this time, took this item. */
export interface RankExample {
  /** Item numbers from 1, oldest first, at most `maxLength`. */
  readonly history: Int32Array;
  readonly timeSeconds: number;
  readonly item: number;
  /** All items of the user: none of them is a negative. */
  readonly owned: ReadonlySet<number>;
}

/** Up to `count` examples, drawn without replacement from all that the sequences hold; users without history are left out. */
export function drawExamples(
  sequences: readonly UserSequence[],
  maxLength: number,
  count: number,
  random: Random,
): RankExample[] {
  const examples = sequences.flatMap((sequence) => {
    const owned = new Set(sequence.items);
    const { items, targets } = sequenceTargets(sequence, random);
    return targets
      .filter(({ seen }) => seen > 0)
      .map(({ seen, item, timeSeconds }) => ({
        history: items.subarray(Math.max(0, seen - maxLength), seen),
        timeSeconds,
        item,
        owned,
      }));
  });
  const order = shuffle(Int32Array.from(examples.keys()), random);
  return Array.from(order.subarray(0, count), (place) => must(examples[place], 'example'));
}

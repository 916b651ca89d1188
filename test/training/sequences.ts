import fc from 'fast-check';
import type { UserSequence } from '../../src/training/index.js';

/** Makes item numbers unique over all sequences, so that a target names its place: user and position by item. */
function numbered(visitLengths: readonly (readonly number[])[], withVisits: boolean): UserSequence[] {
  let item = 0;
  return visitLengths.map((lengths) => {
    const visits = lengths.flatMap((length, visit) => Array.from({ length }, () => 100 + visit));
    return {
      items: Int32Array.from(visits, () => ++item),
      // Lines of one visit share their time.
      timesSeconds: visits.map((visit, place) => (withVisits ? visit * 1000 : place * 7)),
      ...(withVisits ? { visits } : {}),
    };
  });
}

/** Users with up to nine visits of up to five items each; without `visits`, each item is a visit of its own. */
export const sequences = fc
  .record({
    visitLengths: fc.array(fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 9 }), { maxLength: 4 }),
    withVisits: fc.boolean(),
  })
  .map(({ visitLengths, withVisits }) => numbered(visitLengths, withVisits));

/** The items that the user had before the visit of `item`. */
export function itemsBeforeVisit(sequence: UserSequence, item: number): number[] {
  const { items, visits } = sequence;
  const place = items.indexOf(item);
  const start = visits === undefined ? place : Array.from(visits).indexOf(visits[place] ?? NaN);
  return [...items.subarray(0, start)];
}

/** The sequence that holds the item, where items are unique. */
export function ownerOf(all: readonly UserSequence[], item: number): UserSequence {
  const owner = all.find(({ items }) => items.includes(item));
  if (owner === undefined) throw new Error(`No sequence holds ${item}`);
  return owner;
}

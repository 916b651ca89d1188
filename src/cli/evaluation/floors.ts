import { easeScorer, itemKnnScorer, popularityScorer, type Scorer } from '../../evaluation/index.js';
import type { Cut, Protocol } from '../bundles/protocol.js';

/** A floor's name and how to make it. */
export type Floor = readonly [name: string, makeScorer: () => Scorer];

/**
 * What anybody gets for free; a model that does not beat these is not done. The constants are those of the published
 * figures of the two known data sets. With baskets, floors learn from the judged customers, as those figures did; EASE
 * stands there a second time, from all customers, which is what a model learns from.
 */
export function floorScorers({ train, targets }: Cut, items: number, protocol: Protocol): readonly Floor[] {
  if (protocol !== 'last-basket') return floorsOf(train.items, items, 0.9, 300);
  const judged = train.items.filter((_, user) => (targets[user]?.length ?? 0) > 0);
  return [
    ...floorsOf(judged, items, 0.95, 200),
    ['floor: EASE (λ 200), all customers', () => easeScorer(train.items, items, 200)],
  ];
}

function floorsOf(histories: readonly Int32Array[], items: number, decay: number, lambda: number): Floor[] {
  return [
    ['floor: popularity', () => popularityScorer(histories, items)],
    ['floor: item-kNN', () => itemKnnScorer(histories, items)],
    [`floor: item-kNN, recent (decay ${decay})`, () => itemKnnScorer(histories, items, { decay })],
    [`floor: EASE (λ ${lambda})`, () => easeScorer(histories, items, lambda)],
  ];
}

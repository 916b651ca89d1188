import { easeScorer, itemKnnScorer, popularityScorer, type Scorer } from '../../evaluation/index.js';
import type { Cut, Protocol } from '../bundles/protocol.js';

/** An item counts this many times as much as the one before it, where recent items weigh more. */
const RECENT_DECAY = 0.9;

/** What anybody gets for free, made when asked for; a model that does not beat these is not done. */
export function floorScorers(
  { train }: Cut,
  items: number,
  protocol: Protocol,
): ReadonlyMap<string, () => Scorer> {
  const histories = train.items;
  // The regularisation that the reference figures of the two known data sets were made with.
  const lambda = protocol === 'last-basket' ? 200 : 300;
  return new Map([
    ['floor: popularity', () => popularityScorer(histories, items)],
    ['floor: item-kNN', () => itemKnnScorer(histories, items)],
    ['floor: item-kNN, recent', () => itemKnnScorer(histories, items, { decay: RECENT_DECAY })],
    [`floor: EASE (λ ${lambda})`, () => easeScorer(histories, items, lambda)],
  ]);
}

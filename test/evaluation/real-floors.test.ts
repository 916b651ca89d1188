import { describe, expect, test } from 'vitest';
import {
  firstInteractions,
  holdOutLastBasket,
  holdOutLastItem,
  readDataset,
  sequencesOf,
  type Split,
} from '../../src/data/index.js';
import {
  easeScorer,
  itemKnnScorer,
  measureRelevance,
  popularityScorer,
  rankUnseen,
  type Scorer,
} from '../../src/evaluation/index.js';
import { sharedData } from '../support/shared-data.js';

const movieLens = sharedData('movielens-latest-small');
const onlineRetail = sharedData('online-retail');

function mean(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Hit rate and NDCG at 10 over all items that the user has not had. */
function measure(scorer: Scorer, split: Split, items: number): { hitRate: number; ndcg: number } {
  const { values } = measureRelevance(rankUnseen(scorer, split, items, 20), split.targets);
  return { hitRate: mean(values['HR@10']), ndcg: mean(values['NDCG@10']) };
}

function expectClose(actual: { hitRate: number; ndcg: number }, hitRate: number, ndcg: number): void {
  expect(Math.abs(actual.hitRate - hitRate), `hit rate ${actual.hitRate}`).toBeLessThan(0.002);
  expect(Math.abs(actual.ndcg - ndcg), `NDCG ${actual.ndcg}`).toBeLessThan(0.002);
}

// Expected figures: ../shared/data/README.md, measured with another implementation.
describe.skipIf(movieLens === undefined)('floors on MovieLens, last film out (skipped where missing)', () => {
  test('agree with the published table', { timeout: 120_000 }, async () => {
    const data = await readDataset(movieLens ?? '');
    const items = data.catalogue.ids.length;
    const split = holdOutLastItem(firstInteractions(sequencesOf(data)));
    const histories = split.train.items;
    expectClose(measure(popularityScorer(histories, items), split, items), 0.041, 0.019);
    expectClose(measure(itemKnnScorer(histories, items), split, items), 0.057, 0.026);
    expectClose(measure(itemKnnScorer(histories, items, { decay: 0.9 }), split, items), 0.084, 0.041);
    expectClose(measure(easeScorer(histories, items, 300), split, items), 0.085, 0.038);
  });
});

// EASE (λ 200) gives 0.389 / 0.083 as published; it takes half a minute and is left out here.
describe.skipIf(onlineRetail === undefined)(
  'floors on Online Retail, last basket out (skipped where missing)',
  () => {
    test('agree with the published table', { timeout: 120_000 }, async () => {
      const data = await readDataset(onlineRetail ?? '');
      const items = data.catalogue.ids.length;
      const { train, targets } = holdOutLastBasket(sequencesOf(data));
      const split = { train: firstInteractions(train), targets };
      // The published figures learn from the judged customers only.
      const histories = split.train.items.filter((_, user) => (targets[user]?.length ?? 0) > 0);
      expectClose(measure(popularityScorer(histories, items), split, items), 0.214, 0.034);
      expectClose(measure(itemKnnScorer(histories, items), split, items), 0.316, 0.068);
      expectClose(measure(itemKnnScorer(histories, items, { decay: 0.95 }), split, items), 0.325, 0.069);
    });
  },
);

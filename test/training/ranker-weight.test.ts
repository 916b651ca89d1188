import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { must } from '../../src/core/index.js';
import { openSession } from '../../src/runtime/index.js';
import {
  chooseRankerWeight,
  tableWidth,
  type HeldOutVisit,
  type RankerShape,
  type TrainedRetriever,
  type Weights,
} from '../../src/training/index.js';
import { randomRanker, randomRetriever, TOWER } from './architectures/tiny-models.js';

const SHAPE: RankerShape = { tower: TOWER, crossLayers: 1, hidden: [4] };
const WIDTH = tableWidth(TOWER);

/**
 * Towers whose match is a given number an item, and a ranker whose judgement is another: all weights are 0 but the
 * items' biases, and the one that reads the first column of an item's vector.
 */
function scored(
  match: readonly number[],
  judgement: readonly number[],
): { readonly retriever: TrainedRetriever; readonly ranker: Weights } {
  const zeros = (weights: Weights): Map<string, Float32Array> =>
    new Map([...weights].map(([name, data]) => [name, new Float32Array(data.length)]));
  const towers = randomRetriever(TOWER, 1);
  const itemTable = new Float32Array((match.length + 1) * WIDTH);
  match.forEach((value, index) => {
    itemTable[(index + 2) * WIDTH - 1] = value;
    itemTable[(index + 1) * WIDTH] = must(judgement[index], 'judgement');
  });
  const ranker = zeros(randomRanker(SHAPE, towers, 1));
  must(ranker.get('ranker.out.weight'), 'output')[0] = 1;
  const weights = zeros(towers.weights);
  // One row an item.
  weights.set('tower.tastes', new Float32Array((match.length + 1) * TOWER.dimensions));
  return { retriever: { weights, itemTable }, ranker };
}

function choose(
  match: readonly number[],
  judgement: readonly number[],
  visits: readonly HeldOutVisit[],
): ReturnType<typeof chooseRankerWeight> {
  return chooseRankerWeight({
    ...scored(match, judgement),
    visits,
    shape: SHAPE,
    boundaries: [10, 20],
    openSession,
  });
}

const visit = (items: readonly number[], history: readonly number[] = [1]): HeldOutVisit => ({
  history: Int32Array.from(history),
  timeSeconds: 15,
  items,
});

/** NDCG@10 of one visit, by the formula: 200 candidates by match, without the history, ordered by the sum. */
function expectedNdcg(
  match: readonly number[],
  judgement: readonly number[],
  { history, items }: HeldOutVisit,
  weight: number,
): number {
  const all = Array.from(match.keys(), (index) => index + 1).filter((item) => !history.includes(item));
  const of = (values: readonly number[], item: number): number => must(values[item - 1], 'value');
  const retrieved = all.sort((a, b) => of(match, b) - of(match, a)).slice(0, 200);
  const score = (item: number): number => of(match, item) + weight * of(judgement, item);
  const ranked = retrieved.sort((a, b) => score(b) - score(a)).slice(0, 10);
  const discount = (rank: number): number => 1 / Math.log2(rank + 2);
  const gain = ranked.reduce((sum, item, rank) => sum + (items.includes(item) ? discount(rank) : 0), 0);
  const ideal = items.slice(0, 10).reduce((sum, _, rank) => sum + discount(rank), 0);
  return gain / ideal;
}

describe('the ranker’s weight', () => {
  test('is the least where the match is right and the judgement wrong', async () => {
    const { weight, ndcgByWeight } = await choose([0, 5, 4, 3], [0, -4, 2, 4], [visit([2])]);
    expect(weight).toBe(0.1);
    expect(ndcgByWeight[0]).toEqual([0.1, 1]);
    expect(ndcgByWeight.at(-1)?.[1]).toBeLessThan(0.7);
  });

  test('is the least that lets the judgement overrule the match', async () => {
    // Item 3 is 1 behind in match and 1.2 ahead in judgement: 0.75 is not enough.
    const { weight } = await choose([0, 5, 4, 3], [0, 0, 1.2, 0], [visit([3])]);
    expect(weight).toBe(1);
  });

  test('weighs all visits: most of them win', async () => {
    const visits = [visit([3]), visit([2]), visit([2])];
    expect((await choose([0, 5, 4, 3], [0, 0, 1.2, 0], visits)).weight).toBe(0.1);
  });

  test('what the user has had is no candidate', async () => {
    // Item 4 would stand before item 3 at every weight, were it not in the history.
    const visits = [visit([3], [2, 4])];
    const { ndcgByWeight } = await choose([0, 5, 4, 6], [0, 0, 1, 9], visits);
    expect(ndcgByWeight.map(([, ndcg]) => ndcg)).toEqual(ndcgByWeight.map(() => 1));
  });

  test('without visits nothing speaks for the judgement', async () => {
    expect(await choose([1, 2], [2, 1], [])).toEqual({ weight: 0.1, ndcgByWeight: [] });
  });

  test('has the NDCG@10 of the formula, with long histories, several items and more items than candidates', async () => {
    const items = 230;
    // Distinct halves and quarters: no ties, and sums that float32 holds.
    const permutation = fc.uniqueArray(fc.integer({ min: -2000, max: 2000 }), {
      minLength: items,
      maxLength: items,
    });
    const ids = fc.uniqueArray(fc.integer({ min: 1, max: items }), { minLength: 2, maxLength: 24 });
    await fc.assert(
      fc.asyncProperty(
        permutation,
        permutation,
        fc.array(fc.tuple(ids, fc.integer({ min: 1, max: 12 })), { minLength: 1, maxLength: 4 }),
        async (matches, judgements, drawn) => {
          const match = matches.map((value) => value / 64);
          const judgement = judgements.map((value) => value / 61.7);
          const visits = drawn.map(([all, targets]) => {
            const held = all.slice(0, Math.min(targets, all.length - 1));
            return visit(held, all.slice(held.length));
          });
          const { weight, ndcgByWeight } = await choose(match, judgement, visits);
          const expected = ndcgByWeight.map(
            ([one]) =>
              visits.reduce((sum, asked) => sum + expectedNdcg(match, judgement, asked, one), 0) /
              visits.length,
          );
          ndcgByWeight.forEach(([, ndcg], place) => expect(ndcg).toBeCloseTo(expected[place] ?? NaN, 6));
          const best = Math.max(...ndcgByWeight.map(([, ndcg]) => ndcg));
          expect(ndcgByWeight.find(([one]) => one === weight)?.[1]).toBe(best);
        },
      ),
      { numRuns: 25 },
    );
  });
});

import { describe, expect, test } from 'vitest';
import {
  firstInteractions,
  holdOutLastBasket,
  holdOutLastItem,
  readDataset,
  sequencesOf,
} from '../../src/data/index.js';
import type { Split } from '../../src/data/index.js';
import { sharedData } from '../support/shared-data.js';

const movieLens = sharedData('movielens-latest-small');
const onlineRetail = sharedData('online-retail');
const scifact = sharedData('scifact');

const judged = (split: Split): number => split.targets.filter((targets) => targets.length > 0).length;
const held = (split: Split): number => split.targets.reduce((sum, targets) => sum + targets.length, 0);

// The counts are those of the data sets' own descriptions and of ../shared/data/README.md.
describe.skipIf(movieLens === undefined)('MovieLens (skipped where the data is missing)', () => {
  test('has all ratings, films and tags; titles with commas and quotes are whole', async () => {
    const data = await readDataset(movieLens ?? '');
    expect(data.users).toHaveLength(610);
    expect(data.catalogue.ids).toHaveLength(9742);
    expect(new Set(data.interactions.item).size).toBe(9724);
    expect(data.interactions.user).toHaveLength(100836);
    expect(data.queries).toHaveLength(3683);
    expect(data.catalogue.titles[data.catalogue.ids.indexOf('11')]).toBe('American President, The (1995)');
    expect(data.users.slice(0, 3)).toEqual(['1', '2', '3']);
    // userId 2, movieId 60756: funny, highly quotable, will ferrell.
    const film = data.catalogue.ids.indexOf('60756');
    const tags = data.queries.filter(({ user, relevant }) => user === 1 && relevant[0] === film);
    expect(tags.map(({ text }) => text)).toEqual(['funny', 'Highly quotable', 'will ferrell']);
  });

  test('last film out judges 610 users, and again on the training part', async () => {
    const sequences = firstInteractions(sequencesOf(await readDataset(movieLens ?? '')));
    const split = holdOutLastItem(sequences);
    expect([judged(split), held(split)]).toEqual([610, 610]);
    const validation = holdOutLastItem(split.train);
    expect([judged(validation), held(validation)]).toEqual([610, 610]);
    // User 1 rated film 2492 last, at 965719662.
    const data = await readDataset(movieLens ?? '');
    expect(data.catalogue.ids[split.targets[0]?.[0] ?? -1]).toBe('2492');
  });
});

describe.skipIf(onlineRetail === undefined)('Online Retail (skipped where the data is missing)', () => {
  test('keeps purchases of known customers; the last basket judges 2,504 of them', async () => {
    const data = await readDataset(onlineRetail ?? '');
    expect(data.interactions.user).toHaveLength(397924);
    expect(data.users).toHaveLength(4339);
    expect(data.catalogue.ids).toHaveLength(3665);
    const isGoods = data.catalogue.columns['isGoods'] ?? [];
    const charges = data.catalogue.ids.filter((_, index) => isGoods[index] === 0);
    expect(charges).toEqual(['BANK CHARGES', 'C2', 'DOT', 'M', 'PADS', 'POST']);
    const split = holdOutLastBasket(sequencesOf(data));
    expect(judged(split)).toBe(2504);
    expect(held(split) / judged(split)).toBeCloseTo(14.961, 3);
    expect(judged(holdOutLastItem(firstInteractions(sequencesOf(data))))).toBe(4192);
  });
});

describe.skipIf(scifact === undefined)('scifact (skipped where the data is missing)', () => {
  test('has documents and judged queries by part', async () => {
    const data = await readDataset(scifact ?? '');
    expect(data.catalogue.ids).toHaveLength(5183);
    const parts = ['train', 'validation'].map((part) => data.queries.filter(({ split }) => split === part));
    expect(parts.map((queries) => queries.length)).toEqual([809, 300]);
    expect(parts.map((queries) => queries.flatMap(({ relevant }) => relevant).length)).toEqual([919, 339]);
    const quoted = data.queries.find(({ text }) => text.includes('artificial spermatids'));
    expect(quoted?.text).toBe('Mouse models can be generated using "artificial spermatids."');
  });
});

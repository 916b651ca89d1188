import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  cutDataset,
  defaultProtocol,
  parseProtocol,
  type Protocol,
} from '../../../src/cli/bundles/protocol.js';
import type { Dataset } from '../../../src/data/index.js';
import { errorCode } from '../../support/error-code.js';

interface Line {
  readonly user: number;
  readonly item: number;
  readonly visit: number;
}

const USERS = 3;
const ITEMS = 6;
const lines = fc.array(
  fc.record({
    user: fc.integer({ min: 0, max: USERS - 1 }),
    item: fc.integer({ min: 0, max: ITEMS - 1 }),
    visit: fc.integer({ min: 0, max: 4 }),
  }),
  { maxLength: 40 },
);

/** Lines sorted by user and time; a visit is one basket at one time. */
function datasetOf(all: readonly Line[], withBaskets: boolean): Dataset {
  const sorted = all.toSorted((a, b) => a.user - b.user || a.visit - b.visit);
  return {
    name: 'made up',
    catalogue: { ids: Array.from({ length: ITEMS }, (_, item) => `i${item}`), titles: [], columns: {} },
    users: Array.from({ length: USERS }, (_, user) => `u${user}`),
    interactions: {
      user: Int32Array.from(sorted, ({ user }) => user),
      item: Int32Array.from(sorted, ({ item }) => item),
      timeSeconds: Float64Array.from(sorted, ({ user, visit }) => 1000 * user + visit),
      value: new Float32Array(sorted.length).fill(1),
      ...(withBaskets ? { basket: Int32Array.from(sorted, ({ user, visit }) => 10 * user + visit) } : {}),
    },
    queries: [],
  };
}

function linesOf({ interactions }: Dataset, user: number): { item: number; time: number }[] {
  return Array.from(interactions.item, (item, row) => ({
    item,
    time: interactions.timeSeconds[row] ?? NaN,
  })).filter((_, row) => interactions.user[row] === user);
}

/** Items in order of their first time, each once. */
const distinct = (all: readonly { readonly item: number }[]): number[] => [
  ...new Set(all.map(({ item }) => item)),
];

describe('what is held out', () => {
  test('last-item: the item that was new last, at the time of its first interaction', () => {
    fc.assert(
      fc.property(lines, (all) => {
        const dataset = datasetOf(all, false);
        const { train, targets, targetTimesSeconds } = cutDataset(dataset, 'last-item');
        for (let user = 0; user < USERS; user++) {
          const own = linesOf(dataset, user);
          const items = distinct(own);
          const isJudged = items.length >= 3;
          expect([...(targets[user] ?? [])]).toEqual(isJudged ? items.slice(-1) : []);
          expect([...(train.items[user] ?? [])]).toEqual(isJudged ? items.slice(0, -1) : items);
          const held = own.find(({ item }) => item === items.at(-1));
          expect(targetTimesSeconds[user]).toBe(isJudged ? held?.time : 0);
        }
      }),
    );
  });

  test('last-basket: the whole basket goes, and what is new in it judges', () => {
    fc.assert(
      fc.property(lines, (all) => {
        const dataset = datasetOf(all, true);
        const { train, targets, targetTimesSeconds } = cutDataset(dataset, 'last-basket');
        for (let user = 0; user < USERS; user++) {
          const own = linesOf(dataset, user);
          const lastTime = own.at(-1)?.time;
          const before = own.filter(({ time }) => time !== lastTime);
          const news = distinct(own.filter(({ time }) => time === lastTime)).filter(
            (item) => !before.some((line) => line.item === item),
          );
          const isJudged = before.length > 0 && news.length > 0;
          expect([...(targets[user] ?? [])]).toEqual(isJudged ? news : []);
          expect([...(train.items[user] ?? [])]).toEqual(distinct(isJudged ? before : own));
          expect(targetTimesSeconds[user]).toBe(isJudged ? lastTime : 0);
        }
      }),
    );
  });

  test('none: everything is learned from, nobody is judged', () => {
    fc.assert(
      fc.property(lines, fc.boolean(), (all, withBaskets) => {
        const dataset = datasetOf(all, withBaskets);
        const { train, targets } = cutDataset(dataset, 'none');
        train.items.forEach((items, user) => expect([...items]).toEqual(distinct(linesOf(dataset, user))));
        expect(targets.map(({ length }) => length)).toEqual([0, 0, 0]);
      }),
    );
  });

  test('baskets are held out whole unless somebody says otherwise', () => {
    const all = [{ user: 0, item: 0, visit: 0 }];
    expect([true, false].map((baskets) => defaultProtocol(datasetOf(all, baskets)))).toEqual<Protocol[]>([
      'last-basket',
      'last-item',
    ]);
    expect(errorCode(() => cutDataset(datasetOf(all, false), 'last-basket'))).toBe('DATASET_INVALID');
    expect(parseProtocol('none')).toBe('none');
    expect(errorCode(() => parseProtocol('last'))).toBe('USAGE_INVALID');
  });
});

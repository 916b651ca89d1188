import { beforeAll, describe, expect, test } from 'vitest';
import { createRandom, sha256 } from '../../src/core/index.js';
import { createDemoWorld, sequencesOf, type DemoWorld } from '../../src/data/index.js';

const OPTIONS = { items: 600, users: 1000, interactionsPerUser: 20, seed: 11 };
let world: DemoWorld;
beforeAll(() => {
  world = createDemoWorld(OPTIONS);
});

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

function fingerprint({ dataset }: DemoWorld): string {
  const { user, item, timeSeconds, value } = dataset.interactions;
  const bytes = [user, item, timeSeconds, value].map((column) => new Uint8Array(column.buffer));
  const texts = JSON.stringify([dataset.catalogue.titles, dataset.catalogue.columns, dataset.queries]);
  return sha256(bytes.map(sha256).join() + sha256(texts));
}

test('the same seed gives the same world, another seed another', () => {
  const small = { items: 100, users: 40, interactionsPerUser: 10 };
  const first = fingerprint(createDemoWorld({ ...small, seed: 1 }));
  expect(fingerprint(createDemoWorld({ ...small, seed: 1 }))).toBe(first);
  expect(fingerprint(createDemoWorld({ ...small, seed: 2 }))).not.toBe(first);
});

test('has the sizes asked for; each user goes forward in time and has no item twice', () => {
  const { dataset } = world;
  expect(dataset.catalogue.ids).toHaveLength(600);
  expect(new Set(dataset.catalogue.titles).size).toBe(600);
  for (const column of Object.values(dataset.catalogue.columns)) expect(column).toHaveLength(600);
  const { items, timesSeconds } = sequencesOf(dataset);
  expect(items).toHaveLength(1000);
  expect(Math.abs(dataset.interactions.item.length / 1000 - 20)).toBeLessThan(1.5);
  items.forEach((sequence, user) => {
    expect(new Set(sequence).size).toBe(sequence.length);
    const times = timesSeconds[user] ?? new Float64Array();
    expect(times.every((time, place) => place === 0 || time > (times[place - 1] ?? 0))).toBe(true);
  });
});

test('few items have much of the interest', () => {
  const counts = new Int32Array(600);
  for (const item of world.dataset.interactions.item) counts[item] = (counts[item] ?? 0) + 1;
  const top = [...counts].sort((a, b) => b - a).slice(0, 60);
  expect(mean(top) / mean([...counts])).toBeGreaterThan(2);
});

describe('what is clicked follows from', () => {
  test('the interest of the moment: neighbours in time are alike, far ones less', () => {
    const { items } = sequencesOf(world.dataset);
    const { category = [] } = world.dataset.catalogue.columns;
    const alike = (distance: number): number =>
      mean(
        items.flatMap((sequence) =>
          [...sequence.subarray(distance)].map((item, place) =>
            category[item] === category[sequence[place] ?? -1] ? 1 : 0,
          ),
        ),
      );
    const [near, far] = [alike(1), alike(8)];
    expect(near).toBeGreaterThan(0.4);
    expect(far).toBeLessThan(0.7 * near);
    // Favourite categories last: still far more alike than by chance (1 of 20 categories).
    expect(far).toBeGreaterThan(0.1);
  });

  test('the true relevance: the last item stands far above others', () => {
    const random = createRandom(3);
    const { items } = sequencesOf(world.dataset);
    const last = items.map((sequence, user) => world.truth.trueRelevance(user, sequence.at(-1) ?? -1));
    const others = items.map((_, user) => world.truth.trueRelevance(user, random.integer(600)));
    expect(mean(last)).toBeGreaterThan(5 * mean(others));
    for (const probability of [...last, ...others]) {
      expect(probability).toBeGreaterThan(0);
      expect(probability).toBeLessThan(1);
    }
  });
});

test('queries are judged by clicks on items that are truly relevant', () => {
  const { dataset, truth } = world;
  const { items, timesSeconds } = sequencesOf(dataset);
  expect(dataset.queries.length).toBeGreaterThan(200);
  for (const { text, relevant, user = -1, timeSeconds = 0 } of dataset.queries) {
    expect(text).toBe(text.toLowerCase());
    for (const item of relevant) {
      expect(truth.trueQueryRelevance(text, item)).toBeGreaterThan(0);
      const place = items[user]?.indexOf(item) ?? -1;
      expect(timesSeconds[user]?.[place]).toBeGreaterThan(timeSeconds);
    }
  }
});

test('true relevance to a query is graded by what the query names', () => {
  const { dataset, truth } = world;
  const [title = ''] = dataset.catalogue.titles;
  const [brand = '', adjective = '', ...noun] = title.split(' ');
  const category = String(dataset.catalogue.columns['category']?.[0]);
  const grade = (query: string): number => truth.trueQueryRelevance(query, 0);
  expect(grade(noun.join(' '))).toBe(2);
  expect(grade(`${brand} ${noun.join(' ')}`)).toBe(3);
  expect(grade(title.toLowerCase())).toBe(4);
  expect(grade(category)).toBe(1);
  expect(grade(`${adjective} ${category}`)).toBe(2);
  expect(grade('something else')).toBe(0);
  const otherTitle = dataset.catalogue.titles.find((other) => !other.includes(noun.join(' '))) ?? '';
  expect(grade(otherTitle.split(' ').slice(2).join(' '))).toBe(0);
});

test('tiny worlds work, senseless ones are refused', () => {
  const tiny = createDemoWorld({ items: 2, users: 2, interactionsPerUser: 5, seed: 1 });
  expect(tiny.dataset.catalogue.ids).toEqual(['i1', 'i2']);
  expect(() => createDemoWorld({ ...OPTIONS, users: 0 })).toThrow(
    expect.objectContaining({ code: 'INPUT_INVALID' }),
  );
});

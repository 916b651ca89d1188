import { createRandom, must, WhittleError, type Random } from '../core/index.js';
import type { Dataset, Interactions, JudgedQuery } from './dataset.js';
import { createDemoCatalogue, type DemoCatalogue } from './demo-catalogue.js';
import { createShelves, simulateJourney, type Journey } from './demo-journey.js';
import { createQueryTruth, writeQuery } from './demo-queries.js';
import { clickProbability, createTaste, type Taste } from './demo-taste.js';

export interface DemoWorldOptions {
  readonly items: number;
  readonly users: number;
  /** Mean; single users have from half of it to several times as many. */
  readonly interactionsPerUser: number;
  readonly seed: number;
}

/** What no real data set knows: what people would have liked. */
export interface DemoTruth {
  /**
   * Probability that the user clicks on the item if they look at it, in the interest of their last interaction; the
   * same whether they have had the item or not.
   */
  trueRelevance(user: number, item: number): number;
  /** Graded relevance of the item to the words of the query, 0 to 4; see `createQueryTruth`. */
  trueQueryRelevance(query: string, item: number): number;
}

export interface DemoWorld {
  readonly dataset: Dataset;
  readonly truth: DemoTruth;
}

/** Spread of the users' activity, as the standard deviation of its logarithm. */
const ACTIVITY_SPREAD = 0.5;
const MIN_INTERACTIONS = 3;

/**
 * A made-up shop and its customers, the same for the same options. Items have a kind (tent, kettle), a brand, a style
 * and a price; popularity is Zipf-like. Users have lasting tastes and an interest of the moment that moves on, often
 * to complements; so the recent past says what kind comes next, and the whole past which of the kind. Clicks come from
 * slates that are examined from the top with falling attention. Some interests begin with a query, whose clicked items
 * that have a true relevance are its judgments.
 * @throws INPUT_INVALID where a size is not a positive integer.
 */
export function createDemoWorld(options: DemoWorldOptions): DemoWorld {
  for (const field of ['items', 'users', 'interactionsPerUser'] as const)
    if (!Number.isSafeInteger(options[field]) || options[field] < 1)
      throw new WhittleError('INPUT_INVALID', `${field} must be a positive integer`, {
        field,
        value: options[field],
      });
  const random = createRandom(options.seed);
  const shop = createDemoCatalogue(options.items, random.fork('catalogue'));
  const shelves = createShelves(shop, random.fork('shelves'));
  const tastes: Taste[] = [];
  const journeys: Journey[] = [];
  const queries: JudgedQuery[] = [];
  const trueQueryRelevance = createQueryTruth(shop);
  for (let user = 0; user < options.users; user++) {
    const source = random.fork('user');
    const taste = createTaste(shop, source);
    const wanted = activity(options, source);
    const journey = simulateJourney(shop, shelves, taste, wanted, source);
    tastes.push(taste);
    journeys.push(journey);
    queries.push(...judgedQueries(shop, taste, journey, user, trueQueryRelevance, source));
  }
  const dataset: Dataset = {
    name: 'demo',
    catalogue: shop.catalogue,
    users: journeys.map((_, user) => `u${user + 1}`),
    interactions: joinJourneys(journeys),
    queries,
  };
  return { dataset, truth: { trueRelevance: createUserTruth(shop, tastes, journeys), trueQueryRelevance } };
}

function activity({ interactionsPerUser, items }: DemoWorldOptions, random: Random): number {
  const factor = Math.exp(ACTIVITY_SPREAD * random.normal() - ACTIVITY_SPREAD ** 2 / 2);
  const wanted = Math.max(MIN_INTERACTIONS, Math.round(interactionsPerUser * factor));
  // Nobody has the whole shop, which would leave nothing to recommend.
  return Math.min(wanted, Math.max(1, Math.floor(items / 2)));
}

function joinJourneys(journeys: readonly Journey[]): Interactions {
  const item = Int32Array.from(journeys.flatMap(({ items }) => items));
  return {
    user: Int32Array.from(journeys.flatMap(({ items }, user) => items.map(() => user))),
    item,
    timeSeconds: Float64Array.from(journeys.flatMap(({ timesSeconds }) => timesSeconds)),
    value: new Float32Array(item.length).fill(1),
  };
}

function judgedQueries(
  shop: DemoCatalogue,
  taste: Taste,
  { searches }: Journey,
  user: number,
  relevance: DemoTruth['trueQueryRelevance'],
  random: Random,
): readonly JudgedQuery[] {
  return searches.flatMap(({ interest, timeSeconds, clicked }) => {
    const text = writeQuery(shop, taste, interest, random);
    const relevant = clicked.filter((item) => relevance(text, item) > 0);
    if (relevant.length === 0) return [];
    return [{ text, split: 'all', relevant, gains: relevant.map(() => 1), user, timeSeconds }];
  });
}

function createUserTruth(
  shop: DemoCatalogue,
  tastes: readonly Taste[],
  journeys: readonly Journey[],
): DemoTruth['trueRelevance'] {
  return (user, item) =>
    clickProbability(shop, must(tastes[user], 'user'), must(journeys[user], 'user').interest, item);
}

import { must, type Random } from '../core/index.js';
import type { DemoCatalogue } from './demo-catalogue.js';
import { clickProbability, type Taste } from './demo-taste.js';
import { CATEGORIES } from './demo-vocabulary.js';
import { weightedSampler, zipfSampler, type Sampler } from './sampler.js';

/** What happened to one user, oldest first. */
export interface Journey {
  readonly items: readonly number[];
  readonly timesSeconds: readonly number[];
  readonly searches: readonly Search[];
  /** Kind that the user was interested in at the last interaction. */
  readonly interest: number;
}

/** An interest that began with a query. */
export interface Search {
  readonly interest: number;
  readonly timeSeconds: number;
  /** What the user clicked on while the interest lasted. */
  readonly clicked: readonly number[];
}

/** Draws kinds and items as the demo shop shows them. */
export interface Shelves {
  readonly anyKind: Sampler;
  /** By category: draws one of its kinds. */
  readonly kindOf: readonly ((random: Random) => number)[];
}

const SLATE_SIZE = 10;
/** Chance that an interest ends after a slate, with a click on it and without. */
const INTEREST_ENDS = { clicked: 0.25, ignored: 0.06 };
const SEARCH_SHARE = 0.15;
/** How much more a user likes the first favourite category than the next. */
const FAVOURITE_WEIGHTS = [4, 3, 2, 1];
const favouriteSampler = weightedSampler(FAVOURITE_WEIGHTS);
/** 2023-11-14, and what passes between slates and between interests. */
const START_SECONDS = 1_700_000_000;
const FIRST_DAYS = 60;
const DAY_SECONDS = 86_400;
const SLATE_GAP_SECONDS = 120;
const SLATES_PER_CLICK_LIMIT = 60;

/** Probability that a user looks at a slate's position (0 is the top), whatever stands there. */
const EXAMINATION = Array.from({ length: SLATE_SIZE }, (_, position) => (position + 1) ** -0.7);

/** Kinds by popularity: Zipf over all, and within each category that has any (else over all). */
export function createShelves({ kinds }: DemoCatalogue, random: Random): Shelves {
  const ranks = kinds.map((_, kind) => ({ kind, key: random.uniform() })).sort((a, b) => a.key - b.key);
  const order = ranks.map(({ kind }) => kind);
  const drawFrom = (choice: readonly number[]): ((random: Random) => number) => {
    const sample = zipfSampler(choice.length, 0.6);
    return (source) => must(choice[sample(source)], 'kind');
  };
  const anyKind = drawFrom(order);
  return {
    anyKind,
    kindOf: CATEGORIES.map((_, category) => {
      const choice = order.filter((kind) => kinds[kind]?.category === category);
      return choice.length === 0 ? anyKind : drawFrom(choice);
    }),
  };
}

/** Lets a user go through the shop until there are about `wantedClicks`. */
export function simulateJourney(
  shop: DemoCatalogue,
  shelves: Shelves,
  taste: Taste,
  wantedClicks: number,
  random: Random,
): Journey {
  const items: number[] = [];
  const timesSeconds: number[] = [];
  const searches: Search[] = [];
  const had = new Set<number>();
  let time = START_SECONDS + Math.floor(random.uniform() * FIRST_DAYS * DAY_SECONDS);
  let interest = favouriteKind(shelves, taste, random);
  let searching: number[] | undefined;
  for (
    let slates = wantedClicks * SLATES_PER_CLICK_LIMIT;
    slates > 0 && items.length < wantedClicks;
    slates--
  ) {
    const clicks = simulateSlate(shop, shelves, taste, interest, had, random);
    for (const item of clicks) {
      time += 5 + random.integer(SLATE_GAP_SECONDS);
      had.add(item);
      items.push(item);
      timesSeconds.push(time);
      searching?.push(item);
    }
    time += 5 + random.integer(SLATE_GAP_SECONDS);
    if (random.uniform() > (clicks.length > 0 ? INTEREST_ENDS.clicked : INTEREST_ENDS.ignored)) continue;
    if (items.length >= wantedClicks) break;
    interest = nextInterest(shop, shelves, taste, interest, random);
    time += Math.floor(DAY_SECONDS * (0.25 - 2 * Math.log(1 - random.uniform())));
    searching = random.uniform() < SEARCH_SHARE ? [] : undefined;
    if (searching !== undefined) searches.push({ interest, timeSeconds: time, clicked: searching });
  }
  return { items, timesSeconds, searches, interest };
}

function favouriteKind(shelves: Shelves, taste: Taste, random: Random): number {
  const category = must(taste.categories[favouriteSampler(random)], 'favourite category');
  return must(shelves.kindOf[category], 'shelf')(random);
}

/** Half of the time a complement of the last interest, else a favourite category, now and then anything. */
function nextInterest(
  shop: DemoCatalogue,
  shelves: Shelves,
  taste: Taste,
  interest: number,
  random: Random,
): number {
  const draw = random.uniform();
  if (draw < 0.1) return shelves.anyKind(random);
  if (draw < 0.5) return favouriteKind(shelves, taste, random);
  return complementOf(shop, interest, random);
}

function complementOf(shop: DemoCatalogue, interest: number, random: Random): number {
  const { complements } = must(shop.kinds[interest], 'kind');
  return complements.length === 0 ? interest : must(complements[random.integer(complements.length)], 'kind');
}

/** Shows a slate, each position drawn on its own, and returns the items clicked on from top to bottom. */
function simulateSlate(
  shop: DemoCatalogue,
  shelves: Shelves,
  taste: Taste,
  interest: number,
  had: ReadonlySet<number>,
  random: Random,
): readonly number[] {
  const clicks: number[] = [];
  for (const examination of EXAMINATION) {
    const { items, sample } = must(shop.kinds[shownKind(shop, shelves, taste, interest, random)], 'kind');
    const item = must(items[sample(random)], 'item');
    // What the user has had, or what just was clicked further up, fills its place unseen.
    if (had.has(item) || clicks.includes(item)) continue;
    if (random.uniform() >= examination) continue;
    if (random.uniform() < clickProbability(shop, taste, interest, item)) clicks.push(item);
  }
  return clicks;
}

function shownKind(
  shop: DemoCatalogue,
  shelves: Shelves,
  taste: Taste,
  interest: number,
  random: Random,
): number {
  const draw = random.uniform();
  if (draw < 0.6) return interest;
  if (draw < 0.8) return complementOf(shop, interest, random);
  return draw < 0.92 ? favouriteKind(shelves, taste, random) : shelves.anyKind(random);
}

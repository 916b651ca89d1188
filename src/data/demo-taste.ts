import { must, type Random } from '../core/index.js';
import type { DemoCatalogue } from './demo-catalogue.js';
import { CATEGORIES, STYLES } from './demo-vocabulary.js';

/** What a user of the demo world likes, whatever the moment. */
export interface Taste {
  /** Favourite categories, the dearest first. */
  readonly categories: readonly number[];
  /** 1 for a favourite brand, by brand. */
  readonly brands: Uint8Array;
  /** 1 for a favourite style, by style. */
  readonly styles: Uint8Array;
  /** How expensive the user buys, 0 to 1. */
  readonly priceLevel: number;
}

const FAVOURITE_CATEGORIES = 4;
const FAVOURITE_BRANDS_PER_CATEGORY = 3;
const FAVOURITE_STYLES = 2;

export function createTaste({ brands, brandsOf }: DemoCatalogue, random: Random): Taste {
  const categories = distinctIntegers(FAVOURITE_CATEGORIES, CATEGORIES.length, random);
  const brandFlags = new Uint8Array(brands.length);
  for (const category of categories) {
    const choice = must(brandsOf[category], 'brands');
    for (let count = 0; count < FAVOURITE_BRANDS_PER_CATEGORY; count++)
      brandFlags[must(choice[random.integer(choice.length)], 'brand')] = 1;
  }
  const styleFlags = new Uint8Array(STYLES.length);
  for (const style of distinctIntegers(FAVOURITE_STYLES, STYLES.length, random)) styleFlags[style] = 1;
  return { categories, brands: brandFlags, styles: styleFlags, priceLevel: random.uniform() };
}

function distinctIntegers(count: number, limit: number, random: Random): readonly number[] {
  const drawn = new Set<number>();
  while (drawn.size < count) drawn.add(random.integer(limit));
  return [...drawn];
}

/**
 * Log-odds of a click on an item that is looked at. Interest of the moment and lasting taste add up, so that their
 * meeting (the right kind of goods of the right brand and style) stands far above either alone.
 */
const LOG_ODDS = {
  base: -5.5,
  sameKind: 2.6,
  complement: 1.6,
  sameCategory: 0.8,
  favouriteCategory: 0.5,
  brand: 2.3,
  style: 2.1,
  /** Times the distance of the price levels, 0 to 1. */
  priceDistance: -4,
};

/** Probability that a user with `taste`, now interested in the kind `interest`, clicks on an item looked at. */
export function clickProbability(shop: DemoCatalogue, taste: Taste, interest: number, item: number): number {
  const { kind, category, brand, style, priceLevel } = shop;
  const itemKind = kind[item] ?? -1;
  const itemCategory = category[item] ?? -1;
  const { complements, category: interestCategory } = must(shop.kinds[interest], 'kind');
  let logOdds = LOG_ODDS.base;
  if (itemKind === interest) logOdds += LOG_ODDS.sameKind;
  else if (complements.includes(itemKind)) logOdds += LOG_ODDS.complement;
  else if (itemCategory === interestCategory) logOdds += LOG_ODDS.sameCategory;
  if (taste.categories.includes(itemCategory)) logOdds += LOG_ODDS.favouriteCategory;
  if (taste.brands[brand[item] ?? -1] === 1) logOdds += LOG_ODDS.brand;
  if (taste.styles[style[item] ?? -1] === 1) logOdds += LOG_ODDS.style;
  logOdds += LOG_ODDS.priceDistance * Math.abs((priceLevel[item] ?? 0) - taste.priceLevel);
  return 1 / (1 + Math.exp(-logOdds));
}

import { must, type Random } from '../core/index.js';
import type { Catalogue } from './dataset.js';
import { brandNames, CATEGORIES, STYLES } from './demo-vocabulary.js';
import { zipfSampler, type Sampler } from './sampler.js';

/** A noun of the vocabulary: one kind of goods. */
export interface Kind {
  readonly category: number;
  readonly noun: string;
  /** Item indexes, the popular ones first. */
  readonly items: readonly number[];
  /** Draws a position of `items`, by popularity. */
  readonly sample: Sampler;
  /** Kinds that people go on to from this one. */
  readonly complements: readonly number[];
}

/** The demo shop: its items by index, each with what makes people like it. */
export interface DemoCatalogue {
  readonly catalogue: Catalogue;
  /** Kinds that have items. */
  readonly kinds: readonly Kind[];
  readonly brands: readonly string[];
  /** Brands by category. */
  readonly brandsOf: readonly (readonly number[])[];
  readonly kind: Int32Array;
  readonly category: Int32Array;
  readonly brand: Int32Array;
  readonly style: Int32Array;
  readonly adjective: readonly string[];
  /** How expensive the item is among its kind, 0 to 1. */
  readonly priceLevel: Float64Array;
}

const BRAND_COUNT = 60;
const CATEGORIES_PER_BRAND = 5;
const COMPLEMENTS_PER_KIND = 2;
/** Aimed at as long as the vocabulary has nouns for it. */
const ITEMS_PER_KIND = 50;
/** Typical prices of the cheapest and the dearest category. */
const PRICE_RANGE = [6, 60] as const;

export function createDemoCatalogue(items: number, random: Random): DemoCatalogue {
  const brands = pickBrands(random.fork('brands'));
  const brandsOf = specialise(random.fork('specialities'));
  const nouns = pickNouns(items, random.fork('nouns'));
  const draft = draftItems(items, nouns, brandsOf, random.fork('items'));
  const kinds = createKinds(nouns, draft.noun, random.fork('kinds'));
  const kind = new Int32Array(items);
  kinds.forEach(({ items: members }, index) => {
    for (const item of members) kind[item] = index;
  });
  const category = Int32Array.from(kind, (index) => must(kinds[index], 'kind').category);
  const attributes = { ...draft, kinds, brands, brandsOf, kind, category };
  return { ...attributes, catalogue: describe(attributes, random.fork('prices')) };
}

type Attributes = Omit<DemoCatalogue, 'catalogue'>;

function pick<T>(values: readonly T[], random: Random): T {
  return must(values[random.integer(values.length)], 'value to pick');
}

/** `count` different values, in random order. */
function pickDistinct<T>(values: readonly T[], count: number, random: Random): readonly T[] {
  const left = [...values];
  return Array.from({ length: Math.min(count, left.length) }, () =>
    must(left.splice(random.integer(left.length), 1)[0], 'value to pick'),
  );
}

function pickBrands(random: Random): readonly string[] {
  return pickDistinct(brandNames(), BRAND_COUNT, random);
}

/** Gives each brand its categories; every category gets some of the brands. */
function specialise(random: Random): readonly (readonly number[])[] {
  const brandsOf: number[][] = CATEGORIES.map(() => []);
  for (let brand = 0; brand < BRAND_COUNT; brand++) {
    const categories = CATEGORIES.map((_, index) => index);
    const home = brand % CATEGORIES.length;
    const others = pickDistinct(
      categories.filter((index) => index !== home),
      CATEGORIES_PER_BRAND - 1,
      random,
    );
    for (const index of [home, ...others]) brandsOf[index]?.push(brand);
  }
  return brandsOf;
}

interface Noun {
  readonly category: number;
  readonly noun: string;
}

/** The nouns of a shop of this size: a small one has fewer kinds of goods, so that each has some choice. */
function pickNouns(items: number, random: Random): readonly Noun[] {
  const perCategory = Math.ceil(items / ITEMS_PER_KIND / CATEGORIES.length);
  return CATEGORIES.flatMap(({ nouns }, category) =>
    pickDistinct(nouns, perCategory, random).map((noun) => ({ category, noun: noun.replaceAll('-', ' ') })),
  );
}

interface Draft {
  /** Index into the nouns. */
  readonly noun: Int32Array;
  readonly brand: Int32Array;
  readonly style: Int32Array;
  readonly adjective: readonly string[];
  readonly priceLevel: Float64Array;
}

function draftItems(
  items: number,
  nouns: readonly Noun[],
  brandsOf: readonly (readonly number[])[],
  random: Random,
): Draft {
  const noun = Int32Array.from({ length: items }, () => random.integer(nouns.length));
  const style = Int32Array.from({ length: items }, () => random.integer(STYLES.length));
  return {
    noun,
    style,
    brand: noun.map((index) => pick(must(brandsOf[must(nouns[index], 'noun').category], 'brands'), random)),
    adjective: Array.from(style, (index) => pick(must(STYLES[index], 'style'), random)),
    priceLevel: Float64Array.from({ length: items }, () => random.uniform()),
  };
}

/** Kinds with their items. Items of a kind are in random order, which is their order of popularity. */
function createKinds(nouns: readonly Noun[], noun: Int32Array, random: Random): readonly Kind[] {
  const members = new Map<number, number[]>();
  noun.forEach((index, item) => {
    members.set(index, [...(members.get(index) ?? []), item]);
  });
  const present = [...members.keys()].sort((a, b) => a - b);
  return present.map((index) => {
    const items = pickDistinct(must(members.get(index), 'members'), Infinity, random);
    return {
      ...must(nouns[index], 'noun'),
      items,
      sample: zipfSampler(items.length, 0.6),
      complements: pickComplements(nouns, present, index, random),
    };
  });
}

/** One kind of the same category where there is one, the rest from anywhere; as positions in `present`. */
function pickComplements(
  nouns: readonly Noun[],
  present: readonly number[],
  index: number,
  random: Random,
): readonly number[] {
  const others = present.map((_, position) => position).filter((position) => present[position] !== index);
  const category = nouns[index]?.category;
  const near = others.filter((position) => nouns[present[position] ?? -1]?.category === category);
  const first = pickDistinct(near, 1, random);
  const far = others.filter((position) => !first.includes(position));
  return [...first, ...pickDistinct(far, COMPLEMENTS_PER_KIND - first.length, random)];
}

function describe(attributes: Attributes, random: Random): Catalogue {
  const { kind, kinds, category, brand, brands, adjective, priceLevel } = attributes;
  const nounOf = (item: number): string => must(kinds[kind[item] ?? -1], 'kind').noun;
  const brandOf = (item: number): string => must(brands[brand[item] ?? -1], 'brand');
  const categoryOf = (item: number): (typeof CATEGORIES)[number] =>
    must(CATEGORIES[category[item] ?? -1], 'category');
  const titles = numberRepeats(adjective.map((word, item) => `${brandOf(item)} ${word} ${nounOf(item)}`));
  const typicalPrices = kinds.map(
    () => PRICE_RANGE[0] + random.uniform() * (PRICE_RANGE[1] - PRICE_RANGE[0]),
  );
  return {
    ids: titles.map((_, item) => `i${item + 1}`),
    titles,
    columns: {
      category: titles.map((_, item) => categoryOf(item).name),
      brand: titles.map((_, item) => brandOf(item)),
      description: titles.map((_, item) => {
        const { intents } = categoryOf(item);
        return `${must(adjective[item], 'adjective')} ${nounOf(item)} for ${pick(intents, random)} and ${pick(intents, random)}`;
      }),
      // A quarter to four times what the kind costs typically, in cents.
      price: Float64Array.from(
        priceLevel,
        (level, item) =>
          Math.round((typicalPrices[kind[item] ?? -1] ?? 0) * 4 ** (2 * level - 1) * 100) / 100,
      ),
    },
  };
}

/** Tells equal titles apart: the second one becomes `… 2`. */
function numberRepeats(titles: readonly string[]): readonly string[] {
  const counts = new Map<string, number>();
  return titles.map((title) => {
    const count = (counts.get(title) ?? 0) + 1;
    counts.set(title, count);
    return count === 1 ? title : `${title} ${count}`;
  });
}

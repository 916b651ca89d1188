import { must, type Random } from '../core/index.js';
import type { DemoCatalogue } from './demo-catalogue.js';
import type { Taste } from './demo-taste.js';
import { CATEGORIES, STYLES } from './demo-vocabulary.js';

/** A query for the kind `interest` in the words of a user with `taste`, lower case. */
export function writeQuery(shop: DemoCatalogue, taste: Taste, interest: number, random: Random): string {
  const kind = must(shop.kinds[interest], 'kind');
  const draw = random.uniform();
  const words =
    draw < 0.35
      ? [kind.noun]
      : draw < 0.6
        ? [favouriteAdjective(taste, random), kind.noun]
        : draw < 0.8
          ? [favouriteBrand(shop, taste, kind.category, random), kind.noun]
          : [pick(must(CATEGORIES[kind.category], 'category').intents, random), kind.noun].slice(
              0,
              draw < 0.9 ? 1 : 2,
            );
  return words.join(' ').toLowerCase();
}

function pick<T>(values: readonly T[], random: Random): T {
  return must(values[random.integer(values.length)], 'value to pick');
}

function favouriteAdjective({ styles }: Taste, random: Random): string {
  return pick(
    STYLES.flatMap((adjectives, style) => (styles[style] === 1 ? adjectives : [])),
    random,
  );
}

function favouriteBrand(shop: DemoCatalogue, taste: Taste, category: number, random: Random): string {
  const sold = must(shop.brandsOf[category], 'brands');
  const liked = sold.filter((brand) => taste.brands[brand] === 1);
  return must(shop.brands[pick(liked.length > 0 ? liked : sold, random)], 'brand');
}

type Facet = 'noun' | 'category' | 'brand' | 'adjective';

/** What a query asks for: the values of each facet that its words name. */
type Demand = Readonly<Record<Facet, readonly number[]>>;

/**
 * Graded relevance of an item to a query's words, 0 to 4, known because the world is made: 2 for the noun asked for,
 * 1 for the category where the query names only that or only a brand or style; one more for the brand asked for; one
 * more for the adjective asked for, half for another one of the same style. 0 where the noun or the category asked for
 * is another one, or where no word is known.
 */
export function createQueryTruth(shop: DemoCatalogue): (query: string, item: number) => number {
  const phrases = createPhrases(shop);
  const demands = new Map<string, Demand>();
  return (query, item) => {
    const demand = demands.get(query) ?? parse(query, phrases);
    demands.set(query, demand);
    return grade(shop, demand, item);
  };
}

interface Phrase {
  readonly text: string;
  readonly facet: Facet;
  readonly value: number;
}

const ADJECTIVES = STYLES.flat();

/** Every phrase that has a meaning, longest first, so that "paper lantern" is not taken for a lantern. */
function createPhrases({ kinds, brands }: DemoCatalogue): readonly Phrase[] {
  const phrase = (facet: Facet, text: string, value: number): Phrase => ({
    text: text.toLowerCase(),
    facet,
    value,
  });
  return [
    ...kinds.map(({ noun }, value) => phrase('noun', noun, value)),
    ...CATEGORIES.flatMap(({ name, intents }, value) =>
      [name, ...intents].map((text) => phrase('category', text, value)),
    ),
    ...brands.map((brand, value) => phrase('brand', brand, value)),
    ...ADJECTIVES.map((adjective, value) => phrase('adjective', adjective, value)),
  ].sort((a, b) => b.text.length - a.text.length);
}

function parse(query: string, phrases: readonly Phrase[]): Demand {
  const demand: Record<Facet, number[]> = { noun: [], category: [], brand: [], adjective: [] };
  let text = ` ${query.toLowerCase().trim().replaceAll(/\s+/g, ' ')} `;
  for (const phrase of phrases) {
    if (!text.includes(` ${phrase.text} `)) continue;
    demand[phrase.facet].push(phrase.value);
    text = text.replace(` ${phrase.text} `, '  ');
  }
  return demand;
}

function grade(shop: DemoCatalogue, demand: Demand, item: number): number {
  const { noun, category, brand, adjective } = demand;
  if (noun.length + category.length + brand.length + adjective.length === 0) return 0;
  if (noun.length > 0 && !noun.includes(shop.kind[item] ?? -1)) return 0;
  if (category.length > 0 && !category.includes(shop.category[item] ?? -1)) return 0;
  const extras =
    (brand.includes(shop.brand[item] ?? -1) ? 1 : 0) + adjectiveGrade(adjective, shop.adjective[item] ?? '');
  if (noun.length > 0) return 2 + extras;
  return category.length > 0 || extras > 0 ? 1 + extras : 0;
}

function adjectiveGrade(wanted: readonly number[], adjective: string): number {
  if (wanted.some((value) => ADJECTIVES[value] === adjective)) return 1;
  const style = STYLES.find((adjectives) => adjectives.includes(adjective));
  return wanted.some((value) => style?.includes(ADJECTIVES[value] ?? '') === true) ? 0.5 : 0;
}

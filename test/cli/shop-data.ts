import { createRandom, shuffle } from '../../src/core/index.js';

const ITEMS = 250;
const USERS = 90;
const KINDS = 5;

/** One line of the shop's file. */
export interface ShopEvent {
  readonly customer: string;
  readonly sku: string;
  readonly seconds: number;
}

/** What customers of a small shop took: mostly of one kind each, the low numbers more often. Every item is taken. */
export function shopEvents(): ShopEvent[] {
  const random = createRandom(17);
  const events: ShopEvent[] = [];
  const untaken = shuffle(
    Int32Array.from({ length: ITEMS }, (_, item) => item),
    random,
  );
  for (let user = 0; user < USERS; user++) {
    const kind = random.integer(KINDS);
    const wanted = new Set<number>(untaken.slice(user * 3, user * 3 + 3));
    while (wanted.size < 9) {
      const item = Math.floor(ITEMS * random.uniform() ** 3);
      wanted.add(random.uniform() < 0.8 ? item - (item % KINDS) + kind : item);
    }
    shuffle(Int32Array.from(wanted), random).forEach((item, place) => {
      const seconds = 1_600_000_000 + 86_400 * place + user;
      events.push({ customer: `c${user}`, sku: `sku${item}`, seconds });
    });
  }
  return events;
}

/** The events as CSV whose columns need a mapping. */
export function shopCsv(): string {
  const lines = shopEvents().map(
    ({ customer, sku, seconds }) =>
      `${customer},${sku},${new Date(seconds * 1000).toISOString()},thing of kind ${Number(sku.slice(3)) % KINDS}`,
  );
  return ['customer,sku,ts,name', ...lines, ''].join('\n');
}

/** What popularity is worth on each customer's last item, counted over all that came before them. */
export function popularityRelevance(): { ndcgAt10: number; recallAt10: number } {
  const events = shopEvents();
  const isLast = ({ customer }: ShopEvent, row: number): boolean => events[row + 1]?.customer !== customer;
  const counts = new Map(events.map(({ sku }) => [sku, 0]));
  events.forEach((event, row) => {
    if (!isLast(event, row)) counts.set(event.sku, (counts.get(event.sku) ?? 0) + 1);
  });
  // Ties go to the item that comes first in the catalogue, which is sorted by id.
  const order = [...counts].sort(([a, countA], [b, countB]) => countB - countA || (a < b ? -1 : 1));
  const ranks = events.filter(isLast).map(({ customer, sku }) => {
    const had = new Set(events.filter((event) => event.customer === customer).map((event) => event.sku));
    had.delete(sku);
    return order.filter(([item]) => !had.has(item)).findIndex(([item]) => item === sku);
  });
  const mean = (gain: (rank: number) => number): number =>
    ranks.reduce((sum, rank) => sum + (rank < 10 ? gain(rank) : 0), 0) / ranks.length;
  return { ndcgAt10: mean((rank) => 1 / Math.log2(rank + 2)), recallAt10: mean(() => 1) };
}

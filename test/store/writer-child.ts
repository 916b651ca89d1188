import { openStore, type EventInput } from '../../src/store/index.js';

/**
 * Appends batches for ever, four at a time, and reports the ids of each batch once it is durable. Ids run on from
 * `start`; every batch also repeats an id from before `start` and one of its own.
 */
const [path = '', start = '0'] = process.argv.slice(2);
const store = openStore(path, { historyLimit: 50 });
let next = Number(start);

function batch(): EventInput[] {
  const numbers = [next, next + 1, next, next + 2, Math.max(0, Number(start) - 1)];
  next += 3;
  return numbers.map((number) => ({
    id: `e${String(number)}`,
    user: `u${String(number % 7)}`,
    item: `i${String(number)}`,
    type: number % 5 === 0 ? 'view' : 'click',
  }));
}

async function writeForEver(): Promise<never> {
  for (;;) {
    const events = batch();
    await store.appendEvents(events);
    process.send?.(events.map((event) => event.id));
  }
}

await Promise.all([writeForEver(), writeForEver(), writeForEver(), writeForEver()]);

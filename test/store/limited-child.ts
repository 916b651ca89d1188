import { WhittleError } from '../../src/core/index.js';
import { openStore } from '../../src/store/index.js';

/** Appends until the disk takes no more, then tries an exposure as well, and reports what became of it all. */
const [path = ''] = process.argv.slice(2);
const failures: string[] = [];
const unhandled: string[] = [];
process.on('unhandledRejection', (reason) => unhandled.push(String(reason)));
const store = openStore(path);

async function note(action: Promise<unknown>): Promise<boolean> {
  try {
    await action;
    return true;
  } catch (thrown) {
    failures.push(thrown instanceof WhittleError ? `${thrown.code} ${thrown.message}` : String(thrown));
    return false;
  }
}

let accepted = 0;
for (;;) {
  const base = { user: 'u', item: 'i'.repeat(100), type: 'view' };
  const events = Array.from({ length: 500 }, (_, index) => ({ ...base, id: `e${String(accepted + index)}` }));
  if (!(await note(store.appendEvents(events)))) break;
  accepted += events.length;
}
const items = Array.from({ length: 50_000 }, (_, index) => `item-${String(index)}`);
store.appendExposure({ requestId: 'r', timeMs: 1, pipeline: 'p', variant: 'v', forced: false, items });
await note(store.flush());
await new Promise((resolve) => setImmediate(resolve));
const { events, exposuresBuffered } = store.counts();
process.send?.({ accepted, events, exposuresBuffered, failures, unhandled });
await note(store.close());
process.disconnect();

import { createLog, toWhittleError } from '../../src/core/index.js';
import { openStore, type Store } from '../../src/store/index.js';

/**
 * A store that may fail, in a process whose limits the test sets: argv is its folder. It takes commands as messages and
 * answers each with one; a change of the store's health comes as a message too.
 */
const [path = ''] = process.argv.slice(2);
const logged: string[] = [];
const unhandled: string[] = [];
process.on('unhandledRejection', (reason) => unhandled.push(String(reason)));
const log = createLog({}, (line) => logged.push((JSON.parse(line) as { event: string }).event));
const tell = (kind: 'reply' | 'health', value: unknown): void => void process.send?.({ kind, value });

const store: Store = openStore(path, { log, retryMs: 50, exposureBufferLimit: 5, allowUnwritable: true });
store.onHealth((health) => {
  tell('health', health);
});

function expose(count: number): boolean[] {
  const exposure = { timeMs: 1, experiment: 'e', arm: 'a', pipeline: 'p', variant: 'v', forced: false };
  return Array.from({ length: count }, (_, index) =>
    store.appendExposure({ ...exposure, requestId: `r${String(index)}`, items: ['i1'] }),
  );
}

const commands: Readonly<Record<string, (argument: string) => unknown>> = {
  expose: (count) => expose(Number(count)),
  append: (user) => store.appendEvents([{ id: `${user}-event`, user, item: 'new', type: 'click' }]),
  history: (user) => store.history(user) ?? null,
  exposures: () => Array.from(store.exposures(), ({ value }) => value.requestId),
  report: () => ({ health: store.health(), logged, unhandled }),
  close: () => store.close(),
};

process.on('message', ([name, argument]: [string, string]) => {
  Promise.resolve(commands[name]?.(argument)).then(
    (value) => {
      tell('reply', value);
    },
    (thrown: unknown) => {
      tell('reply', toWhittleError(thrown).code);
    },
  );
});
tell('health', store.health());

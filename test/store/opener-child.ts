import { WhittleError } from '../../src/core/index.js';
import { openStore } from '../../src/store/index.js';

/** Opens the store at each path it is sent, reads all of it, writes, and answers with what it read, or the error. */
async function tryToOpen(path: string): Promise<object> {
  try {
    const store = openStore(path);
    const { users } = store.counts();
    const events = Array.from(store.events()).length;
    let items = 0;
    for (let user = 0; user < 3000; user++) items += store.history(`u${String(user)}`)?.length ?? 0;
    await store.appendEvents([{ id: 'probe', user: 'probe', item: 'i', type: 'view' }]);
    await store.close();
    return { users, items, events };
  } catch (thrown) {
    if (!(thrown instanceof WhittleError)) throw thrown;
    return { code: thrown.code, message: thrown.message, path: thrown.details['path'] };
  }
}

process.on('message', (path: string) => {
  void tryToOpen(path).then((outcome) => process.send?.(outcome));
});

import { WhittleError } from '../../src/core/index.js';
import { openStore } from '../../src/store/index.js';

/** Opens the store at each path it is sent, writes, and answers with the number of users, or the error. */
async function tryToOpen(path: string): Promise<object> {
  try {
    const store = openStore(path);
    const { users } = store.counts();
    await store.appendEvents([{ id: 'probe', user: 'probe', item: 'i', type: 'view' }]);
    await store.close();
    return { users };
  } catch (thrown) {
    if (!(thrown instanceof WhittleError)) throw thrown;
    return { code: thrown.code, message: thrown.message, path: thrown.details['path'] };
  }
}

process.on('message', (path: string) => {
  void tryToOpen(path).then((outcome) => process.send?.(outcome));
});

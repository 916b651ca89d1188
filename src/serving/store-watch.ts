import { must } from '../core/index.js';
import type { Experiments } from '../experiments/index.js';
import type { Store, StoreHealth } from '../store/index.js';
import type { Generation } from './generation.js';

/**
 * Experiments run only while their answers can be logged: they pause when the store's writes fail, and go on when they
 * work again.
 * @param onRecovered called then.
 */
export function pauseWhileFailing(store: Store, experiments: Experiments, onRecovered: () => void): void {
  const follow = ({ failing }: StoreHealth): void => {
    if (failing !== undefined) {
      const since = new Date(failing.sinceMs).toISOString();
      experiments.pause(`the event store takes no writes since ${since}: ${failing.reason}`);
    } else if (experiments.paused() !== undefined) {
      experiments.resume();
      onRecovered();
    }
  };
  store.onHealth(follow);
  follow(store.health());
}

/**
 * Gives users the histories of the bundle, once for each state of its users' file. Does nothing while the store's
 * writes fail: it is to be called again when they work.
 */
export async function seedHistories(
  store: Store,
  { bundle: { manifest }, users }: Generation,
): Promise<void> {
  if (manifest.users === undefined) return;
  const { sha256 } = must(manifest.files[manifest.users.file], 'users file');
  try {
    await store.seedHistories(sha256, users);
  } catch (thrown) {
    if (store.health().failing === undefined) throw thrown;
  }
}

import { must } from '../core/index.js';
import type { OpenBundle } from './bundle.js';
import { trialsOf } from './trials.js';

/**
 * What each runner of a bundle is opened with, by the name of its variant or retriever: its settings and the
 * identities of its files. A runner with the key of another would serve exactly what that one serves.
 * @param variants default: all.
 */
export function runnerKeys(
  bundle: OpenBundle,
  threads: number,
  variants: readonly string[] | undefined,
): ReadonlyMap<string, string> {
  const trials = trialsOf(bundle, threads, variants);
  return new Map(
    trials.map(({ name, entry, spec, files }) => {
      const identities = files.map((file) => must(bundle.verified.get(file), `identity of ${file}`));
      return [name, JSON.stringify([entry, spec, identities])];
    }),
  );
}

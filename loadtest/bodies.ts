import { createRandom, must, shuffle, WhittleError } from '../src/core/index.js';
import type { LoadedEndpoint } from './options.js';

export interface BodySource {
  readonly endpoint: LoadedEndpoint;
  /** Users whom the server knows a history of. May be empty for search. */
  readonly users: readonly string[];
  /** Search only. */
  readonly queries: readonly string[];
  readonly k: number;
  readonly seed: number;
}

/**
 * JSON bodies in a seeded order: for recommend one a user, for search as many as there are users or queries, whichever
 * are more, the fewer repeated.
 *
 * @throws INPUT_INVALID where there is nobody or nothing to ask for.
 */
export function createBodies({ endpoint, users, queries, k, seed }: BodySource): readonly string[] {
  const shuffledUsers = shuffled(users, seed);
  if (endpoint === 'recommend') {
    requireSome(users, 'users', 'the bundle brings no users; load --endpoint search or another bundle');
    return shuffledUsers.map((user) => JSON.stringify({ user, k }));
  }
  requireSome(queries, 'queries', 'give --queries with one query a line');
  const shuffledQueries = shuffled(queries, seed);
  return Array.from({ length: Math.max(users.length, queries.length) }, (_, place) => {
    const user = shuffledUsers[place % Math.max(1, users.length)];
    const query = must(shuffledQueries[place % queries.length], 'query');
    return JSON.stringify({ query, ...(user === undefined ? {} : { user }), k });
  });
}

/** Answers the bodies one after the other, from the first again after the last; each phase takes a fresh one. */
export function cycle(bodies: readonly string[]): () => string {
  let place = 0;
  return () => must(bodies[place++ % bodies.length], 'body');
}

function shuffled(values: readonly string[], seed: number): readonly string[] {
  const order = shuffle(Array.from(values.keys()), createRandom(seed));
  return order.map((place) => must(values[place], 'value'));
}

function requireSome(values: readonly string[], field: string, advice: string): void {
  if (values.length > 0) return;
  throw new WhittleError('INPUT_INVALID', `There are no ${field} to draw requests from: ${advice}`, {
    field,
  });
}

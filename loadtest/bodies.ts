import { createRandom, must, shuffle, WhittleError } from '../src/core/index.js';
import type { LoadedEndpoint } from './options.js';

export interface BodySource {
  readonly endpoint: Exclude<LoadedEndpoint, 'rank'>;
  /** Users whom the server knows a history of. May be empty for search. */
  readonly users: readonly string[];
  /** Search only. */
  readonly queries: readonly string[];
  readonly k: number;
  readonly seed: number;
}

/**
 * JSON bodies: for recommend one a user, for search as many as there are users or queries, whichever are more, the
 * fewer repeated, in pairs that the seed decides.
 *
 * @throws INPUT_INVALID where there is nobody or nothing to ask for.
 */
export function createBodies({ endpoint, users, queries, k, seed }: BodySource): readonly string[] {
  if (endpoint === 'recommend') {
    requireSome(users, 'users', 'the bundle brings no users; load --endpoint search or another bundle');
    return users.map((user) => JSON.stringify({ user, k }));
  }
  requireSome(queries, 'queries', 'give --queries with one query a line');
  const shuffledQueries = shuffled(queries, seed);
  return Array.from({ length: Math.max(users.length, queries.length) }, (_, place) => {
    const user = users[place % Math.max(1, users.length)];
    const query = must(shuffledQueries[place % queries.length], 'query');
    return JSON.stringify({ query, ...(user === undefined ? {} : { user }), k });
  });
}

/**
 * Answers every body once a pass, each pass in an order of its own that the seed decides. Each phase takes a fresh one,
 * so that all phases send the same sequence. With one order for all passes the sequence would be periodic, and a
 * server that compares every nth answer would meet the same few users again and again.
 */
export function drawInPasses(bodies: readonly string[], seed: number): () => string {
  const random = createRandom(seed).fork('passes');
  const order = Array.from(bodies.keys());
  let place = order.length;
  return () => {
    if (place === order.length) {
      shuffle(order, random);
      place = 0;
    }
    return must(bodies[must(order[place++], 'place')], 'body');
  };
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

import { describe, expect, test } from 'vitest';
import { createBodies, drawInPasses } from '../../loadtest/bodies.js';
import { errorCode } from '../support/error-code.js';

const users = Array.from({ length: 50 }, (_, place) => `u${place}`);
const source = { endpoint: 'recommend', users, queries: [], k: 7, seed: 1 } as const;

describe('createBodies', () => {
  test('asks for every user once', () => {
    const bodies = createBodies(source).map((body) => JSON.parse(body) as { user: string; k: number });
    expect(bodies).toEqual(users.map((user) => ({ user, k: 7 })));
  });

  test('pairs queries with users until the longer list is used up', () => {
    const searches = (people: readonly string[], queries: readonly string[]): Record<string, unknown>[] =>
      createBodies({ ...source, endpoint: 'search', users: people, queries }).map(
        (body) => JSON.parse(body) as Record<string, unknown>,
      );
    const few = searches(users, ['red', 'blue']);
    expect(new Set(few.map(({ user }) => user)).size).toBe(50);
    expect(few.filter(({ query }) => query === 'red')).toHaveLength(25);
    expect(searches(['u1'], ['red', 'blue', 'green'])).toHaveLength(3);
    expect(searches([], ['red'])).toEqual([{ query: 'red', k: 7 }]);
  });

  test('says what is missing', () => {
    expect(errorCode(() => createBodies({ ...source, users: [] }))).toBe('INPUT_INVALID');
    expect(errorCode(() => createBodies({ ...source, endpoint: 'search' }))).toBe('INPUT_INVALID');
  });
});

describe('drawInPasses', () => {
  const take = (count: number, seed: number): string[] => {
    const next = drawInPasses(users, seed);
    return Array.from({ length: count }, next);
  };

  test('sends each body once a pass, every pass in another order, which the seed decides', () => {
    const drawn = take(150, 1);
    const passes = [drawn.slice(0, 50), drawn.slice(50, 100), drawn.slice(100)];
    for (const pass of passes) expect(pass.toSorted()).toEqual(users.toSorted());
    expect(new Set([users, ...passes].map(String)).size).toBe(4);
    expect(take(150, 1)).toEqual(drawn);
    expect(take(150, 2)).not.toEqual(drawn);
  });

  // With one order for all passes every 50th of 50 users is the same one.
  test('has no period that regular sampling could fall in step with', () => {
    const sampled = take(50 * 200, 1).filter((_, place) => place % 50 === 0);
    expect(new Set(sampled).size).toBeGreaterThan(40);
  });
});

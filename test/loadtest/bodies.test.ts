import { describe, expect, test } from 'vitest';
import { createBodies, cycle } from '../../loadtest/bodies.js';
import { errorCode } from '../support/error-code.js';

const users = Array.from({ length: 50 }, (_, place) => `u${place}`);
const source = { endpoint: 'recommend', users, queries: [], k: 7, seed: 1 } as const;

describe('createBodies', () => {
  test('asks for every user once, in a shuffled order that the seed decides', () => {
    const bodies = createBodies(source).map((body) => JSON.parse(body) as { user: string; k: number });
    const order = bodies.map(({ user }) => user);
    expect(bodies.every(({ k }) => k === 7)).toBe(true);
    expect(order.toSorted()).toEqual(users.toSorted());
    expect(order).not.toEqual(users);
    expect(createBodies(source)).toEqual(createBodies(source));
    expect(createBodies({ ...source, seed: 2 })).not.toEqual(createBodies(source));
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

test('cycle starts again after the last', () => {
  const next = cycle(['a', 'b']);
  expect([next(), next(), next()]).toEqual(['a', 'b', 'a']);
});

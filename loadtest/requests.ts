import { createRandom, must, WhittleError } from '../src/core/index.js';
import { createBodies } from './bodies.js';
import { weightedDraw } from './generator/draw.js';
import type { RequestTemplate } from './generator/plan.js';
import { getJson, postJson } from './http-client.js';
import type { LoadedEndpoint, LoadOptions } from './options.js';
import { queriesFor } from './request-source.js';

/** The requests of an open loop and what they are made of. */
export interface LoadRequests {
  readonly requests: readonly RequestTemplate[];
  readonly users: number;
  readonly queries: number;
  /** Share of the recommend and rank traffic that the tenth of the users with most events brings. */
  readonly topTenthShare: number;
}

/** `GET /v1/users`: ids, and how many events the history of each holds. */
interface KnownUsers {
  readonly users: readonly string[];
  readonly events: readonly number[];
}

/** Users whose recommended items become what the rank requests order. */
const RANK_USERS = 200;
const RANK_ITEMS = 100;

/**
 * Asks the server for its users and makes the requests of the mix. Users are drawn in proportion to their events, so
 * that traffic is as skewed as it was in the data; queries are drawn evenly; rank requests order what a recommendation
 * of 100 items found for the same user.
 *
 * @throws INPUT_INVALID where there is nobody or nothing to ask for; what the server answers.
 */
export async function prepareLoad(origin: string, options: LoadOptions): Promise<LoadRequests> {
  const known = await getJson<KnownUsers>(origin, `/v1/users?limit=${options.users}`);
  const searches = options.mix.some(({ endpoint }) => endpoint === 'search');
  const queries = searches ? await queriesFor(origin, options.queries, known.users) : [];
  const makers: Record<
    LoadedEndpoint,
    () => Promise<readonly RequestTemplate[]> | readonly RequestTemplate[]
  > = {
    recommend: () => recommendRequests(known, options),
    search: () => searchRequests(known, queries, options),
    rank: () => rankRequests(origin, known, options),
  };
  const requests: RequestTemplate[] = [];
  for (const { endpoint, share } of options.mix) requests.push(...withTotal(await makers[endpoint](), share));
  return {
    requests,
    users: known.users.length,
    queries: queries.length,
    topTenthShare: topTenthShare(known.events),
  };
}

/** The same requests with weights whose sum is `total`. */
function withTotal(requests: readonly RequestTemplate[], total: number): RequestTemplate[] {
  const sum = requests.reduce((all, { weight }) => all + weight, 0);
  return requests.map((request) => ({ ...request, weight: (request.weight / sum) * total }));
}

function recommendRequests(
  { users, events }: KnownUsers,
  { k, seed }: LoadOptions,
): readonly RequestTemplate[] {
  return createBodies({ endpoint: 'recommend', users, queries: [], k, seed }).map((body, place) => ({
    path: '/v1/recommend',
    body,
    weight: must(events[place], 'events of the user'),
  }));
}

function searchRequests(
  { users, events }: KnownUsers,
  queries: readonly string[],
  { k, seed }: LoadOptions,
): readonly RequestTemplate[] {
  const bodies = createBodies({ endpoint: 'search', users, queries, k, seed });
  return bodies.map((body, place) => ({
    path: '/v1/search',
    body,
    weight: users.length === 0 ? 1 : must(events[place % users.length], 'events of the user'),
  }));
}

/** Users are drawn by their events here, so that those who come again and again are among them. */
async function rankRequests(
  origin: string,
  { users, events }: KnownUsers,
  { seed }: LoadOptions,
): Promise<readonly RequestTemplate[]> {
  if (users.length === 0)
    throw new WhittleError('INPUT_INVALID', 'There are no users to rank items for: leave rank out of --mix');
  const draw = weightedDraw(events, createRandom(seed).fork('rank users'));
  const places = new Set(Array.from({ length: RANK_USERS }, draw));
  const requests: RequestTemplate[] = [];
  for (const place of places) {
    const user = must(users[place], 'user');
    const { items } = await postJson<{ readonly items: readonly { readonly id: string }[] }>(
      origin,
      '/v1/recommend',
      JSON.stringify({ user, k: RANK_ITEMS }),
    );
    const body = JSON.stringify({ user, items: items.map(({ id }) => id) });
    requests.push({ path: '/v1/rank', body, weight: must(events[place], 'events of the user') });
  }
  return requests;
}

function topTenthShare(events: readonly number[]): number {
  const descending = events.toSorted((a, b) => b - a);
  const sum = (values: readonly number[]): number => values.reduce((all, value) => all + value, 0);
  return sum(descending.slice(0, Math.ceil(descending.length / 10))) / Math.max(1, sum(descending));
}

import { readFile } from 'node:fs/promises';
import { WhittleError } from '../src/core/index.js';
import { createBodies } from './bodies.js';
import { getJson, postJson } from './http-client.js';
import type { LoadedEndpoint, LoadOptions } from './options.js';

/** The bodies of a run and how many users and queries they come from. */
export interface RequestSource {
  readonly bodies: readonly string[];
  readonly users: number;
  readonly queries: number;
}

/** Recommendations whose titles become queries. */
const TITLE_REQUESTS = 50;
const TITLES_PER_REQUEST = 10;
/** What the server takes at most. */
const MAX_QUERY_CHARACTERS = 512;

/**
 * Asks the server for users whom it knows, and makes the bodies of all requests.
 *
 * @throws NOT_FOUND where the server has no `GET /v1/users`; INPUT_INVALID where there is nobody or nothing to ask for.
 */
export async function prepareRequests(
  origin: string,
  endpoint: Exclude<LoadedEndpoint, 'rank'>,
  options: LoadOptions,
): Promise<RequestSource> {
  const { k, seed } = options;
  const { users } = await getJson<{ users: readonly string[] }>(origin, `/v1/users?limit=${options.users}`);
  const queries = endpoint === 'search' ? await queriesFor(origin, options.queries, users) : [];
  const bodies = createBodies({ endpoint, users, queries, k, seed });
  return { bodies, users: users.length, queries: queries.length };
}

/**
 * The queries of the file at `path`, one a line, or where it is absent titles of what these users are recommended.
 *
 * @throws FILE_MISSING.
 */
export async function queriesFor(
  origin: string,
  path: string | undefined,
  users: readonly string[],
): Promise<readonly string[]> {
  if (path === undefined) return recommendedTitles(origin, users.slice(0, TITLE_REQUESTS));
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new WhittleError('FILE_MISSING', `The file of queries ${path} cannot be read`, { path }, cause);
  });
  return usable(text.split('\n'));
}

/** Titles that these users are recommended: words that the catalogue has. */
async function recommendedTitles(origin: string, users: readonly string[]): Promise<readonly string[]> {
  interface Answer {
    readonly items: readonly { readonly title?: string }[];
  }
  const titles: string[] = [];
  for (const user of users) {
    const body = JSON.stringify({ user, k: TITLES_PER_REQUEST });
    const { items } = await postJson<Answer>(origin, '/v1/recommend', body);
    titles.push(...items.map(({ title = '' }) => title));
  }
  return usable(titles);
}

/** Without blanks and repetitions, no longer than the server takes. */
function usable(lines: readonly string[]): readonly string[] {
  const queries = lines
    .map((line) => line.slice(0, MAX_QUERY_CHARACTERS).trim())
    .filter((line) => line !== '');
  return [...new Set(queries)];
}

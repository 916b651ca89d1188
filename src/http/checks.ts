import { WhittleError } from '../core/index.js';
import type { RankBody, RecommendBody, SearchBody } from './schemas/requests.js';

/** What a schema cannot say well: which fields a body needs together. @throws INPUT_INVALID naming the field. */

/** A recommendation follows from a user's stored history or from a given one that is not empty. */
export function checkRecommend({ user, history }: RecommendBody): void {
  if (user !== undefined || (history ?? []).length > 0) return;
  throw refused('history', history, 'user, or a history of at least one item');
}

/** A search is by text or by vector. */
export function checkSearch({ query, queryVector }: SearchBody): void {
  if (query !== undefined && queryVector !== undefined)
    throw refused('queryVector', undefined, 'exactly one of query and queryVector');
  if (query === undefined && queryVector === undefined)
    throw refused('query', undefined, 'exactly one of query and queryVector');
  checkNotBlank(query);
}

/** An order needs something to order by. */
export function checkRank({ user, history, query, queryVector, inputs }: RankBody): void {
  checkNotBlank(query);
  if ([user, query, queryVector, inputs].some((given) => given !== undefined)) return;
  if ((history ?? []).length > 0) return;
  throw refused('user', undefined, 'user, history, query, queryVector or inputs');
}

function checkNotBlank(query: string | undefined): void {
  if (query?.trim() === '') throw refused('query', query, 'text that is not blank');
}

function refused(field: string, value: unknown, allowed: string): WhittleError {
  return new WhittleError('INPUT_INVALID', `body: field ${field} is wrong; allowed: ${allowed}`, {
    field,
    ...(value === undefined ? {} : { value }),
    allowed,
  });
}

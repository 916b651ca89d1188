import type { RankRequest, RecommendRequest, SearchRequest, UserEvent } from '../../serving/index.js';
import {
  closedObject,
  history,
  id,
  includeSeen,
  inputs,
  items,
  k,
  query,
  queryVector,
  REQUEST_ID_PATTERN,
  timeMs,
  user,
} from './fields.js';

/** What the server adds to a body to make it a request of the engine. */
type Added = 'requestId' | 'forcedPipeline';
export type RecommendBody = Omit<RecommendRequest, Added>;
export type SearchBody = Omit<SearchRequest, Added>;
export type RankBody = Omit<RankRequest, Added>;
export interface EventsBody {
  readonly events: readonly UserEvent[];
}
export interface UsersQuery {
  readonly limit: number;
}

const common = { user, history, inputs, timeMs };

export const recommendBody = {
  ...closedObject({ ...common, k, includeSeen }, []),
  description: 'Needs user or history; the history given here wins over the stored one.',
  examples: [{ user: 'u1', k: 10 }],
};

export const searchBody = {
  ...closedObject({ ...common, query, queryVector, k }, []),
  description: 'Needs exactly one of query and queryVector.',
  examples: [{ query: 'warm winter jacket', k: 10 }],
};

export const rankBody = {
  ...closedObject({ ...common, items, query, queryVector }, ['items']),
  description: 'Needs items and what to order them by: user, history, query, queryVector or inputs.',
  examples: [{ user: 'u1', items: ['i1', 'i2', 'i3'] }],
};

const event = closedObject(
  {
    id: { ...id, description: 'An event that comes again under its id changes nothing.' },
    user,
    item: id,
    type: {
      type: 'string',
      minLength: 1,
      maxLength: 64,
      description: 'For example click, purchase, rating. All but view extend the history.',
    },
    value: { type: 'number' },
    requestId: {
      type: 'string',
      pattern: REQUEST_ID_PATTERN,
      description: 'The answer that showed the item.',
    },
    timeMs,
  },
  ['id', 'user', 'item', 'type'],
);

export const eventsBody = {
  ...closedObject({ events: { type: 'array', minItems: 1, maxItems: 1_000, items: event } }),
  description: 'An array of events may be sent as it is, too.',
  examples: [{ events: [{ id: 'e1', user: 'u1', item: 'i1', type: 'click' }] }],
};

export const usersQuery = closedObject(
  { limit: { type: 'integer', minimum: 1, maximum: 10_000, default: 1_000 } },
  [],
);

/** Headers that the ranking routes read; others pass. */
export const rankingHeaders = {
  type: 'object',
  properties: {
    'x-whittle-pipeline': {
      type: 'string',
      description:
        'Pipeline to use instead of what the experiment decides, for testing. Marked in the answer.',
    },
    'x-whittle-bundle': {
      type: 'string',
      description: 'For a binary body: bundleVersion that its rows were read from; another one is refused.',
    },
    'x-request-id': {
      type: 'string',
      description: `Id of the request where it matches ${REQUEST_ID_PATTERN}; else one is generated.`,
    },
  },
};

import { WhittleError } from '../core/index.js';
import type { Store } from '../store/index.js';
import type { OpenBundle } from './bundle.js';
import type { PipelineRequest } from './pipeline.js';
import type { RankRequest, RecommendRequest, SearchRequest } from './types.js';

export type AnyRequest = RecommendRequest | SearchRequest | RankRequest;

const NONE: ReadonlySet<number> = new Set();

/**
 * A request with its ids as rows of the catalogue and its history at hand.
 * @param deadlineAt on the `performance.now()` clock.
 * @throws ITEM_UNKNOWN
 */
export function prepareRequest(
  { catalogue }: OpenBundle,
  store: Store,
  request: AnyRequest,
  k: number,
  deadlineAt: number,
): PipelineRequest {
  const history =
    request.history === undefined
      ? storedHistory(catalogue, store, request.user)
      : rowsOf(catalogue, request.history, (place) => `history.${place}`);
  const query = 'query' in request ? request.query : undefined;
  const queryVector = 'queryVector' in request ? request.queryVector : undefined;
  return {
    k,
    history,
    timeSeconds: (request.timeMs ?? Date.now()) / 1000,
    inputs: { ...request.inputs, ...(queryVector === undefined ? {} : { query_vector: queryVector }) },
    ...(query === undefined ? {} : { query }),
    deadlineAt,
    exclude: request.includeSeen === true || 'items' in request ? NONE : new Set(history),
  };
}

/** Items that left the catalogue since are passed over. */
function storedHistory(
  catalogue: OpenBundle['catalogue'],
  store: Store,
  user: string | undefined,
): readonly number[] {
  const rows: number[] = [];
  for (const id of (user === undefined ? undefined : store.history(user)) ?? []) {
    const row = catalogue.rowOf(id);
    if (row !== undefined) rows.push(row);
  }
  return rows;
}

/** Rows of items. @param fieldAt names the place of an id in the request. @throws ITEM_UNKNOWN */
export function rowsOf(
  catalogue: OpenBundle['catalogue'],
  ids: readonly string[],
  fieldAt: (place: number) => string,
): number[] {
  return ids.map((id, place) => {
    const row = catalogue.rowOf(id);
    if (row !== undefined) return row;
    const field = fieldAt(place);
    throw new WhittleError('ITEM_UNKNOWN', `${field}: item ${id} is not in the catalogue`, {
      field,
      value: id,
      allowed: 'an item id of the catalogue',
    });
  });
}

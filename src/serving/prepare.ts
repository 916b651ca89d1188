import { WhittleError } from '../core/index.js';
import type { Store } from '../store/index.js';
import type { OpenBundle } from './bundle.js';
import type { PipelineRequest } from './pipeline.js';
import type { RankRequest, RankRowsRequest, RecommendRequest, SearchRequest } from './types.js';

export type AnyRequest = RecommendRequest | SearchRequest | RankRequest | RankRowsRequest;

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
  const history = historyOf(catalogue, store, request);
  const query = 'query' in request ? request.query : undefined;
  const queryVector = 'queryVector' in request ? request.queryVector : undefined;
  return {
    k,
    history,
    timeSeconds: (request.timeMs ?? Date.now()) / 1000,
    inputs: { ...request.inputs, ...(queryVector === undefined ? {} : { query_vector: queryVector }) },
    ...(query === undefined ? {} : { query }),
    deadlineAt,
    exclude:
      request.includeSeen === true || 'items' in request || 'rows' in request ? NONE : new Set(history),
  };
}

/** The history that the request carries, else the stored one. */
function historyOf(catalogue: OpenBundle['catalogue'], store: Store, request: AnyRequest): readonly number[] {
  if ('rows' in request && request.historyRows !== undefined)
    return checkedRows(catalogue, request.historyRows, 'history');
  if (request.history === undefined) return storedHistory(catalogue, store, request.user);
  return rowsOf(catalogue, request.history, (place) => `history.${place}`);
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

/** Rows that a request names by themselves. @throws ITEM_UNKNOWN naming the place of the first that is not there. */
export function checkedRows(
  { rows: count }: OpenBundle['catalogue'],
  rows: Uint32Array,
  field: string,
): number[] {
  const wrong = rows.findIndex((row) => row >= count);
  if (wrong === -1) return Array.from(rows);
  const place = `${field}.${wrong}`;
  throw new WhittleError('ITEM_UNKNOWN', `${place}: the catalogue has ${count} rows`, {
    field: place,
    value: rows[wrong],
    allowed: `a row from 0 to ${count - 1}`,
  });
}

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { completeConfig, must, silentLog, type Contract } from '../../core/index.js';
import { openEngine, type Answer, type RankRequest, type SearchRequest } from '../../serving/index.js';
import type { ItemTable } from './item-table.js';
import type { ItemVectors } from './vectors-file.js';

type SearchBody = Omit<SearchRequest, 'requestId'>;
type RankBody = Omit<RankRequest, 'requestId'>;

/** Bodies of requests that the created bundle answers. */
export interface ExampleRequests {
  /** Absent where nothing retrieves. */
  readonly search?: SearchBody;
  readonly rank: RankBody;
}

/** Items that the example ranks, and those of its history. */
const RANKED_ITEMS = 8;
const HISTORY_ITEMS = 3;
/** For the runners of a busy machine. */
const PATIENCE_MS = 30_000;

/**
 * Requests with the first item's own vector or title as the query, the first items as the history, and zeros for what
 * else the request must carry.
 */
export function exampleRequests(
  contract: Contract,
  items: ItemTable,
  vectors: ItemVectors | undefined,
): ExampleRequests {
  const ids = must(items.columns[items.idColumn], 'ids') as readonly string[];
  const common = { ...historyOf(contract, ids), ...inputsOf(contract) };
  const query = queryOf(items, vectors);
  const rank = { items: ids.slice(0, RANKED_ITEMS), ...query, ...common };
  const orders = Object.keys(rank).length > 1;
  return {
    ...(query === undefined ? {} : { search: { ...query, k: 10, ...common } }),
    // A request to rank says what to order by, even where the model looks at the items alone.
    rank: orders ? rank : { ...rank, user: 'u1' },
  };
}

function queryOf(
  items: ItemTable,
  vectors: ItemVectors | undefined,
): { queryVector: number[] } | { query: string } | undefined {
  if (vectors !== undefined) {
    // Nine digits give the same float32 again.
    const own = vectors.values.subarray(0, vectors.dimensions);
    return { queryVector: Array.from(own, (value) => Number(value.toPrecision(9))) };
  }
  const words = items.textColumns.map((column) => items.columns[column]?.[0]).find((text) => text !== '');
  return words === undefined ? undefined : { query: String(words).slice(0, 100) };
}

function historyOf({ inputs }: Contract, ids: readonly string[]): { history?: string[] } {
  const needed = inputs.some(({ source }) => source.from === 'history');
  return needed ? { history: ids.slice(-HISTORY_ITEMS) } : {};
}

function inputsOf({ inputs }: Contract): { inputs?: Record<string, number | number[]> } {
  const fields = inputs.flatMap(({ source, dims }) => {
    if (source.from !== 'request' || source.field === 'query_vector') return [];
    const width = dims.slice(1).reduce<number>((product, dim) => product * Number(dim), 1);
    return [[source.field, width === 1 ? 0 : new Array<number>(width).fill(0)] as const];
  });
  return fields.length === 0 ? {} : { inputs: Object.fromEntries(fields) };
}

/**
 * Answers one request with the bundle as the server would: its engine, its runners, a store for the occasion.
 * @throws what opening the engine and the request throw.
 */
export async function answerOnce(directory: string, { search, rank }: ExampleRequests): Promise<Answer> {
  const store = await mkdtemp(join(tmpdir(), 'whittle-check-'));
  const config = completeConfig({
    bundle: directory,
    server: { deadlineMs: PATIENCE_MS },
    runners: { hangTimeoutMs: PATIENCE_MS },
    overload: { adaptive: false },
    store: { path: store },
    shadow: { share: 0 },
  });
  try {
    const engine = await openEngine({ config, log: silentLog });
    try {
      return search === undefined
        ? await engine.rank({ ...rank, requestId: 'check' })
        : await engine.search({ ...search, requestId: 'check' });
    } finally {
      await engine.close();
    }
  } finally {
    await rm(store, { recursive: true, force: true });
  }
}

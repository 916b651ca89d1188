import { join } from 'node:path';
import { WhittleError, type IndexSpec, type OpenSession } from '../../core/index.js';
import { annRecallAtK, buildHnswIndex, openFlatIndex, type VectorIndex } from '../../retrieval/index.js';
import type { Output } from '../output.js';

const GRAPH = { m: 16, efConstruction: 200 };
/** Ways to link the graph, and breadths of search, in the order they are tried: narrow and fast first. */
const ATTEMPTS = (['l2', 'ip'] as const).flatMap((space) =>
  [400, 1_200].map((efSearch) => ({ space, efSearch })),
);
/** Below this recall a graph would cost more relevance than compression does. */
const LEAST_RECALL = 0.99;

export interface ItemIndex {
  /** float32 `[items, dimensions]`, already written to the bundle as `file`. */
  readonly vectors: Float32Array;
  readonly dimensions: number;
  readonly file: string;
  /** User vectors to measure recall with, float32 `[users, dimensions]`. */
  readonly queries: Float32Array;
  /** Candidates that pipelines ask for. */
  readonly k: number;
}

/**
 * Builds a graph index and measures on users what it finds of the exact nearest items. Where no breadth of search finds
 * 99 %, or hnswlib-node is not installed, exact search is taken, and said so.
 */
export async function writeIndex(
  directory: string,
  index: ItemIndex,
  openSession: OpenSession,
  output: Output,
): Promise<IndexSpec> {
  const { vectors, dimensions, file, k } = index;
  const exact: IndexSpec = { kind: 'flat', metric: 'dot', dimensions, vectors: file };
  const graphFile = 'indexes/items.hnsw';
  try {
    let best = 0;
    for (const { space, efSearch } of ATTEMPTS) {
      const graph = await buildHnswIndex(vectors, { dimensions, metric: 'dot', ...GRAPH, efSearch, space });
      const recall = await measureRecall(graph, index, openSession);
      output.note(
        `graph index by ${space}, efSearch ${efSearch}: finds ${(100 * recall).toFixed(2)} % of the exact ${k} nearest`,
      );
      best = Math.max(best, recall);
      if (recall < LEAST_RECALL) continue;
      await graph.save(join(directory, graphFile));
      return { ...exact, kind: 'hnsw', file: graphFile, ...GRAPH, efSearch, space, recall: { k, recall } };
    }
    output.note('no graph is good enough: exact search it is');
    return { ...exact, recall: { k, recall: best } };
  } catch (thrown) {
    if (!(thrown instanceof WhittleError && thrown.code === 'PACKAGE_MISSING')) throw thrown;
    output.note(`${thrown.message}: exact search it is`);
  }
  return exact;
}

async function measureRecall(
  graph: VectorIndex,
  { vectors, dimensions, queries, k }: ItemIndex,
  openSession: OpenSession,
): Promise<number> {
  const flat = await openFlatIndex(vectors, dimensions, 'dot', openSession);
  const recall = await annRecallAtK(graph, flat, queries, Math.min(k, vectors.length / dimensions));
  await flat.release();
  return recall;
}

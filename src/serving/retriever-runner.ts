/** Entry script of a retriever's runner: a tower and an index, an index alone, or a text index. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  float32Data,
  must,
  WhittleError,
  type IndexSpec,
  type RetrieverSpec,
  type Tensor,
  type TensorMap,
} from '../core/index.js';
import {
  decodeTextIndex,
  openTextIndex,
  openVectorIndex,
  type SearchResult,
  type VectorIndex,
} from '../retrieval/index.js';
import {
  hostRunner,
  openSession,
  type HostedRunner,
  type RunnerRequest,
  type RunnerResponse,
} from '../runtime/index.js';
import { checkContract, checkOutput, outputOf } from './contract-check.js';
import { checkVerifiedPart, type VerifiedPart } from './verified-part.js';

/** What the gateway passes at the start. */
export interface RetrieverRunnerSpec {
  /** Absolute path of the bundle. */
  readonly directory: string;
  readonly retriever: RetrieverSpec;
  readonly rows: number;
  readonly threads: number;
  readonly verified?: VerifiedPart;
}

/** Vectors `[requests, dimensions]` of a batch: the tower's output, or what the requests brought. */
type Embed = (tensors: TensorMap) => Promise<Tensor>;

async function openTower({ directory, retriever, threads }: RetrieverRunnerSpec): Promise<Embed> {
  if (retriever.kind !== 'tower') return (tensors) => Promise.resolve(must(tensors['vector'], 'vector'));
  const path = join(directory, retriever.file);
  const session = await openSession(path, { threads, flushDenormals: true });
  checkContract(path, session.inputs, retriever.inputs);
  checkOutput(path, session.outputs, retriever.output);
  return async (tensors) => {
    const requests = Math.max(...Object.values(tensors).map(({ dims }) => dims[0] ?? 1));
    const outputs = await session.run(tensors, [retriever.output]);
    return outputOf(path, outputs, retriever.output, requests * retriever.index.dimensions);
  };
}

function answer({ rows, scores }: SearchResult, count: number, k: number): RunnerResponse {
  const dims = [count, k];
  return {
    meta: {},
    tensors: { rows: { dtype: 'int32', dims, data: rows }, scores: { dtype: 'float32', dims, data: scores } },
  };
}

/** The bundle's index; exact search over its vectors, and a note that says so, where the graph's package is missing. */
async function openIndex(
  spec: IndexSpec,
  directory: string,
  rows: number,
): Promise<{ readonly index: VectorIndex; readonly note?: string }> {
  try {
    return { index: await openVectorIndex(spec, directory, rows, openSession) };
  } catch (thrown) {
    if (!(thrown instanceof WhittleError && thrown.code === 'PACKAGE_MISSING')) throw thrown;
    const { metric, dimensions, vectors } = spec;
    const exact: IndexSpec = { kind: 'flat', metric, dimensions, vectors };
    const note = `${thrown.message}; retrieval is exact`;
    return { index: await openVectorIndex(exact, directory, rows, openSession), note };
  }
}

async function openVectorRunner(spec: RetrieverRunnerSpec): Promise<HostedRunner> {
  const { retriever, directory, rows } = spec;
  if (retriever.kind === 'text') throw new WhittleError('INTERNAL', 'A text index has no vectors');
  const embed = await openTower(spec);
  const { index, note } = await openIndex(retriever.index, directory, rows);
  return {
    ...(note === undefined ? {} : { info: { note } }),
    handle: async ({ meta, tensors }: RunnerRequest) => {
      const vectors = await embed(tensors);
      const count = must(vectors.dims[0], 'requests');
      const k = Number(meta['k']);
      return answer(await index.search(float32Data(vectors), count, k), count, k);
    },
    close: () => index.release(),
  };
}

async function openTextRunner(path: string, rows: number): Promise<HostedRunner> {
  const bytes = await readFile(path);
  const index = openTextIndex(decodeTextIndex(bytes));
  if (index.size !== rows) {
    throw new WhittleError(
      'BUNDLE_INVALID',
      `${path} has ${index.size} documents; the catalogue has ${rows} items`,
      { path },
    );
  }
  return {
    handle: ({ meta }: RunnerRequest) => {
      const k = Number(meta['k']);
      const queries = meta['queries'] as readonly string[];
      const result = {
        rows: new Int32Array(queries.length * k).fill(-1),
        scores: new Float32Array(queries.length * k),
      };
      queries.forEach((query, place) => {
        const found = index.search(query, k);
        result.rows.set(found.rows, place * k);
        result.scores.set(found.scores, place * k);
      });
      return Promise.resolve(answer(result, queries.length, k));
    },
  };
}

hostRunner(async (given) => {
  const spec = given as RetrieverRunnerSpec;
  const { retriever, directory, rows, verified } = spec;
  const runner = await (retriever.kind === 'text'
    ? openTextRunner(join(directory, retriever.file), rows)
    : openVectorRunner(spec));
  await checkVerifiedPart(verified);
  return runner;
});

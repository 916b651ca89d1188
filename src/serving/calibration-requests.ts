import { join } from 'node:path';
import {
  createRandom,
  must,
  shuffle,
  WhittleError,
  type InputBinding,
  type Random,
  type RetrieverSpec,
} from '../core/index.js';
import { readUsers, type UserHistory } from '../data/index.js';
import { readVectors } from '../retrieval/index.js';
import type { OpenBundle } from './bundle.js';
import type { PipelineRequest } from './pipeline.js';

const PATIENCE_MS = 60_000;

/** What one sampled request asks for. */
type Asked = Partial<Pick<PipelineRequest, 'history' | 'query' | 'inputs'>>;

/**
 * At most `count` requests that the retriever understands: for search by vector or text, each with the vector or the
 * title of an item as its query; else known users with their histories, or nothing where there are neither users nor a
 * retriever. What only a client knows is drawn: items of a history the models read, standard normal numbers, integers 0
 * or 1.
 *
 * @param users the bundle's users where they are at hand; read from it otherwise.
 * @throws BUNDLE_INVALID where there is nothing to make requests of.
 */
export async function sampleRequests(
  bundle: OpenBundle,
  retriever: RetrieverSpec | undefined,
  count: number,
  seed: number,
  users?: readonly UserHistory[],
): Promise<PipelineRequest[]> {
  const isSearch = retriever !== undefined && retriever.kind !== 'tower';
  const asked =
    isSearch || bundle.manifest.users === undefined
      ? await queries(bundle, retriever)
      : histories(bundle, users ?? (await readKnownUsers(bundle)));
  const order = shuffle(Int32Array.from(asked.keys()), createRandom(seed));
  const random = createRandom(seed).fork('inputs');
  const deadlineAt = performance.now() + PATIENCE_MS;
  return Array.from(order.subarray(0, count), (place) => {
    const { inputs, query, history } = must(asked[place], 'request');
    return {
      ...(query === undefined ? {} : { query }),
      history: history ?? drawnHistory(bundle, random),
      // Callers say how many candidates they want.
      k: 1,
      deadlineAt,
      timeSeconds: present(bundle),
      exclude: new Set(history ?? []),
      inputs: { ...drawnInputs(bundle, random), ...inputs },
    };
  });
}

/** Users with the histories that a bundle brings; none where it names no file of them. */
export function readKnownUsers({ directory, manifest }: OpenBundle): Promise<readonly UserHistory[]> {
  return manifest.users === undefined ? Promise.resolve([]) : readUsers(join(directory, manifest.users.file));
}

function histories({ catalogue }: OpenBundle, users: readonly UserHistory[]): Asked[] {
  return users
    .map(({ history }) => history.map((id) => catalogue.rowOf(id)).filter((row) => row !== undefined))
    .filter((rows) => rows.length > 0)
    .map((history) => ({ history }));
}

async function queries(bundle: OpenBundle, retriever: RetrieverSpec | undefined): Promise<Asked[]> {
  const { directory, catalogue } = bundle;
  if (retriever === undefined) return Array.from({ length: catalogue.rows }, () => ({}));
  if (retriever.kind === 'vector') {
    const { vectors: file, dimensions } = retriever.index;
    const vectors = await readVectors(join(directory, file), catalogue.rows, dimensions);
    return Array.from({ length: catalogue.rows }, (_, row) => ({
      inputs: { query_vector: Array.from(vectors.subarray(row * dimensions, (row + 1) * dimensions)) },
    }));
  }
  if (retriever.kind === 'text' && catalogue.titles !== undefined)
    return catalogue.titles.map((query) => ({ query }));
  throw new WhittleError(
    'BUNDLE_INVALID',
    'The bundle has neither users nor item vectors nor titles to make calibration requests of',
    { field: 'users' },
  );
}

/** Items of a history drawn for a model that reads one. */
const DRAWN_ITEMS = 10;

function drawnHistory(bundle: OpenBundle, random: Random): number[] {
  const { catalogue } = bundle;
  const isRead = inputsOf(bundle).some(({ source }) => source.from === 'history');
  return Array.from({ length: isRead ? DRAWN_ITEMS : 0 }, () => random.integer(catalogue.rows));
}

/** A value for each input that a request carries. */
function drawnInputs(bundle: OpenBundle, random: Random): Record<string, number[]> {
  return Object.fromEntries(
    inputsOf(bundle).flatMap((binding) =>
      binding.source.from === 'request' ? [[binding.source.field, drawn(binding, random)] as const] : [],
    ),
  );
}

/** Inputs of the rankers and of the towers. */
function inputsOf({ manifest: { contract, retrievers } }: OpenBundle): readonly InputBinding[] {
  const towers = Object.values(retrievers).flatMap((one) => (one.kind === 'tower' ? one.inputs : []));
  return [...(contract?.inputs ?? []), ...towers];
}

function drawn({ dtype, dims }: InputBinding, random: Random): number[] {
  const width = dims.slice(1).reduce<number>((product, dim) => product * Number(dim), 1);
  const isInteger = dtype.startsWith('int');
  return Array.from({ length: width }, () => (isInteger ? random.integer(2) : random.normal()));
}

/** The moment of the last boundary of the contract's periods: the present of the data. */
function present({ manifest }: OpenBundle): number {
  const boundaries =
    manifest.contract?.inputs.flatMap(({ source }) => (source.from === 'time' ? source.boundaries : [])) ??
    [];
  return boundaries.at(-1) ?? 0;
}

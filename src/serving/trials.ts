import { join } from 'node:path';
import {
  elementCount,
  must,
  WhittleError,
  type Contract,
  type RetrieverSpec,
  type Tensor,
} from '../core/index.js';
import { mergeRankJobs, splitScores, type RunnerRequest, type RunnerResponse } from '../runtime/index.js';
import { bindCandidates, bindRequest, type RequestContext } from './binding.js';
import type { OpenBundle } from './bundle.js';
import type { RankerSpec } from './ranker-runner.js';
import type { RetrieverRunnerSpec } from './retriever-runner.js';

/** A runner as it will serve, and a small request that it must answer well before it may. */
export interface Trial {
  /** Name of the variant or retriever. */
  readonly name: string;
  /** The file that a refusal names. */
  readonly file: string;
  /** Every file that it opens, by its name in the bundle. */
  readonly files: readonly string[];
  readonly entry: 'ranker-runner' | 'retriever-runner';
  readonly spec: RankerSpec | RetrieverRunnerSpec;
  readonly request: RunnerRequest;
  /** @throws MODEL_INVALID, CONTRACT_MISMATCH: what is wrong with the answer. */
  readonly check: (response: RunnerResponse) => void;
}

/** Trials of a bundle's retrievers and of the given variants (default: all). */
export function trialsOf(
  bundle: OpenBundle,
  threads: number,
  variants: readonly string[] | undefined,
): readonly Trial[] {
  const served = Object.entries(bundle.manifest.variants).filter(
    ([name]) => variants?.includes(name) ?? true,
  );
  return [
    ...served.map(([name, { file }]) => rankerTrial(bundle, name, file, threads)),
    ...Object.entries(bundle.manifest.retrievers).map(([name, retriever]) =>
      retrieverTrial(bundle, name, retriever, threads),
    ),
  ];
}

/** Two requests of two candidates each. */
function rankerTrial(bundle: OpenBundle, name: string, file: string, threads: number): Trial {
  const { directory, features, models, catalogue } = bundle;
  const contract = must(bundle.manifest.contract, 'contract');
  const { inputs, output } = contract;
  const rows = Int32Array.of(0, catalogue.rows - 1);
  const job = {
    inputs: {
      ...bindRequest(inputs, plainRequest(inputs)),
      ...bindCandidates(inputs, { rows, retrievalScores: new Float32Array(rows.length) }, features),
    },
    rows: rows.length,
  };
  return {
    name,
    file,
    files: must(models.get(file), `model ${file}`).files,
    entry: 'ranker-runner',
    spec: { modelPath: join(directory, file), inputs, output, threads },
    request: { meta: {}, tensors: mergeRankJobs(contract, [job, job]) },
    check: ({ tensors }) => {
      const outcomes = splitScores(must(tensors['scores'], 'scores'), [job, job]);
      if (outcomes.some((outcome) => outcome instanceof WhittleError)) throw notFinite();
    },
  };
}

function retrieverTrial(bundle: OpenBundle, name: string, retriever: RetrieverSpec, threads: number): Trial {
  const { directory, catalogue } = bundle;
  return {
    name,
    file: retrieverFile(retriever),
    files: retrieverFiles(bundle, retriever),
    entry: 'retriever-runner',
    spec: { directory, retriever, rows: catalogue.rows, threads },
    request: retrieverRequest(retriever),
    check: ({ tensors }) => {
      const { data } = must(tensors['scores'], 'scores');
      if (!(data instanceof Float32Array) || !data.every(Number.isFinite)) throw notFinite();
    },
  };
}

/** The file that stands for a retriever: its tower or text index, else its vector index. */
export function retrieverFile(retriever: RetrieverSpec): string {
  return retriever.kind === 'vector' ? (retriever.index.file ?? retriever.index.vectors) : retriever.file;
}

/** Every file that a retriever's runner opens, by its name in the bundle. */
export function retrieverFiles({ models }: OpenBundle, retriever: RetrieverSpec): readonly string[] {
  if (retriever.kind === 'text') return [retriever.file];
  const { vectors, file } = retriever.index;
  const named = [vectors, file, retriever.kind === 'tower' ? retriever.file : undefined];
  const files = named.filter((one) => one !== undefined);
  return [...new Set(files.flatMap((one) => models.get(one)?.files ?? [one]))];
}

function retrieverRequest(retriever: RetrieverSpec): RunnerRequest {
  switch (retriever.kind) {
    case 'text':
      return { meta: { k: 1, queries: ['a'] }, tensors: {} };
    case 'vector':
      return { meta: { k: 1, queries: [''] }, tensors: { vector: halves([1, retriever.index.dimensions]) } };
    case 'tower':
      return {
        meta: { k: 1, queries: [''] },
        tensors: bindRequest(retriever.inputs, plainRequest(retriever.inputs)),
      };
  }
}

/** A history of one item, and a half for each number that a request carries: 0 where it is an id, never a zero vector. */
function plainRequest(inputs: Contract['inputs']): RequestContext {
  const carried = new Map<string, readonly number[]>();
  for (const { source, dims } of inputs)
    if (source.from === 'request')
      carried.set(source.field, [...(halves(dims.slice(1).map(Number)).data as Float32Array)]);
  return { history: [0], timeSeconds: 0, inputs: Object.fromEntries(carried) };
}

function halves(dims: readonly number[]): Tensor {
  return { dtype: 'float32', dims, data: new Float32Array(elementCount(dims)).fill(0.5) };
}

function notFinite(): WhittleError {
  return new WhittleError('MODEL_INVALID', 'its answer to a small request is not finite');
}

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  WhittleError,
  writeManifest,
  type BundleManifest,
  type Contract,
  type IndexSpec,
  type PipelineSpec,
  type RetrieverSpec,
} from '../../core/index.js';
import { writeItems } from '../../data/index.js';
import { writeModel, type Model } from '../../onnx/index.js';
import { buildHnswIndex, buildTextIndex, encodeTextIndex } from '../../retrieval/index.js';
import type { ExampleRequests } from './check-request.js';
import type { ItemTable } from './item-table.js';
import { VECTORS_FILE } from './sources.js';
import type { ItemVectors } from './vectors-file.js';

/** Where exact search takes longer than an approximate graph. */
const HNSW_ABOVE_ROWS = 20_000;
const HNSW = { m: 16, efConstruction: 200, efSearch: 400 };
const HNSW_FILE = 'indexes/items.hnsw';
const TEXT_FILE = 'indexes/text.bin';
const TITLE_WEIGHT = 3;

/** Everything that goes into a created bundle. */
export interface CreatedContent {
  readonly name: string;
  readonly model: Model;
  readonly items: ItemTable;
  readonly vectors: ItemVectors | undefined;
  readonly metric: 'cosine' | 'dot';
  readonly contract: Contract;
  readonly candidates: number;
  readonly provenance: Readonly<Record<string, unknown>>;
  readonly examples: ExampleRequests;
}

/** Writes the files of a bundle into a folder, bundle.json last. `note` is told what is not as could be wished. */
export async function writeCreated(
  directory: string,
  content: CreatedContent,
  note: (line: string) => void,
): Promise<BundleManifest> {
  const { name, items, contract, provenance } = content;
  await mkdir(join(directory, 'indexes'), { recursive: true });
  await mkdir(join(directory, 'examples'), { recursive: true });
  await writeModel(content.model, join(directory, 'full.onnx'));
  await writeItems(join(directory, 'items.parquet'), items.columns);
  await writeExamples(directory, content.examples);
  const retrievers = {
    ...(await writeVectorRetriever(directory, content, note)),
    ...(await writeTextRetriever(directory, items)),
  };
  return writeManifest(directory, {
    format: 1,
    name,
    provenance,
    catalogue: {
      file: 'items.parquet',
      idColumn: items.idColumn,
      ...(items.titleColumn === undefined ? {} : { titleColumn: items.titleColumn }),
      rows: items.rows,
    },
    contract,
    retrievers,
    variants: { full: { file: 'full.onnx' } },
    pipelines: pipelinesOf(Object.keys(retrievers), content.candidates),
    defaultPipeline: 'full',
  });
}

/** The first retriever serves `full` and `retrieval`; a second one has a pipeline of its own name. */
function pipelinesOf(retrievers: readonly string[], candidates: number): Record<string, PipelineSpec> {
  const [first, ...others] = retrievers;
  if (first === undefined) return { full: { ranker: 'full', candidates } };
  const ranked = (search: string): PipelineSpec => ({
    ranker: 'full',
    candidates,
    search,
    searchRankerWeight: 1,
  });
  return {
    full: ranked(first),
    retrieval: { candidates, search: first },
    ...Object.fromEntries(others.map((name) => [name, ranked(name)])),
  };
}

async function writeExamples(directory: string, examples: ExampleRequests): Promise<void> {
  for (const [name, body] of Object.entries(examples))
    await writeFile(join(directory, 'examples', `${name}.json`), `${JSON.stringify(body)}\n`);
}

async function writeVectorRetriever(
  directory: string,
  { vectors, metric }: CreatedContent,
  note: (line: string) => void,
): Promise<Record<string, RetrieverSpec>> {
  if (vectors === undefined) return {};
  const { values, rows, dimensions } = vectors;
  await writeFile(
    join(directory, VECTORS_FILE),
    new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
  );
  const exact: IndexSpec = { kind: 'flat', metric, dimensions, vectors: VECTORS_FILE };
  const index = rows > HNSW_ABOVE_ROWS ? await writeGraph(directory, values, exact, note) : exact;
  return { vector: { kind: 'vector', index } };
}

/** An HNSW graph where its package is installed, else exact search, which is said. */
async function writeGraph(
  directory: string,
  vectors: Float32Array,
  exact: IndexSpec,
  note: (line: string) => void,
): Promise<IndexSpec> {
  const { metric, dimensions } = exact;
  try {
    const graph = await buildHnswIndex(vectors, { dimensions, metric, ...HNSW });
    await graph.save(join(directory, HNSW_FILE));
    return { ...exact, kind: 'hnsw', file: HNSW_FILE, ...HNSW };
  } catch (thrown) {
    if (!(thrown instanceof WhittleError) || thrown.code !== 'PACKAGE_MISSING') throw thrown;
    note(thrown.message);
    return exact;
  }
}

async function writeTextRetriever(
  directory: string,
  items: ItemTable,
): Promise<Record<string, RetrieverSpec>> {
  const { textColumns, titleColumn, columns, rows } = items;
  if (textColumns.length === 0) return {};
  const documents = Array.from({ length: rows }, (_, row) =>
    textColumns.map((column) => String(columns[column]?.[row] ?? '')),
  );
  const fields = textColumns.map((name) => ({ name, weight: name === titleColumn ? TITLE_WEIGHT : 1 }));
  const data = buildTextIndex(documents, { fields, language: 'english' });
  await writeFile(join(directory, TEXT_FILE), encodeTextIndex(data));
  return { text: { kind: 'text', file: TEXT_FILE } };
}

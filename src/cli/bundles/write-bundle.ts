import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  float32Data,
  int64,
  must,
  writeManifest,
  type BundleManifest,
  type InputBinding,
  type RetrieverSpec,
} from '../../core/index.js';
import { writeItems, writeUsers, type Dataset, type Table } from '../../data/index.js';
import { writeModel } from '../../onnx/index.js';
import { buildTextIndex, encodeTextIndex } from '../../retrieval/index.js';
import { openSession } from '../../runtime/index.js';
import { buildRankerModel, buildTowerModel, itemVectors, tableWidth } from '../../training/index.js';
import type { Cut } from './protocol.js';
import { writeIndex } from './write-index.js';
import type { Output } from '../output.js';
import { itemTexts, type TrainedModels } from './train-models.js';

/** Candidates that a pipeline retrieves and ranks. */
const CANDIDATES = 200;
const VECTORS_FILE = 'indexes/items.f32';
/** Share of the ranker in a known user's search. */
const SEARCH_RANKER_WEIGHT = 0.2;

export interface BundleContent {
  readonly name: string;
  readonly dataset: Dataset;
  readonly cut: Cut;
  /** Absent where the data has no interactions: the bundle then only searches. */
  readonly models?: TrainedModels;
  readonly provenance: Readonly<Record<string, unknown>>;
}

/**
 * Writes a bundle. It is made beside `directory` and takes its place in one step, so that a failure leaves what was
 * there as it was.
 */
export async function writeBundle(
  directory: string,
  content: BundleContent,
  output: Output,
): Promise<BundleManifest> {
  const temporary = `${directory}.${process.pid}.tmp`;
  await rm(temporary, { recursive: true, force: true });
  await mkdir(join(temporary, 'indexes'), { recursive: true });
  try {
    const manifest = await writeFiles(temporary, content, output);
    await rm(directory, { recursive: true, force: true });
    await rename(temporary, directory);
    return manifest;
  } catch (thrown) {
    await rm(temporary, { recursive: true, force: true });
    throw thrown;
  }
}

async function writeFiles(
  directory: string,
  content: BundleContent,
  output: Output,
): Promise<BundleManifest> {
  const { name, dataset, cut, models, provenance } = content;
  const texts = await writeText(directory, dataset);
  await writeItems(join(directory, 'items.parquet'), itemColumns(dataset, cut));
  const common = {
    format: 1 as const,
    name,
    provenance,
    catalogue: {
      file: 'items.parquet',
      idColumn: 'id',
      titleColumn: 'title',
      popularityColumn: 'popularity',
      rows: dataset.catalogue.ids.length,
    },
  };
  if (models === undefined) {
    const search = { candidates: CANDIDATES, search: 'text' };
    return writeManifest(directory, {
      ...common,
      retrievers: { text: texts },
      variants: {},
      pipelines: { search },
      defaultPipeline: 'search',
    });
  }
  await writeUsers(join(directory, 'users.parquet'), userHistories(dataset, cut));
  const towers = await writeTowers(directory, models, cut, output);
  await writeModel(
    buildRankerModel(models.shape, models.retriever, models.ranker, models.rankerWeight),
    join(directory, 'full.onnx'),
  );
  return writeManifest(directory, {
    ...common,
    users: { file: 'users.parquet' },
    contract: { inputs: [...requestInputs(models), ...candidateInputs()], output: 'score' },
    retrievers: { towers, text: texts },
    variants: { full: { file: 'full.onnx' } },
    pipelines: {
      full: {
        ranker: 'full',
        candidates: CANDIDATES,
        recommend: 'towers',
        search: 'text',
        searchRankerWeight: SEARCH_RANKER_WEIGHT,
      },
      retrieval: { candidates: CANDIDATES, recommend: 'towers', search: 'text' },
    },
    defaultPipeline: 'full',
  });
}

/** Id, title, popularity in the training part, and the data's own columns. */
function itemColumns({ catalogue }: Dataset, { train }: Cut): Table {
  const popularity = new Float64Array(catalogue.ids.length);
  for (const items of train.items)
    for (const item of items) popularity[item] = must(popularity[item], 'count') + 1;
  return { ...catalogue.columns, id: catalogue.ids, title: catalogue.titles, popularity };
}

/** Histories keep the items that can count: the most recent ones. */
const STORED_HISTORY = 200;

function userHistories({ users, catalogue }: Dataset, { train }: Cut): { user: string; history: string[] }[] {
  return users.map((user, index) => ({
    user,
    history: Array.from(must(train.items[index], 'items').slice(-STORED_HISTORY), (item) =>
      must(catalogue.ids[item], 'id'),
    ),
  }));
}

async function writeText(directory: string, dataset: Dataset): Promise<RetrieverSpec> {
  const { titles } = dataset.catalogue;
  const all = itemTexts(dataset);
  const documents = titles.map((title, item) => [title, must(all[item], 'text').slice(title.length + 1)]);
  const fields = [
    { name: 'title', weight: 3 },
    { name: 'text', weight: 1 },
  ];
  const data = buildTextIndex(documents, { fields, language: 'english' });
  await writeFile(join(directory, 'indexes', 'text.bin'), encodeTextIndex(data));
  return { kind: 'text', file: 'indexes/text.bin' };
}

async function writeTowers(
  directory: string,
  models: TrainedModels,
  cut: Cut,
  output: Output,
): Promise<RetrieverSpec> {
  const { shape, retriever } = models;
  const vectors = itemVectors(shape.tower, retriever);
  const dimensions = tableWidth(shape.tower);
  await writeModel(buildTowerModel(shape.tower, retriever), join(directory, 'user-tower.onnx'));
  await writeFile(
    join(directory, VECTORS_FILE),
    new Uint8Array(vectors.buffer, vectors.byteOffset, vectors.byteLength),
  );
  const queries = await userVectors(directory, models, cut);
  const index = await writeIndex(
    directory,
    { vectors, dimensions, file: VECTORS_FILE, queries, k: CANDIDATES },
    openSession,
    output,
  );
  return { kind: 'tower', file: 'user-tower.onnx', inputs: requestInputs(models), output: 'user', index };
}

/** Users whose vectors the index is measured with. */
const MEASURED_USERS = 300;

/** The user tower's vectors of the first users with a history, at the end of the data. */
async function userVectors(
  directory: string,
  { shape, boundaries }: TrainedModels,
  { train }: Cut,
): Promise<Float32Array> {
  const { maxLength } = shape.tower;
  const histories = train.items.filter((items) => items.length > 0).slice(0, MEASURED_USERS);
  const history = new BigInt64Array(histories.length * maxLength);
  histories.forEach((items, row) => {
    const recent = items.slice(-maxLength);
    recent.forEach(
      (item, place) => (history[(row + 1) * maxLength - recent.length + place] = BigInt(item + 1)),
    );
  });
  const session = await openSession(join(directory, 'user-tower.onnx'));
  const period = int64(histories.map(() => boundaries.length));
  const { user } = await session.run({ history: int64(history, [histories.length, maxLength]), period }, [
    'user',
  ]);
  await session.release();
  return float32Data(must(user, 'user'));
}

function requestInputs({ shape, boundaries }: TrainedModels): InputBinding[] {
  const { maxLength } = shape.tower;
  return [
    {
      name: 'history',
      dtype: 'int64',
      dims: ['requests', maxLength],
      per: 'request',
      source: { from: 'history', maxLength, offset: 1, pad: 0 },
    },
    {
      name: 'period',
      dtype: 'int64',
      dims: ['requests'],
      per: 'request',
      source: { from: 'time', boundaries },
    },
  ];
}

function candidateInputs(): InputBinding[] {
  const dims = ['candidates'];
  return [
    { name: 'candidate', dtype: 'int64', dims, per: 'candidate', source: { from: 'candidate', offset: 1 } },
    { name: 'request_index', dtype: 'int64', dims, per: 'candidate', source: { from: 'request_index' } },
  ];
}

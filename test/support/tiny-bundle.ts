import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  createRandom,
  float32,
  must,
  writeManifest,
  type BundleManifest,
  type Contract,
  type IndexSpec,
  type InputBinding,
  type Random,
} from '../../src/core/index.js';
import { writeItems, writeUsers, type UserHistory } from '../../src/data/index.js';
import { GraphBuilder, writeModel, type Model } from '../../src/onnx/index.js';
import { buildHnswIndex, buildTextIndex, encodeTextIndex } from '../../src/retrieval/index.js';

const TINY_ITEMS = 64;
export const TINY_USERS = 40;
const TINY_DIMENSIONS = 8;
const HISTORY_LENGTH = 8;
const GROUPS = 4;
const HIDDEN = 16;
/** Width of the layers that make a model slow: some milliseconds for 24 candidates. */
const WIDE = 2_048;

const COLOURS = ['amber', 'blue', 'crimson', 'dark', 'emerald', 'faded', 'golden', 'hazel'];
const THINGS = ['kettle', 'lamp', 'chair', 'carpet', 'mirror', 'clock', 'basket', 'vase'];

export interface TinyBundleOptions {
  readonly seed?: number;
  /** Kind of the towers' index; default flat, which needs no optional package. */
  readonly index?: 'flat' | 'hnsw';
  /** Leaves out the pipelines that need other runners than the tower and the two rankers. */
  readonly lean?: boolean;
  /** Gives the variant `small` an input that the contract does not bind. */
  readonly brokenVariant?: boolean;
  /** Makes the full model many times slower than `small`, with the same scores. */
  readonly slowFull?: boolean;
  /** Gives the variant `small` the full model's order upside down. */
  readonly invertedVariant?: boolean;
}

/**
 * Writes a whole bundle of 64 items (`i0`…) in 4 groups and 40 users (`u0`…) who like one group each: a mean-of-history
 * tower, a ranker `full` and a noisier copy `small`, text search over the titles, and pipelines `full`, `small`,
 * `retrieval` (no ranker, text search) and `vector` (no ranker, search by vector). Equal options give equal files.
 */
export async function makeTinyBundle(
  directory: string,
  options: TinyBundleOptions = {},
): Promise<BundleManifest> {
  const random = createRandom(options.seed ?? 7);
  await mkdir(join(directory, 'indexes'), { recursive: true });
  const vectors = itemVectors(random.fork('items'));
  const weights = rankerWeights(random.fork('ranker'));
  const noisy =
    options.invertedVariant === true ? inverted(weights) : perturbed(weights, random.fork('small'));
  await writeModel(towerModel(vectors), join(directory, 'tower.onnx'));
  await writeModel(rankerModel(vectors, weights, false, options.slowFull), join(directory, 'full.onnx'));
  await writeModel(rankerModel(vectors, noisy, options.brokenVariant), join(directory, 'small.onnx'));
  await writeFile(join(directory, 'indexes/items.f32'), Buffer.from(vectors.buffer));
  const index = await writeIndex(directory, vectors, options.index ?? 'flat');
  const titles = await writeCatalogue(directory);
  await writeUsers(join(directory, 'users.parquet'), userHistories(random.fork('users')));
  const text = buildTextIndex(
    titles.map((title) => [title]),
    { fields: [{ name: 'title', weight: 1 }], language: 'english' },
  );
  await writeFile(join(directory, 'indexes/text.bin'), encodeTextIndex(text));
  const manifest = manifestWith(index);
  return writeManifest(directory, options.lean === true ? leanOf(manifest) : manifest);
}

/** Row-major `[64, 8]`: the vector of a group with noise, in group row % 4. */
function itemVectors(random: Random): Float32Array {
  const centres = Float32Array.from({ length: GROUPS * TINY_DIMENSIONS }, () => random.normal());
  return Float32Array.from({ length: TINY_ITEMS * TINY_DIMENSIONS }, (_, place) => {
    const group = Math.floor(place / TINY_DIMENSIONS) % GROUPS;
    return (centres[group * TINY_DIMENSIONS + (place % TINY_DIMENSIONS)] ?? 0) + 0.5 * random.normal();
  });
}

interface RankerWeights {
  readonly hidden: Float32Array;
  readonly output: Float32Array;
}

function rankerWeights(random: Random): RankerWeights {
  const normals = (length: number): Float32Array => Float32Array.from({ length }, () => random.normal());
  return { hidden: normals(3 * TINY_DIMENSIONS * HIDDEN), output: normals(HIDDEN) };
}

/** Noise that changes some of an order and keeps most of it. */
function perturbed({ hidden, output }: RankerWeights, random: Random): RankerWeights {
  const noisy = (values: Float32Array): Float32Array => values.map((value) => value + 0.1 * random.normal());
  return { hidden: noisy(hidden), output: noisy(output) };
}

function inverted({ hidden, output }: RankerWeights): RankerWeights {
  return { hidden, output: output.map((value) => -value) };
}

/** The items' vectors behind a row of zeros, which is what a history is filled up with. */
function paddedTable(builder: GraphBuilder, vectors: Float32Array): string {
  const table = new Float32Array((TINY_ITEMS + 1) * TINY_DIMENSIONS);
  table.set(vectors, TINY_DIMENSIONS);
  return builder.initializer('items', float32(table, [TINY_ITEMS + 1, TINY_DIMENSIONS]));
}

/** history `[requests, 8] int64` → mean vector `[requests, 8]`. */
function towerModel(vectors: Float32Array): Model {
  const builder = new GraphBuilder({ name: 'tower' });
  const history = builder.input('history', 'int64', ['requests', HISTORY_LENGTH]);
  const rows = builder.op.Gather(paddedTable(builder, vectors), history);
  builder.node('ReduceMean', [rows, [1]], { keepdims: 0 }, ['user_vector']);
  builder.output('user_vector', 'float32', ['requests', TINY_DIMENSIONS]);
  return builder.build();
}

/** One dense layer over the user's mean vector, the item's vector and their product; `score` `[candidates]`. */
function rankerModel(vectors: Float32Array, weights: RankerWeights, broken = false, slow = false): Model {
  const builder = new GraphBuilder({ name: 'ranker' });
  const { op } = builder;
  const history = builder.input('history', 'int64', ['requests', HISTORY_LENGTH]);
  const candidate = builder.input('candidate', 'int64', ['candidates']);
  const requestIndex = builder.input(broken ? 'request_row' : 'request_index', 'int64', ['candidates']);
  const table = paddedTable(builder, vectors);
  const users = op.ReduceMean(op.Gather(table, history), [1], { keepdims: 0 });
  const user = op.Gather(users, requestIndex);
  const item = op.Gather(table, candidate);
  const joined = op.Concat(user, item, op.Mul(user, item), { axis: 1 });
  const hidden = builder.initializer('hidden', float32(weights.hidden, [3 * TINY_DIMENSIONS, HIDDEN]));
  const output = builder.initializer('output', float32(weights.output, [HIDDEN, 1]));
  const fast = op.MatMul(op.Relu(op.MatMul(joined, hidden)), output);
  const scores = slow ? op.Add(fast, nothingSlowly(builder, joined)) : fast;
  builder.node('Squeeze', [scores, [1]], {}, ['score']);
  builder.output('score', 'float32', ['candidates']);
  return builder.build();
}

/** Zeros `[candidates, 1]` by way of two wide layers. */
function nothingSlowly(builder: GraphBuilder, joined: string): string {
  const { op } = builder;
  const weights = (name: string, rows: number, columns: number, value: number): string =>
    builder.initializer(name, float32(new Float32Array(rows * columns).fill(value), [rows, columns]));
  const first = op.Relu(op.MatMul(joined, weights('wide_1', 3 * TINY_DIMENSIONS, WIDE, 0.01)));
  const second = op.Relu(op.MatMul(first, weights('wide_2', WIDE, WIDE, 0.01)));
  return op.MatMul(second, weights('wide_3', WIDE, 1, 0));
}

async function writeIndex(
  directory: string,
  vectors: Float32Array,
  kind: 'flat' | 'hnsw',
): Promise<IndexSpec> {
  const shared = { metric: 'dot', dimensions: TINY_DIMENSIONS, vectors: 'indexes/items.f32' } as const;
  if (kind === 'flat') return { kind, ...shared };
  const file = 'indexes/items.hnsw';
  const index = await buildHnswIndex(vectors, { dimensions: TINY_DIMENSIONS, metric: 'dot' });
  await index.save(join(directory, file));
  await index.release();
  return { kind, ...shared, file };
}

/** Title of row r: colour r / 8, thing r % 8. Popularity falls with the row. */
async function writeCatalogue(directory: string): Promise<readonly string[]> {
  const rows = Array.from({ length: TINY_ITEMS }, (_, row) => row);
  const titles = rows.map((row) => `${COLOURS[Math.floor(row / 8)] ?? ''} ${THINGS[row % 8] ?? ''}`);
  await writeItems(join(directory, 'items.parquet'), {
    id: rows.map((row) => `i${row}`),
    title: titles,
    popularity: Float64Array.from(rows, (row) => TINY_ITEMS - row),
  });
  return titles;
}

function userHistories(random: Random): UserHistory[] {
  return Array.from({ length: TINY_USERS }, (_, user) => {
    const rows = Array.from(
      { length: 3 + random.integer(6) },
      () => random.integer(TINY_ITEMS / GROUPS) * GROUPS,
    );
    return { user: `u${user}`, history: rows.map((row) => `i${row + (user % GROUPS)}`) };
  });
}

const historyInput: InputBinding = {
  name: 'history',
  dtype: 'int64',
  dims: ['requests', HISTORY_LENGTH],
  per: 'request',
  source: { from: 'history', maxLength: HISTORY_LENGTH, offset: 1, pad: 0 },
};

const contract: Contract = {
  inputs: [
    historyInput,
    {
      name: 'candidate',
      dtype: 'int64',
      dims: ['candidates'],
      per: 'candidate',
      source: { from: 'candidate', offset: 1 },
    },
    {
      name: 'request_index',
      dtype: 'int64',
      dims: ['candidates'],
      per: 'candidate',
      source: { from: 'request_index' },
    },
  ],
  output: 'score',
};

function manifestWith(index: IndexSpec): Omit<BundleManifest, 'files'> {
  const ranked = { candidates: 24, recommend: 'tower', search: 'text', searchRankerWeight: 0.5 };
  return {
    format: 1,
    name: 'tiny',
    provenance: { made: 'test/support/tiny-bundle.ts' },
    catalogue: {
      file: 'items.parquet',
      idColumn: 'id',
      titleColumn: 'title',
      popularityColumn: 'popularity',
      rows: TINY_ITEMS,
    },
    users: { file: 'users.parquet' },
    contract,
    retrievers: {
      tower: { kind: 'tower', file: 'tower.onnx', inputs: [historyInput], output: 'user_vector', index },
      text: { kind: 'text', file: 'indexes/text.bin' },
      vector: { kind: 'vector', index },
    },
    variants: {
      full: { file: 'full.onnx' },
      small: { file: 'small.onnx', parent: 'full', recipe: [{ pass: 'noise' }] },
    },
    pipelines: {
      full: { ranker: 'full', ...ranked },
      small: { ranker: 'small', ...ranked },
      retrieval: { candidates: 24, recommend: 'tower', search: 'text' },
      vector: { candidates: 24, search: 'vector' },
    },
    defaultPipeline: 'full',
  };
}

function leanOf(manifest: Omit<BundleManifest, 'files'>): Omit<BundleManifest, 'files'> {
  const shared = { candidates: 24, recommend: 'tower' };
  return {
    ...manifest,
    retrievers: { tower: must(manifest.retrievers['tower'], 'tower') },
    pipelines: { full: { ranker: 'full', ...shared }, small: { ranker: 'small', ...shared } },
  };
}

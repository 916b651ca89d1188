import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compressVariant } from '../../src/cli/compress/compress-bundle.js';
import { createOutput } from '../../src/cli/output.js';
import { createBundle, type CreatedBundle, type CreateOptions } from '../../src/cli/create/create-bundle.js';
import { describeCreated } from '../../src/cli/create/describe-created.js';
import { readRecipe } from '../../src/compression/index.js';
import {
  completeConfig,
  float32,
  must,
  readManifest,
  silentLog,
  toWhittleError,
} from '../../src/core/index.js';
import { GraphBuilder, writeModel } from '../../src/onnx/index.js';
import { openSession } from '../../src/runtime/index.js';
import { calibrationFeeds, openEngine, type Engine } from '../../src/serving/index.js';
import { rejectionCode } from '../support/error-code.js';
import { sharedData } from '../support/shared-data.js';

let folder = '';
const at = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whittle-create-'));
  await writeModel(featureRanker(), at('features.onnx'));
  await writeModel(similarityRanker(), at('similarity.onnx'));
  await writeFile(at('items.csv'), ITEMS);
  await writeFile(at('items.f32'), Buffer.from(vectorsOf(6).buffer));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

const ITEMS = `sku,title,price,stock
007,amber kettle,1,5
A1,"blue lamp, large",2,5
A2,crimson chair,4,5
A3,dark carpet,8,
A4,emerald mirror,16,5
A5,golden clock,32,5
`;

/** Row r of six: (r, 1). */
function vectorsOf(rows: number): Float32Array {
  return Float32Array.from({ length: 2 * rows }, (_, place) => (place % 2 === 0 ? place / 2 : 1));
}

/**
 * mean of the history · the item + price + retrieval score + the request's age. Ids look up (id, 1), id 0 pads. `parts`
 * is a second output.
 */
function featureRanker(): ReturnType<GraphBuilder['build']> {
  const builder = new GraphBuilder({ name: 'features' });
  const { op } = builder;
  const history = builder.input('history', 'int64', ['requests', 4]);
  const item = builder.input('item_id', 'int64', ['candidates', 1]);
  const price = builder.input('price', 'float32', ['candidates', 1]);
  const bm25 = builder.input('bm25', 'float32', ['candidates', 1]);
  const age = builder.input('age', 'float32', ['requests']);
  const index = builder.input('request_index', 'int64', ['candidates']);
  const table = builder.initializer('table', float32(vectorsOf(7), [7, 2]));
  const user = op.Gather(op.ReduceMean(op.Gather(table, history), [1], { keepdims: 0 }), index);
  const parts = op.Mul(user, op.Squeeze(op.Gather(table, item), [1]));
  const numbers = op.Squeeze(op.Add(price, bm25), [1]);
  const own = op.Add(op.ReduceSum(parts, [1], { keepdims: 0 }), numbers);
  builder.node('Add', [own, op.Gather(age, index)], {}, ['score']);
  builder.node('Identity', [parts], {}, ['parts']);
  builder.output('score', 'float32', ['candidates']);
  builder.output('parts', 'float32', ['candidates', 2]);
  return builder.build();
}

/** query · document, two numbers each. */
function similarityRanker(): ReturnType<GraphBuilder['build']> {
  const builder = new GraphBuilder({ name: 'similarity' });
  const query = builder.input('query', 'float32', ['rows', 2]);
  const document = builder.input('document', 'float32', ['rows', 2]);
  builder.node('ReduceSum', [builder.op.Mul(query, document), [1]], { keepdims: 1 }, ['score']);
  builder.output('score', 'float32', ['rows', 1]);
  return builder.build();
}

const options = (given: Partial<CreateOptions> & Pick<CreateOptions, 'model'>): CreateOptions => ({
  out: at('bundle'),
  metric: 'cosine',
  candidates: 200,
  ...given,
});

async function withEngine<T>(bundle: string, use: (engine: Engine) => Promise<T>): Promise<T> {
  const store = await mkdtemp(join(folder, 'store-'));
  const config = completeConfig({
    bundle,
    server: { deadlineMs: 30_000 },
    store: { path: store },
    shadow: { share: 0 },
  });
  const engine = await openEngine({ config, log: silentLog });
  try {
    return await use(engine);
  } finally {
    await engine.close();
  }
}

describe('a model of history, ids, columns, retrieval and the request', () => {
  const given = (): CreateOptions =>
    options({
      model: at('features.onnx'),
      items: at('items.csv'),
      bind: ['age=request:age'],
      out: at('features'),
    });

  let created: CreatedBundle | undefined;
  beforeAll(async () => {
    created = await createBundle(given());
  });

  test('every input gets the value its binding says', async () => {
    expect(created).toMatchObject({ items: 6, output: 'score', retrievers: ['text'], endpoint: 'search' });
    const text = describeCreated(must(created, 'bundle'));
    for (const said of [
      'row + 1, padded in front with 0',
      'the item’s price',
      'the score of retrieval',
      'the request’s inputs.age',
      `-d @${at('features')}/examples/search.json`,
    ])
      expect(text).toContain(said);
    const { ranked, found } = await withEngine(at('features'), async (engine) => ({
      ranked: await engine.rank({
        requestId: 'r',
        items: ['007', 'A5'],
        history: ['A1', 'A2'],
        inputs: { age: 100 },
      }),
      found: await engine.search({
        requestId: 's',
        query: 'kettle',
        k: 3,
        history: ['A1', 'A2'],
        inputs: { age: 0 },
      }),
    }));
    // Ids 2 and 3 behind two of padding: the mean is (5/4, 1).
    expect(ranked.items).toEqual([
      { id: 'A5', title: 'golden clock', score: 1.25 * 6 + 1 + 32 + 100 },
      { id: '007', title: 'amber kettle', score: 1.25 * 1 + 1 + 1 + 100 },
    ]);
    expect(found.items.map(({ id }) => id)).toEqual(['007']);
    const bm25 = (found.items[0]?.score ?? 0) - (1.25 + 1 + 1);
    expect(bm25).toBeGreaterThan(0.1);
  });

  test('gives compression requests made of its own titles', async () => {
    const feeds = await calibrationFeeds(at('features'), 1);
    expect(feeds).toEqual(await calibrationFeeds(at('features'), 1));
    const [feed = {}] = feeds;
    expect(feeds).toHaveLength(1);
    expect(feed['age']?.dims).toEqual([6]);
    expect(new Set(feed['age']?.data as Float32Array).size).toBe(6);
    const ids = Array.from(feed['item_id']?.data as BigInt64Array, Number);
    expect(new Set(ids)).toEqual(new Set([1, 2, 3, 4, 5, 6]));
    expect(Array.from(feed['price']?.data as Float32Array)).toEqual(ids.map((id) => 2 ** (id - 1)));
    expect((feed['history']?.data as BigInt64Array).some((id) => id > 0n)).toBe(true);
  });

  test('asks for what it cannot know, and writes nothing', async () => {
    const error = toWhittleError(
      await createBundle({ ...given(), bind: [], out: at('unbound') }).catch((thrown: unknown) => thrown),
    );
    expect(error.code).toBe('USAGE_INVALID');
    expect(error.message).toContain('age float32 [rows]');
    expect(error.message).toContain('--bind age=request:age');
    expect(await readdir(folder)).not.toContain('unbound');
  });

  test('a column with a hole cannot feed an input', async () => {
    const binds = ['age=request:age', 'price=column:stock'];
    const error = toWhittleError(
      await createBundle({ ...given(), bind: binds }).catch((thrown: unknown) => thrown),
    );
    expect(error).toMatchObject({ code: 'DATASET_INVALID', details: { field: 'stock', row: 3 } });
  });
});

describe('a model of vectors', () => {
  test('.npy and raw files give the same bundle, and the bytes are stored once', async () => {
    const header = "{'descr': '<f4', 'fortran_order': False, 'shape': (6, 2), }".padEnd(117, ' ');
    const prefix = Buffer.from('\u0093NUMPY\u0001\u0000', 'latin1');
    const length = Buffer.from([118, 0]);
    const npy = Buffer.concat([prefix, length, Buffer.from(`${header}\n`), await readFile(at('items.f32'))]);
    await writeFile(at('items.npy'), npy);
    const model = at('similarity.onnx');
    await createBundle(options({ model, vectors: at('items.f32'), out: at('raw'), name: 'same' }));
    await createBundle(options({ model, vectors: at('items.npy'), out: at('npy'), name: 'same' }));
    const raw = await readManifest(at('raw'));
    expect((await readManifest(at('npy'))).files).toEqual(raw.files);
    const sources = raw.contract?.inputs.map(({ source }) => source);
    expect(sources).toContainEqual({ from: 'vectors', file: 'indexes/items.f32', dimensions: 2 });
    expect(raw.retrievers['vector']).toMatchObject({ index: { vectors: 'indexes/items.f32' } });
  });

  test('searches by meaning and by words where it has both', async () => {
    const model = at('similarity.onnx');
    const [items, vectors, out] = [at('items.csv'), at('items.f32'), at('both')];
    const created = await createBundle(options({ model, items, vectors, out, metric: 'dot' }));
    expect(created.retrievers).toEqual(['vector', 'text']);
    const answers = await withEngine(out, async (engine) => {
      const byVector = await engine.search({ requestId: 'v', queryVector: [1, 0], k: 2 });
      const byWords = await engine.search({
        requestId: 't',
        query: 'lamp chair',
        inputs: { query_vector: [-1, 0] },
        k: 5,
        forcedPipeline: 'text',
      });
      return [byVector, byWords].map(({ items: found }) => found.map(({ id, score }) => [id, score]));
    });
    expect(answers).toEqual([
      [
        ['A5', 5],
        ['A4', 4],
      ],
      [
        ['A1', -1],
        ['A2', -2],
      ],
    ]);
  });

  test('replaces a bundle whole, and nothing else', async () => {
    const given = options({ model: at('similarity.onnx'), vectors: at('items.f32'), out: at('again') });
    await createBundle(given);
    await writeFile(at('again/indexes/stale'), '');
    await createBundle(given);
    expect(await readdir(at('again/indexes'))).toEqual(['items.f32']);
    await mkdir(at('other'));
    await writeFile(at('other/precious.txt'), 'mine');
    expect(await rejectionCode(createBundle({ ...given, out: at('other') }))).toBe('USAGE_INVALID');
    expect(await readdir(at('other'))).toEqual(['precious.txt']);
    expect((await readdir(folder)).filter((name) => /\.(tmp|old)$/.test(name))).toEqual([]);
  });
});

test('items that nothing retrieves are ranked as given, and can be calibrated on', async () => {
  const builder = new GraphBuilder({ name: 'price' });
  builder.node('Neg', [builder.input('price', 'float32', ['rows'])], {}, ['score']);
  builder.output('score', 'float32', ['rows']);
  await writeModel(builder.build(), at('price.onnx'));
  await writeFile(at('prices.jsonl'), '{"id": 1, "price": 3}\n{"id": 2, "price": 2}\n');
  const out = at('prices');
  const created = await createBundle(options({ model: at('price.onnx'), items: at('prices.jsonl'), out }));
  expect(created).toMatchObject({ endpoint: 'rank', retrievers: [], answer: { source: 'given' } });
  expect(created.answer.items).toEqual([
    { id: '2', score: -2 },
    { id: '1', score: -3 },
  ]);
  const [feed] = await calibrationFeeds(out, 1);
  expect(new Set(feed?.['price']?.data as Float32Array)).toEqual(new Set([2, 3]));
});

describe('what a user gets wrong', () => {
  beforeAll(async () => {
    await writeFile(at('text.onnx'), 'this is not a model');
    await writeFile(at('nameless.csv'), 'title,price\nlamp,1\n');
    await writeFile(at('twice.csv'), 'id,price\na,1\na,2\n');
    await writeFile(at('odd.f32'), Buffer.alloc(4 * 5));
    await writeFile(at('nan.f32'), Buffer.from(Float32Array.of(1, 2, 3, NaN).buffer));
    await writeFile(at('empty.f32'), '');
    await writeFile(at('double.npy'), 'no numpy file');
    await writeModel(oneInput('float16', ['rows', 2]), at('half.onnx'));
    await writeModel(oneInput('float32', [768]), at('rowless.onnx'));
    await writeModel(rowMixer(), at('mixing.onnx'));
    const { graph, ...rest } = similarityRanker();
    const nodes = graph.nodes.map((node) => ({ ...node, op: 'Frobnicate' }));
    await writeModel({ ...rest, graph: { ...graph, nodes } }, at('unknown.onnx'));
    await writeModel(oneInput('float32', ['rows', 2], ['rows', 'classes']), at('wide.onnx'));
  });

  const vectors = (): Pick<CreateOptions, 'vectors'> => ({ vectors: at('items.f32') });
  test.each<[string, string, () => Partial<CreateOptions>]>([
    ['no model', 'FILE_MISSING', () => ({ model: at('missing.onnx'), ...vectors() })],
    ['a file that is no model', 'MODEL_INVALID', () => ({ model: at('text.onnx'), ...vectors() })],
    ['an operator nobody knows', 'MODEL_INVALID', () => ({ model: at('unknown.onnx'), ...vectors() })],
    ['more than one number a row', 'CONTRACT_MISMATCH', () => ({ model: at('wide.onnx'), ...vectors() })],
    ['no items at all', 'USAGE_INVALID', () => ({})],
    ['items that are not there', 'DATASET_INVALID', () => ({ items: at('missing.csv') })],
    ['items without an id', 'USAGE_INVALID', () => ({ items: at('nameless.csv') })],
    ['an id column that is not there', 'USAGE_INVALID', () => ({ items: at('items.csv'), idColumn: 'asin' })],
    ['an id that stands twice', 'DATASET_INVALID', () => ({ items: at('twice.csv') })],
    ['vectors that are not there', 'FILE_MISSING', () => ({ vectors: at('missing.f32') })],
    ['vectors of no fitting size', 'USAGE_INVALID', () => ({ vectors: at('odd.f32') })],
    ['no vectors in the file', 'USAGE_INVALID', () => ({ vectors: at('empty.f32') })],
    ['vectors for other items', 'USAGE_INVALID', () => ({ vectors: at('odd.f32'), items: at('items.csv') })],
    ['a vector with NaN', 'DATASET_INVALID', () => ({ vectors: at('nan.f32') })],
    ['a broken .npy', 'DATASET_INVALID', () => ({ vectors: at('double.npy') })],
    ['inputs of a type nothing has', 'GRAPH_UNSUPPORTED', () => ({ model: at('half.onnx'), ...vectors() })],
    ['inputs without rows', 'GRAPH_UNSUPPORTED', () => ({ model: at('rowless.onnx'), ...vectors() })],
    ['rows that change each other', 'GRAPH_UNSUPPORTED', () => ({ model: at('mixing.onnx'), ...vectors() })],
    ['an output that is no score', 'USAGE_INVALID', () => ({ output: 'loss', ...vectors() })],
  ])('%s: %s', async (_, code, given) => {
    const out = at('refused');
    const asked = options({ model: at('similarity.onnx'), out, ...given() });
    expect(await rejectionCode(createBundle(asked))).toBe(code);
    expect(await readdir(folder)).not.toContain('refused');
  });
});

function oneInput(
  dtype: 'float16' | 'float32',
  dims: readonly (string | number)[],
  outputDims = dims,
): ReturnType<GraphBuilder['build']> {
  const builder = new GraphBuilder({ name: 'one' });
  builder.node('Identity', [builder.input('document', dtype, dims)], {}, ['score']);
  builder.output('score', dtype, outputDims);
  return builder.build();
}

/** Exported for one row, and meaningless for more: the softmax runs over the rows. */
function rowMixer(): ReturnType<GraphBuilder['build']> {
  const builder = new GraphBuilder({ name: 'mixer' });
  const mixed = builder.op.Softmax(builder.input('document', 'float32', [1, 2]), { axis: 0 });
  builder.node('ReduceMax', [mixed, [1]], {}, ['score']);
  builder.output('score', 'float32', [1, 1]);
  return builder.build();
}

const vespa = sharedData('onnx', 'vespa_custom_similarity.onnx');
const minilm = sharedData('minilm-vectors', 'embeddings.bin');

describe.skipIf(vespa === undefined || minilm === undefined)(
  'Vespa’s similarity model on MiniLM vectors',
  () => {
    const DIMENSIONS = 384;
    const out = (): string => at('vespa');
    let table = new Float32Array();
    const vectorOf = (row: number): Float32Array => table.slice(row * DIMENSIONS, (row + 1) * DIMENSIONS);

    beforeAll(async () => {
      const bytes = await readFile(must(minilm, 'vectors'));
      table = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
      const given = options({ model: must(vespa, 'model'), vectors: must(minilm, 'vectors'), out: out() });
      const created = await createBundle(given);
      expect(created).toMatchObject({ items: 778, output: 'similarity', endpoint: 'search' });
      expect(created.notes.join()).toContain('the model took one row a run');
    });

    /** What the model as it came says of a query and an item, one row a run. */
    async function originalScores(query: number, items: readonly number[]): Promise<number[]> {
      const session = await openSession(must(vespa, 'model'));
      const scores: number[] = [];
      for (const item of items) {
        const { similarity } = await session.run({
          query: float32(vectorOf(query), [1, DIMENSIONS]),
          document: float32(vectorOf(item), [1, DIMENSIONS]),
        });
        scores.push(Number(must(similarity, 'similarity').data[0]));
      }
      await session.release();
      return scores;
    }

    test('served scores are those of the original, row by row', async () => {
      const answers = await withEngine(out(), (engine) => {
        const queryVector = Array.from(vectorOf(400));
        return Promise.all([
          engine.search({ requestId: 's', queryVector, k: 50 }),
          engine.rank({ requestId: 'r', items: ['3', '777', '0', '12'], queryVector }),
        ]);
      });
      for (const { items } of answers) {
        const expected = await originalScores(
          400,
          items.map(({ id }) => Number(id)),
        );
        items.forEach(({ score }, place) => expect(score).toBeCloseTo(expected[place] ?? NaN, 5));
        expect(new Set(items.map(({ score }) => score)).size).toBeGreaterThan(items.length / 2);
      }
      expect(answers.map(({ items }) => items.length)).toEqual([50, 4]);
    });

    test('can be compressed three ways and still answers', async () => {
      await cp(out(), at('compressed'), { recursive: true });
      const names = ['int8', 'pruned', 'lowrank'];
      for (const name of names) {
        const { before, after } = await compressVariant(
          at('compressed'),
          { name, from: 'full', recipe: await readRecipe(name), seed: 1 },
          createOutput(true),
        );
        expect(after.denseBytes).toBeLessThan(before.denseBytes / 2);
      }
      const variants = await withEngine(at('compressed'), (engine) => {
        const queryVector = Array.from(vectorOf(400));
        const search = (name: string): ReturnType<Engine['search']> =>
          engine.search({ requestId: name, queryVector, k: 10, forcedPipeline: name });
        return Promise.all(names.map(search));
      });
      expect(variants.map(({ variant, items }) => [variant, items.length])).toEqual(
        names.map((name) => [name, 10]),
      );
    });
  },
);

import { describe, expect, it } from 'vitest';
import { createRandom, int64 } from '../../../src/core/index.js';
import type { TensorMap } from '../../../src/core/index.js';
import { exampleFeed, findFeeds, generateFeed } from '../../../src/compression/index.js';
import { encodeModel, GraphBuilder } from '../../../src/onnx/index.js';
import type { Model } from '../../../src/onnx/index.js';
import { openSession } from '../../../src/runtime/index.js';
import { rejectionCode } from '../../support/error-code.js';
import { contextWith, gemmMlp, normals, ranker, rowFeeds } from '../support.js';

const random = createRandom(2);

/** A model of one node on `x` and a constant. */
function product(dims: readonly (number | string)[], inner: number): Model {
  const builder = new GraphBuilder();
  const x = builder.input('x', 'float32', dims);
  builder.node('MatMul', [x, builder.initializer('w', normals(random, [inner, 2]))], {}, ['y']);
  builder.output('y', 'float32');
  return builder.build();
}

/** Ids look up a table of 1000 rows behind a Cast; `sr` is compared with 16000; a mask is neither. */
function lookup(): Model {
  const builder = new GraphBuilder({ opset: 17 });
  const { op } = builder;
  const ids = op.Cast(builder.input('ids', 'int32', ['n', 'length']), { to: 'int64' });
  const rate = builder.input('sr', 'int64', []);
  const mask = builder.input('mask', 'int64', ['n', 'length']);
  const rows = op.Gather(builder.initializer('table', normals(random, [1000, 3])), ids);
  const masked = op.Mul(rows, op.Unsqueeze(op.Cast(mask, { to: 'float32' }), [2]));
  const isRate = op.Cast(op.Equal(rate, builder.constant(int64([16000], []))), { to: 'float32' });
  builder.output(op.Mul(masked, isRate), 'float32');
  return builder.build();
}

async function runs(model: Model, feeds: readonly TensorMap[]): Promise<void> {
  const session = await openSession(encodeModel(model));
  for (const feed of feeds) await session.run(feed);
  await session.release();
}

const context = { openSession, seed: 4 };

describe('findFeeds', () => {
  it('answers the plain ones where the model runs on them', async () => {
    const feeds = await findFeeds(ranker(), context, 3);
    expect(feeds).toEqual([4, 5, 6].map((seed) => generateFeed(ranker(), seed)));
  });

  it.each([
    ['an inner length that is a size of the constants', product(['n', 'm'], 7), [4, 7]],
    ['one row', product([2, 'n'], 1), [2, 1]],
  ])('finds %s', async (_, model, dims) => {
    const feeds = await findFeeds(model, context, 2);
    expect(feeds.map((feed) => feed['x']?.dims)).toEqual([dims, dims]);
    await runs(model, feeds);
    expect(await findFeeds(model, context, 2)).toEqual(feeds);
  });

  it('says why where none runs', async () => {
    const builder = new GraphBuilder();
    const x = builder.input('x', 'float32', ['n', 'm']);
    const weight = builder.initializer('w', normals(random, [7, 2]));
    // No length is 7 when taken three times.
    builder.output(builder.op.MatMul(builder.op.Concat(x, x, x, { axis: 1 }), weight), 'float32');
    const model = builder.build();
    const failure = await findFeeds(model, context, 1).catch((error: unknown) => error);
    expect(failure).toMatchObject({
      code: 'GRAPH_UNSUPPORTED',
      details: { tried: expect.any(Number) as number },
    });
    expect(String(failure)).toMatch(/give calibration requests.*MatMul/s);
  });

  it('has none for what it cannot make up', async () => {
    const builder = new GraphBuilder();
    builder.output(builder.op.Identity(builder.input('text', 'string', ['n'])), 'string');
    expect(await rejectionCode(findFeeds(builder.build(), context, 1))).toBe('GRAPH_UNSUPPORTED');
  });
});

describe('generateFeed', () => {
  const feeds = Array.from({ length: 40 }, (_, seed) => generateFeed(lookup(), seed, { rows: 5 }));
  const valuesOf = (name: string): number[] =>
    feeds.flatMap((feed) => Array.from(feed[name]?.data ?? [], Number));

  it('draws ids from the table that they look up, and other integers from 0 and 1', () => {
    const ids = valuesOf('ids');
    expect([Math.min(...ids) >= 0, Math.max(...ids) < 1000, Math.max(...ids) > 900]).toEqual([
      true,
      true,
      true,
    ]);
    expect(new Set(valuesOf('mask'))).toEqual(new Set([0, 1]));
  });

  it('gives an integer the value that it is compared with', () => {
    expect(new Set(valuesOf('sr'))).toEqual(new Set([16000]));
  });

  it('has few ids, and plain settings, when asked', () => {
    const builder = new GraphBuilder();
    for (const name of ['max_length', 'min_length']) builder.input(name, 'int32', [1]);
    builder.input('penalty', 'float32', [1]);
    const feed = generateFeed(builder.build(), 1, { settings: 'plain' });
    expect(Object.values(feed).map(({ data }) => data[0])).toEqual([16, 1, 1]);
    const ids = generateFeed(lookup(), 1, { ids: 'few', rows: 50 })['ids'];
    expect(new Set(ids?.data as Int32Array)).toEqual(new Set([0, 1]));
  });
});

it('an example is the first calibration request, else what is known, else made up', async () => {
  const [feed, known] = rowFeeds(8, 2, 2);
  const model = gemmMlp([8, 4, 1]);
  const bare = contextWith();
  expect(await exampleFeed(model, { ...bare, calibration: feed ? [feed] : [] })).toBe(feed);
  expect(await exampleFeed(model, { ...bare, ...(known && { example: known }) })).toBe(known);
  expect(await exampleFeed(model, bare)).toEqual(generateFeed(model, bare.seed));
});

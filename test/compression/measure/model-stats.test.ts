import { expect, it } from 'vitest';
import { createRandom } from '../../../src/core/index.js';
import {
  generateFeed,
  modelStats,
  multiplyAddsPer100Rows,
  quantizeDynamic,
} from '../../../src/compression/index.js';
import { GraphBuilder, initializerOf } from '../../../src/onnx/index.js';
import { openSession } from '../../../src/runtime/index.js';
import {
  contextWith,
  denseWeight,
  gemmMlp,
  normals,
  ranker,
  RANKER,
  rankerFeeds,
  rowFeeds,
} from '../support.js';

it('counts dense weights, tables and the rest', () => {
  const deep = 48 * 32 + 32 * 24 + 24 * 16;
  const stats = modelStats(ranker());
  expect(stats.denseWeights).toBe(2 * 48 * 48 + deep + 64);
  expect(stats.tableWeights).toBe(RANKER.items * RANKER.width);
  expect(stats.denseBytes).toBe(4 * stats.denseWeights);
  // Biases of six layers, and the int64 axis of Squeeze.
  expect(stats.otherWeights).toBe(48 + 48 + 32 + 24 + 16 + 1 + 1);
  expect(stats.otherBytes).toBe(4 * 169 + 8);
});

it('sees int8 weights, Constant nodes and subgraphs', async () => {
  const { model } = await quantizeDynamic({ minWeights: 0 })(gemmMlp([8, 6]), contextWith());
  expect(modelStats(model)).toMatchObject({ denseWeights: 48, denseBytes: 48, otherWeights: 6 + 6 });

  const branch = new GraphBuilder({ name: 'then' });
  const value = { kind: 'tensor', value: initializerOf('', denseWeight(createRandom(1), 3, 5)) } as const;
  const [weight = ''] = branch.node('Constant', [], { value }, ['inner']);
  branch.node('MatMul', ['x', weight], {}, ['out']);
  branch.output('out', 'float32');
  const builder = new GraphBuilder();
  builder.input('x', 'float32', [2, 3]);
  const condition = builder.input('condition', 'bool', []);
  const { graph } = branch.build();
  builder.node('If', [condition], { then_branch: graph, else_branch: graph }, ['y']);
  builder.output('y', 'float32');
  expect(modelStats(builder.build())).toMatchObject({ denseWeights: 30, denseBytes: 120 });
});

it('counts multiply-adds in a run', async () => {
  const [feed = {}] = rowFeeds(8, 20);
  expect(await multiplyAddsPer100Rows(gemmMlp([8, 6, 3]), feed, openSession)).toBe(100 * (48 + 18));
  const [request = {}] = rankerFeeds(1);
  const perRow = 2 * 48 * 48 + 48 * 32 + 32 * 24 + 24 * 16 + 64;
  expect(await multiplyAddsPer100Rows(ranker(), request, openSession)).toBe(100 * perRow);
  const builder = new GraphBuilder();
  const x = builder.input('x', 'float32', ['n', 3, 4]);
  builder.node('MatMul', [x, builder.op.Transpose(x, { perm: [0, 2, 1] })], {}, ['y']);
  builder.output('y', 'float32');
  const feedOf = { x: normals(createRandom(1), [5, 3, 4]) };
  expect(await multiplyAddsPer100Rows(builder.build(), feedOf, openSession)).toBe(100 * 3 * 3 * 4);
});

it('makes up inputs whose dimensions agree by name, the same for a seed', () => {
  const feed = generateFeed(ranker(), 3, { rows: 7 });
  expect(feed['history']?.dims).toEqual([7, RANKER.history]);
  expect(feed['candidate']?.dims).toEqual([7]);
  expect(feed['request_index']?.dims).toEqual([7]);
  expect(generateFeed(ranker(), 3, { rows: 7 })).toEqual(feed);
  expect(generateFeed(ranker(), 4, { rows: 7 })).not.toEqual(feed);
});

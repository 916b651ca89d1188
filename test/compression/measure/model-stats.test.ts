import { expect, it } from 'vitest';
import { createRandom, elementCount, float32, must } from '../../../src/core/index.js';
import type { Tensor, TensorMap } from '../../../src/core/index.js';
import { quantizeTables } from '../../../src/compression/passes/quantize-tables.js';
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
  // Six scales beside the weights, and six biases.
  expect(modelStats(model)).toMatchObject({ denseWeights: 48, denseBytes: 48 + 6 * 4, otherWeights: 6 + 6 });

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

const ones = (dims: readonly number[]): Tensor => float32(new Float32Array(elementCount(dims)).fill(1), dims);

/** A tensor of one byte an element. */
function bytesTensor(dtype: 'int8' | 'uint8', dims: readonly number[]): Tensor {
  const count = elementCount(dims);
  return {
    dtype,
    dims,
    data: dtype === 'int8' ? new Int8Array(count).fill(1) : new Uint8Array(count).fill(1),
  };
}

it('sees through what is done to constants, and counts scales and zero points with their weights', () => {
  const builder = new GraphBuilder({ opset: 21 });
  const { op } = builder;
  const x = builder.input('x', 'float32', ['n', 4]);
  const scales = builder.constant(ones([6]));
  const zeros = builder.constant(bytesTensor('int8', [6]));
  const stored = builder.constant(bytesTensor('int8', [6, 4]));
  const [weight = ''] = builder.node('DequantizeLinear', [stored, scales, zeros], { axis: 0 });
  builder.output(op.MatMul(x, op.Transpose(weight, { perm: [1, 0] })), 'float32');
  // A bias that meets the input of a layer is no weight of it.
  builder.output(
    op.Gemm(op.Add(x, builder.constant(ones([4]))), builder.constant(ones([4, 3])), { transB: 0 }),
    'float32',
  );
  const packed = builder.constant(bytesTensor('uint8', [8, 1, 16]));
  const blocks = builder.constant(ones([8]));
  const [wide = ''] = builder.node(
    'Concat',
    Array.from({ length: 8 }, () => x),
    { axis: 1 },
  );
  const bits = { K: 32, N: 8, bits: 4, block_size: 32 };
  builder.node('MatMulNBits', [wide, packed, blocks], bits, ['nbits'], 'com.microsoft');
  builder.output('nbits', 'float32');
  expect(modelStats(builder.build())).toMatchObject({
    denseWeights: 24 + 12 + 128,
    denseBytes: 24 + 6 * 4 + 6 + 12 * 4 + 128 + 8 * 4,
    tableBytes: 0,
    // Scales, zero points, the bias, and the scales of blocks.
    otherWeights: 6 + 6 + 4 + 8,
    otherBytes: 4 * 4,
  });
});

it('counts convolutions, quantized tables with their scales, and a tied table as a table', async () => {
  const builder = new GraphBuilder({ opset: 17 });
  const { op } = builder;
  const image = builder.input('image', 'float32', ['n', 3, 8, 8]);
  const filters = builder.constant(ones([5, 3, 3, 3]));
  builder.output(op.Conv(image, filters, { kernel_shape: [3, 3] }), 'float32');
  const ids = builder.input('ids', 'int64', ['n']);
  const tied = builder.constant(ones([20, 4]));
  builder.output(op.MatMul(op.Gather(tied, ids), op.Transpose(tied, { perm: [1, 0] })), 'float32');
  builder.output(op.Gather(builder.constant(ones([50, 8])), ids), 'float32');
  const model = builder.build();
  expect(modelStats(model)).toMatchObject({
    convWeights: 135,
    convBytes: 540,
    tableWeights: 480,
    denseBytes: 0,
  });
  const { model: int8 } = await quantizeTables({ minWeights: 0 })(model, contextWith());
  expect(modelStats(int8).tableBytes).toBe(20 * 4 * 4 + 50 * 8 + 50 * 2);
});

it('counts multiply-adds of every kind of layer', async () => {
  const random = createRandom(3);
  const count = async (build: (builder: GraphBuilder) => string, feed: TensorMap): Promise<number> => {
    const builder = new GraphBuilder({ opset: 17 });
    for (const [name, { dtype, dims }] of Object.entries(feed))
      builder.input(name, dtype, ['n', ...dims.slice(1)]);
    builder.output(build(builder), 'float32');
    return multiplyAddsPer100Rows(builder.build(), feed, openSession);
  };
  const image = { x: normals(random, [2, 4, 6, 6]) };
  const filters = (builder: GraphBuilder, dims: readonly number[]): string => builder.constant(ones(dims));
  // Each of 8 · 4 · 4 outputs sums over 2 · 3 · 3 inputs of its group.
  expect(await count((b) => b.op.Conv('x', filters(b, [8, 2, 3, 3]), { group: 2 }), image)).toBe(
    100 * 128 * 18,
  );
  // Each of 4 · 6 · 6 inputs is spread over 5 · 3 · 3 outputs.
  const transposed = (b: GraphBuilder): string =>
    must(b.node('ConvTranspose', ['x', filters(b, [4, 5, 3, 3])])[0], 'output');
  expect(await count(transposed, image)).toBe(100 * 144 * 45);
  const rows = { x: normals(random, [5, 3, 6]) };
  const pairs = (b: GraphBuilder): string =>
    b.op.Einsum('x', filters(b, [6, 7]), { equation: 'abc, cd -> abd' });
  expect(await count(pairs, rows)).toBe(100 * 3 * 6 * 7);
  // Three gates of width 2 read 6 inputs and 2 states, at 5 steps of 3 rows; the output's rows are its steps.
  const gru = (b: GraphBuilder): string =>
    must(b.node('GRU', ['x', filters(b, [1, 6, 6]), filters(b, [1, 6, 2])], { hidden_size: 2 })[0], 'output');
  expect(await count(gru, rows)).toBe((100 * 5 * 3 * (36 + 12)) / 5);
  const attention = (b: GraphBuilder): string =>
    must(
      b.node(
        'Attention',
        ['x', filters(b, [6, 18]), filters(b, [18])],
        { num_heads: 2 },
        1,
        'com.microsoft',
      )[0],
      'output',
    );
  expect(await count(attention, rows)).toBe(100 * (3 * 6 * 18 + 2 * 3 * 3 * 6));
  const [feed = {}] = rowFeeds(8, 20);
  const { model: int8 } = await quantizeDynamic({ minWeights: 0 })(gemmMlp([8, 6, 3]), contextWith());
  expect(await multiplyAddsPer100Rows(int8, feed, openSession)).toBe(100 * (48 + 18));
});

it('counts inside subgraphs what has a recorded shape: the larger branch of an If', async () => {
  const branch = (name: string, widths: readonly number[]) => {
    const builder = new GraphBuilder({ name });
    const value = widths.reduce((input, width, layer) => {
      const weight = builder.constant(ones([widths[layer - 1] ?? 3, width]));
      return must(builder.node('MatMul', [input, weight], {}, [`${name}${layer}`])[0], 'output');
    }, 'x');
    builder.output(value, 'float32', [2, 5]);
    const { graph } = builder.build();
    const valueInfos = widths.map((width, layer) => ({
      name: `${name}${layer}`,
      dtype: 'float32' as const,
      dims: [2, width],
    }));
    return { ...graph, valueInfos: valueInfos.slice(0, -1) };
  };
  const builder = new GraphBuilder();
  const feed = {
    x: normals(createRandom(1), [2, 3]),
    condition: { dtype: 'bool', dims: [], data: Uint8Array.of(1) },
  } as const;
  builder.input('x', 'float32', [2, 3]);
  const condition = builder.input('condition', 'bool', []);
  builder.node(
    'If',
    [condition],
    { then_branch: branch('small', [5]), else_branch: branch('large', [7, 5]) },
    ['y'],
  );
  builder.output('y', 'float32', [2, 5]);
  expect(await multiplyAddsPer100Rows(builder.build(), feed, openSession)).toBe(100 * (3 * 7 + 7 * 5));
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

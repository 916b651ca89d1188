import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRandom, float32, int64, must } from '../../../src/core/index.js';
import type { Random, Tensor, TensorMap } from '../../../src/core/index.js';
import { pruneStructured } from '../../../src/compression/index.js';
import { encodeModel, GraphBuilder, tensorOf } from '../../../src/onnx/index.js';
import type { Graph, Model } from '../../../src/onnx/index.js';
import { rejectionCode } from '../../support/error-code.js';
import { testOnRealModels } from '../real-models.js';
import {
  contextWith,
  denseWeight,
  gemmMlp,
  maxDifference,
  normals,
  ranker,
  rankerFeeds,
  relativeRms,
  rowFeeds,
  values,
  withDeadLayer,
} from '../support.js';

const INPUTS = 10;
const HIDDEN = 16;

type Activation = (builder: GraphBuilder, value: string, random: Random) => string;

/** Operators between two dense layers, as exporters write them. */
const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  none: (_, value) => value,
  relu: ({ op }, value) => op.Relu(value),
  sigmoid: ({ op }, value) => op.Sigmoid(value),
  'gelu of erf': ({ op }, value) => op.Mul(op.Mul(value, op.Add(op.Erf(op.Div(value, Math.SQRT2)), 1)), 0.5),
  silu: ({ op }, value) => op.Mul(value, op.Sigmoid(value)),
  clip: ({ op }, value) => op.Clip(value, 0, 6),
  'prelu, a slope a neuron': (builder, value, random) =>
    builder.op.PRelu(value, repeating(builder, random, 0)),
  'batch normalization': (builder, value, random) => {
    const [scale, shift, mean, variance] = [1, 0, 0, 1].map((at) => repeating(builder, random, at));
    const operands = [value, scale, shift, mean, variance].map((name) => name ?? '');
    return builder.op.Relu(builder.op.BatchNormalization(...operands));
  },
};

/** The same behind statistics over the neurons, which copies leave as they are and dead neurons do not. */
const NORMALISATIONS: Readonly<Record<string, Activation>> = {
  'layer normalization': (builder, value, random) =>
    builder.op.Relu(
      builder.op.LayerNormalization(value, repeating(builder, random, 1), repeating(builder, random, 0)),
    ),
  'layer normalization, spelled out': (builder, value, random) => {
    const { op } = builder;
    const centred = op.Sub(value, op.ReduceMean(value, [-1]));
    const deviation = op.Sqrt(op.Add(op.ReduceMean(op.Pow(centred, 2), [-1]), 1e-5));
    const scaled = op.Mul(op.Div(centred, deviation), repeating(builder, random, 1));
    return op.Relu(op.Add(scaled, repeating(builder, random, 0)));
  },
  'layer normalization as TensorFlow writes it': (builder, value, random) => {
    const { op } = builder;
    const mean = op.ReduceMean(value, [-1]);
    const centred = op.Sub(value, mean);
    const variance = op.ReduceMean(op.Mul(centred, centred), [-1]);
    const gain = op.Mul(op.Reciprocal(op.Sqrt(op.Add(variance, 1e-5))), repeating(builder, random, 1));
    return op.Relu(op.Add(op.Mul(value, gain), op.Sub(repeating(builder, random, 0), op.Mul(mean, gain))));
  },
  'root mean square': ({ op }, value) =>
    op.Relu(op.Div(value, op.Sqrt(op.Add(op.ReduceMean(op.Mul(value, value), [-1]), 1e-5)))),
};

/** Ways to move neurons without mixing them. */
const MOVES: Readonly<Record<string, Activation>> = {
  'Split and Concat': (builder, value) => {
    const [left = '', right = ''] = builder.node('Split', [value, [8, 8]], { axis: 1 }, 2);
    return builder.op.Concat(builder.op.Relu(left), builder.op.Relu(right), { axis: 1 });
  },
  'Slices and Concat': ({ op }, value) =>
    op.Tanh(op.Concat(op.Slice(value, [6], [99], [1]), op.Slice(value, [-16], [6], [1]), { axis: 1 })),
  'Reshape and Transpose': ({ op }, value) => {
    const grid = op.Transpose(op.Reshape(value, [1, -1, HIDDEN]), { perm: [1, 2, 0] });
    return op.Squeeze(op.Relu(grid), [2]);
  },
  'a shape computed from a shape': (builder, value) => {
    const { op } = builder;
    const rows = op.Slice(op.Shape(value), [0], [1]);
    const width = op.Slice(op.Shape(value), [1], [2]);
    const flat = op.Reshape(value, op.Concat([1], rows, width, { axis: 0 }));
    return op.Relu(op.Reshape(flat, op.Concat(rows, width, { axis: 0 })));
  },
};

/** One number a neuron around `mean`, the same for a neuron and its copy. */
function repeating(builder: GraphBuilder, random: Random, mean: number): string {
  const half = Array.from({ length: HIDDEN / 2 }, () => mean + 0.2 * random.normal());
  return builder.constant(float32(Float32Array.of(...half, ...half)));
}

/** Two layers in which the neurons from `HIDDEN / 2` on repeat the first ones (with `none`: as multiples) or are dead. */
function redundant(activation: string, op: 'MatMul' | 'Gemm', seed: number, deadOnes = true): Model {
  const random = createRandom(seed);
  const builder = new GraphBuilder();
  const weight = denseWeight(random, INPUTS, HIDDEN).data as Float32Array;
  const bias = normals(random, [HIDDEN], 0.5).data as Float32Array;
  for (let neuron = HIDDEN / 2; neuron < HIDDEN; neuron++) {
    const dead = deadOnes && neuron % 3 === 0;
    const factor = activation === 'none' ? 1.7 : 1;
    for (let row = 0; row < INPUTS; row++)
      weight[row * HIDDEN + neuron] = dead ? 0 : factor * (weight[row * HIDDEN + neuron - HIDDEN / 2] ?? 0);
    if (!dead) bias[neuron] = factor * (bias[neuron - HIDDEN / 2] ?? 0);
  }
  const dense = (input: string, w: Float32Array, b: Float32Array, dims: [number, number]): string => {
    const [stored, shift] = [builder.constant(float32(w, dims)), builder.constant(float32(b))];
    return op === 'Gemm'
      ? builder.op.Gemm(input, stored, shift)
      : builder.op.Add(builder.op.MatMul(input, stored), shift);
  };
  const x = builder.input('x', 'float32', ['rows', INPUTS]);
  const apply = must({ ...ACTIVATIONS, ...NORMALISATIONS, ...MOVES }[activation], activation);
  const hidden = apply(builder, dense(x, weight, bias, [INPUTS, HIDDEN]), random);
  const out = dense(
    hidden,
    denseWeight(random, HIDDEN, 4).data as Float32Array,
    new Float32Array(4).fill(0.3),
    [HIDDEN, 4],
  );
  builder.node('Identity', [out], {}, ['y']);
  builder.output('y', 'float32');
  return builder.build();
}

/** A dense layer, `between` (which gets the neurons and a random source), and a dense layer. */
function around(between: (builder: GraphBuilder, neurons: string, random: Random) => string): Model {
  const random = createRandom(1);
  const builder = new GraphBuilder();
  const x = builder.input('x', 'float32', ['rows', 8]);
  const first = builder.initializer('first', denseWeight(random, 8, 8));
  const [neurons = ''] = builder.node('MatMul', [x, first], {}, ['neurons']);
  const second = builder.initializer('second', denseWeight(random, 8, 8));
  builder.node('MatMul', [between(builder, neurons, random), second], {}, ['y']);
  builder.output('y', 'float32');
  return builder.build();
}

const STREAM = { width: 16, items: 9, length: 3 };

/**
 * Two feed-forward blocks around a residual stream of width 16 that a table, a second table and an embedding of `x`
 * feed. Channels from 8 on repeat those before, wherever they are written.
 */
function stream(seed: number): Model {
  const random = createRandom(seed);
  const builder = new GraphBuilder();
  const { op } = builder;
  const { width, items, length } = STREAM;
  const repeated = (rows: number, scale: number): Tensor => {
    const { data } = normals(random, [rows, width / 2], scale);
    const half = data as Float32Array;
    const twice = Float32Array.from({ length: rows * width }, (_, at) => {
      const [row, column] = [Math.floor(at / width), at % (width / 2)];
      return half[row * (width / 2) + column] ?? 0;
    });
    return float32(twice, [rows, width]);
  };
  const vector = (): string => builder.constant({ ...repeated(1, 0.5), dims: [width] });
  const norm = (value: string): string => op.LayerNormalization(value, vector(), vector());
  const ids = builder.input('ids', 'int64', ['rows', length]);
  const x = builder.input('x', 'float32', ['rows', length, 5]);
  const table = builder.initializer('table', repeated(items, 1));
  const places = builder.initializer('places', { ...repeated(length, 1), dims: [1, length, width] });
  let value = op.Add(
    op.Add(op.Gather(table, ids), places),
    op.MatMul(x, builder.initializer('embed', repeated(5, 0.5))),
  );
  for (const block of [0, 1]) {
    const up = builder.initializer(`up${block}`, denseWeight(random, width, 24));
    const down = builder.initializer(`down${block}`, repeated(24, 0.3));
    const hidden = op.Relu(op.Add(op.MatMul(norm(value), up), builder.constant(normals(random, [24]))));
    value = op.Add(value, op.MatMul(hidden, down));
  }
  const pooled = op.ReduceMean(norm(value), [1], { keepdims: 0 });
  builder.node('Gemm', [pooled, builder.initializer('head', denseWeight(random, width, 2))], {}, ['y']);
  builder.output('y', 'float32');
  return builder.build();
}

function streamFeeds(count: number, seed: number): readonly TensorMap[] {
  const random = createRandom(seed);
  const { items, length } = STREAM;
  return Array.from({ length: count }, (_, index) => {
    const rows = 20 + index;
    const ids = Array.from({ length: rows * length }, () => random.integer(items));
    return { ids: int64(ids, [rows, length]), x: normals(random, [rows, length, 5]) };
  });
}

async function reasonsFor(model: Model): Promise<readonly string[]> {
  const { model: same, report } = await pruneStructured()(model, contextWith(rowFeeds(8, 6)));
  expect(same).toBe(model);
  return report.left.map(({ reason }) => reason);
}

describe('pruneStructured', () => {
  it.each(Object.keys(ACTIVATIONS).flatMap((name) => [[name, 'Gemm'] as const, [name, 'MatMul'] as const]))(
    'loses nothing when the neurons it removes are redundant: %s, %s',
    async (activation, op) => {
      await fc.assert(
        fc.asyncProperty(fc.integer({ min: 1, max: 10_000 }), async (seed) => {
          const model = redundant(activation, op, seed);
          const feeds = rowFeeds(INPUTS, 200, 1, seed);
          const { model: pruned, report } = await pruneStructured({ ridge: 1e-8 })(model, contextWith(feeds));
          expect(report.changed).toHaveLength(1);
          expect(report.changed[0]?.change).toContain('16 neurons to 8');
          const [fresh = {}] = rowFeeds(INPUTS, 50, 1, seed + 1);
          expect(maxDifference(await values(model, fresh), await values(pruned, fresh))).toBeLessThan(1e-4);
        }),
        { numRuns: 4 },
      );
    },
  );

  it.each([...Object.keys(NORMALISATIONS), ...Object.keys(MOVES)])(
    'loses nothing when the neurons it removes are copies: %s',
    async (between) => {
      for (const seed of [1, 2, 3]) {
        const model = redundant(between, 'MatMul', seed, false);
        const feeds = rowFeeds(INPUTS, 300, 1, seed);
        const { model: pruned, report } = await pruneStructured({ ridge: 1e-8 })(model, contextWith(feeds));
        expect(report.changed.map(({ change }) => change)).toEqual([
          expect.stringContaining('16 neurons to 8'),
        ]);
        const [fresh = {}] = rowFeeds(INPUTS, 50, 1, seed + 1);
        expect(maxDifference(await values(model, fresh), await values(pruned, fresh))).toBeLessThan(1e-4);
      }
    },
  );

  it.each<readonly [string, (builder: GraphBuilder, a: string, b: string) => string]>([
    ['a sigmoid gate', ({ op }, a, b) => op.Mul(a, op.Sigmoid(b))],
    ['SwiGLU', ({ op }, a, b) => op.Mul(op.Mul(a, op.Sigmoid(a)), b)],
  ])('prunes the two halves of %s together', async (_, gate) => {
    const random = createRandom(4);
    const builder = new GraphBuilder();
    const x = builder.input('x', 'float32', ['rows', INPUTS]);
    const half = (name: string): string => {
      const weight = denseWeight(random, INPUTS, HIDDEN).data as Float32Array;
      // The neurons from 8 on repeat those before.
      const copied = weight.map((own, at) =>
        at % HIDDEN < HIDDEN / 2 ? own : (weight[at - HIDDEN / 2] ?? 0),
      );
      return builder.op.MatMul(x, builder.initializer(name, float32(copied, [INPUTS, HIDDEN])));
    };
    const gated = gate(builder, half('value'), half('gate'));
    const out = builder.initializer('out', denseWeight(random, HIDDEN, 3));
    builder.node('MatMul', [gated, out], {}, ['y']);
    builder.output('y', 'float32');
    const model = builder.build();
    const { model: pruned, report } = await pruneStructured({ ridge: 1e-8 })(
      model,
      contextWith(rowFeeds(INPUTS, 300)),
    );
    expect(report.changed).toMatchObject([
      { weightsBefore: 2 * INPUTS * HIDDEN + 3 * HIDDEN, weightsAfter: INPUTS * HIDDEN + (3 * HIDDEN) / 2 },
    ]);
    expect(report.left.map(({ reason }) => reason)).toEqual(["its neurons are the model's output y"]);
    const [fresh = {}] = rowFeeds(INPUTS, 40, 1, 77);
    expect(maxDifference(await values(model, fresh), await values(pruned, fresh))).toBeLessThan(1e-4);
  });

  it('reports the error that the next layer has on the calibration requests', async () => {
    const model = gemmMlp([12, 32, 6]);
    const feeds = rowFeeds(12, 100, 3);
    const { model: pruned, report } = await pruneStructured({ share: 0.25 })(model, contextWith(feeds));
    const [a, b, c] = feeds;
    const all = async (of: Model): Promise<number[]> =>
      (await Promise.all([a, b, c].map((feed) => values(of, feed ?? {})))).flat();
    // Gemm and bias together: relative to outputs with their bias, as the pass measures it.
    const error = relativeRms(await all(model), await all(pruned));
    expect(error).toBeGreaterThan(0.001);
    expect(Math.abs((report.changed[0]?.relativeError ?? NaN) / error - 1)).toBeLessThan(0.01);
  });

  it('errs less than pruning by weights, on requests it has not seen', async () => {
    const model = gemmMlp([16, 64, 32, 1]);
    const [fresh = {}] = rowFeeds(16, 300, 1, 99);
    const reference = await values(model, fresh);
    const fitted = await pruneStructured()(model, contextWith(rowFeeds(16, 500, 4)));
    const blind = await pruneStructured({ importance: 'magnitude' })(model, contextWith());
    const fittedError = relativeRms(reference, await values(fitted.model, fresh));
    expect(fittedError).toBeLessThan(0.6 * relativeRms(reference, await values(blind.model, fresh)));
  });

  it('prunes the deep branch of a ranker through Concat and leaves the cross layers', async () => {
    const model = ranker();
    const { model: pruned, report } = await pruneStructured()(model, contextWith(rankerFeeds(10)));
    expect(report.changed.map(({ layer, change }) => [layer, change])).toEqual([
      [expect.any(String), expect.stringContaining('32 neurons to 16')],
      [expect.any(String), expect.stringContaining('24 neurons to 12')],
      [expect.any(String), expect.stringContaining('16 neurons to 8')],
    ]);
    expect(report.left.map(({ reason }) => reason)).toEqual([
      'its neurons are summed with those of other layers: set residual',
      'its neurons are summed with those of other layers: set residual',
      'it has one neuron',
    ]);
    const head = must(
      [...pruned.graph.initializers.values()].find(({ name }) => name.startsWith('head.weight')),
      'head',
    );
    expect(head.dims).toEqual([48 + 8, 1]);
    expect(pruned.graph.initializers.get('items.table')).toBe(model.graph.initializers.get('items.table'));
    expect(pruned.graph.initializers.get('cross1.weight')).toBe(
      model.graph.initializers.get('cross1.weight'),
    );
    const [fresh = {}] = rankerFeeds(1, 100, 50);
    const error = relativeRms(await values(model, fresh, 'score'), await values(pruned, fresh, 'score'));
    expect(error).toBeLessThan(0.25);
  });

  it('refits several readers together', async () => {
    const random = createRandom(3);
    const builder = new GraphBuilder();
    const x = builder.input('x', 'float32', ['rows', 8]);
    const { op } = builder;
    const hidden = op.Relu(op.MatMul(x, builder.constant(denseWeight(random, 8, 20))));
    const left = op.MatMul(hidden, builder.constant(denseWeight(random, 20, 5)));
    const right = op.Gemm(hidden, builder.constant(normals(random, [3, 20])), { transB: 1, alpha: 2 });
    builder.node('Concat', [left, right], { axis: 1 }, ['y']);
    builder.output('y', 'float32');
    const model = builder.build();
    const feeds = rowFeeds(8, 400);
    const { model: pruned, report } = await pruneStructured({ share: 0.2 })(model, contextWith(feeds));
    expect(report.changed).toMatchObject([{ weightsBefore: 8 * 20 + 20 * 8, weightsAfter: 8 * 16 + 16 * 8 }]);
    const reference = await values(model, feeds[0] ?? {});
    expect(relativeRms(reference, await values(pruned, feeds[0] ?? {}))).toBeLessThan(0.2);
  });

  it('prunes the width of a residual stream when told to: tables, sums, normalisations and readers', async () => {
    for (const seed of [1, 2]) {
      const model = stream(seed);
      const context = contextWith(streamFeeds(6, seed));
      const { report: without } = await pruneStructured({ share: 0.5 })(model, context);
      expect(without.changed.map(({ change }) => change.replace(/;.*/, ''))).toEqual([
        '24 neurons to 12',
        '24 neurons to 12',
      ]);
      expect(without.left.map(({ reason }) => reason)).toContain(
        'its neurons are summed with those of other layers: set residual',
      );
      const { model: pruned, report } = await pruneStructured({
        residual: true,
        ridge: 1e-8,
        exclude: ['*up*'],
      })(model, context);
      expect(report.changed.map(({ change }) => change)).toEqual([
        expect.stringContaining('16 channels of a sum to 8, together with'),
      ]);
      const sizes = [...pruned.graph.initializers.values()].flatMap(({ dims }) => dims);
      expect(sizes).not.toContain(16);
      const [fresh = {}] = streamFeeds(1, seed + 50);
      // Copies of channels leave the normalisations as they are.
      expect(maxDifference(await values(model, fresh), await values(pruned, fresh))).toBeLessThan(2e-3);
    }
  });

  it.each(['repair', 'activation', 'taylor', 'magnitude'] as const)(
    'finds dead neurons by %s',
    async (importance) => {
      const random = createRandom(2);
      const weight = denseWeight(random, INPUTS, HIDDEN).data as Float32Array;
      const dead = [1, 4, 5, 9, 11, 12, 14, 15];
      for (let row = 0; row < INPUTS; row++) for (const neuron of dead) weight[row * HIDDEN + neuron] = 0;
      const builder = new GraphBuilder();
      const x = builder.input('x', 'float32', ['rows', INPUTS]);
      const hidden = builder.op.Tanh(
        builder.op.MatMul(x, builder.initializer('first', float32(weight, [INPUTS, HIDDEN]))),
      );
      const out = builder.initializer('out', denseWeight(random, HIDDEN, 3));
      builder.node('MatMul', [hidden, out], {}, ['y']);
      builder.output('y', 'float32');
      const model = builder.build();
      const { model: pruned } = await pruneStructured({ importance, repair: false })(
        model,
        contextWith(rowFeeds(INPUTS, 60, 2)),
      );
      const [fresh = {}] = rowFeeds(INPUTS, 30, 1, 8);
      expect(maxDifference(await values(model, fresh), await values(pruned, fresh))).toBeLessThan(1e-5);
    },
  );

  it('goes by the change of the output to first order with taylor', async () => {
    // The second layer reads neuron 0 strongly and the output forgets what it says; neuron 1 is read weakly and counts.
    const builder = new GraphBuilder();
    const x = builder.input('x', 'float32', ['rows', 2]);
    const first = builder.initializer('first', float32(Float32Array.of(1, 0, 0, 1), [2, 2]));
    const second = builder.initializer('second', float32(Float32Array.of(9, 0, 0, 0.5), [2, 2]));
    const last = builder.initializer('last', float32(Float32Array.of(0.001, 1), [2, 1]));
    const { op } = builder;
    builder.node('MatMul', [op.Relu(op.MatMul(op.Relu(op.MatMul(x, first)), second)), last], {}, ['y']);
    builder.output('y', 'float32');
    const model = builder.build();
    const keptBy = async (importance: 'taylor' | 'activation'): Promise<number[]> => {
      const parameters = { importance, repair: false, exclude: ['second'] };
      const { model: pruned } = await pruneStructured(parameters)(model, contextWith(rowFeeds(2, 50, 2)));
      const cut = [...pruned.graph.initializers.values()].find(({ name }) => name.startsWith('first'));
      return [...(tensorOf(must(cut, 'first')).data as Float32Array)];
    };
    expect(await keptBy('taylor')).toEqual([0, 1]);
    expect(await keptBy('activation')).toEqual([1, 0]);
  });

  it('removes where a multiply-add costs least with global allocation', async () => {
    // The first hidden layer is redundant, the second is not.
    const random = createRandom(6);
    const builder = new GraphBuilder();
    const x = builder.input('x', 'float32', ['rows', INPUTS]);
    const wide = denseWeight(random, INPUTS, 40).data as Float32Array;
    const copied = wide.map((own, at) =>
      at % 40 < 10 ? own : (wide[Math.floor(at / 40) * 40 + (at % 10)] ?? 0),
    );
    const { op } = builder;
    const first = op.Tanh(op.MatMul(x, builder.initializer('wide', float32(copied, [INPUTS, 40]))));
    const second = op.Tanh(op.MatMul(first, builder.initializer('dense', denseWeight(random, 40, 12))));
    builder.node('MatMul', [second, builder.initializer('out', denseWeight(random, 12, 12))], {}, ['y']);
    builder.output('y', 'float32');
    const model = builder.build();
    const feeds = rowFeeds(INPUTS, 200, 2);
    const errorOf = async (allocation: 'uniform' | 'global'): Promise<readonly [number, number]> => {
      const { model: pruned, report } = await pruneStructured({ allocation, share: 0.4 })(
        model,
        contextWith(feeds),
      );
      const [fresh = {}] = rowFeeds(INPUTS, 50, 1, 31);
      const removed = report.changed.reduce(
        (sum, { weightsBefore, weightsAfter }) => sum + weightsBefore - weightsAfter,
        0,
      );
      expect(removed).toBeGreaterThan(400);
      return [relativeRms(await values(model, fresh), await values(pruned, fresh)), report.changed.length];
    };
    const [[uniform], [global, changed]] = [await errorOf('uniform'), await errorOf('global')];
    expect(global).toBeLessThan(0.2 * uniform);
    expect(changed).toBe(1);
  });

  it('leaves layers that are excluded by name, and says when a name is none', async () => {
    const model = gemmMlp([16, 16, 16, 4]);
    const context = contextWith(rowFeeds(16, 60));
    const { report } = await pruneStructured({ exclude: ['w1'] })(model, context);
    expect(report.changed).toHaveLength(1);
    expect(report.left.map(({ reason }) => reason)).toContain('excluded by name');
    expect(await rejectionCode(pruneStructured({ exclude: ['w7*'] })(model, context))).toBe('RECIPE_INVALID');
  });

  it('never touches the model it was given', async () => {
    const model = gemmMlp([16, 16, 4]);
    const before = encodeModel(model);
    await pruneStructured()(model, contextWith(rowFeeds(16, 20)));
    expect(Buffer.compare(encodeModel(model), before)).toBe(0);
  });

  it('goes by the requests of each call, also on one model', async () => {
    const model = gemmMlp([16, 16, 4]);
    const prunedOn = async (seed: number, given = model): Promise<Uint8Array> =>
      encodeModel((await pruneStructured()(given, contextWith(rowFeeds(16, 20, 1, seed)))).model);
    const first = await prunedOn(1);
    const second = await prunedOn(2);
    expect(Buffer.compare(second, await prunedOn(2, gemmMlp([16, 16, 4])))).toBe(0);
    expect(Buffer.compare(first, second)).not.toBe(0);
  });

  it('passes over layers that nothing reads', async () => {
    const [model, context] = [gemmMlp([16, 16, 4]), contextWith(rowFeeds(16, 20))];
    const wanted = await pruneStructured()(model, context);
    const { model: pruned, report } = await pruneStructured()(withDeadLayer(model, 16), context);
    expect(Buffer.compare(encodeModel(pruned), encodeModel(wanted.model))).toBe(0);
    expect(report).toEqual(wanted.report);
  });

  it('asks for calibration requests', async () => {
    expect(await rejectionCode(pruneStructured()(gemmMlp([8, 8, 8]), contextWith()))).toBe('RECIPE_INVALID');
  });

  it.each<readonly [string, (builder: GraphBuilder, neurons: string, random: Random) => string, RegExp]>([
    ['a residual sum', ({ op }, n) => op.Add(op.Relu(n), 'x'), /\(Add\) combines its neurons with x/],
    ['a sum over neurons', ({ op }, n) => op.Softmax(n, { axis: 1 }), /\(Softmax\) reads its neurons/],
    [
      'statistics that are more than a normalisation',
      (builder, n) => {
        const mean = builder.op.ReduceMean(n, [1]);
        return builder.op.Slice(builder.op.Concat(builder.op.Sub(n, mean), mean, { axis: 1 }), [0], [8], [1]);
      },
      /\(Concat\) reads its neurons/,
    ],
    [
      'another order of elements',
      ({ op }, n) => op.Transpose(op.Reshape(n, [8, -1]), { perm: [1, 0] }),
      /\(Reshape\) reads its neurons/,
    ],
    [
      'an output of the model',
      (builder, n) => {
        builder.output(n, 'float32');
        return n;
      },
      /its neurons are the model's output neurons/,
    ],
    [
      'a Concat of rows',
      ({ op }, n) => op.Concat(n, 'x', { axis: 0 }),
      /\(Concat\) joins along another axis/,
    ],
    [
      'a Concat that others read',
      ({ op }, n) => {
        const joined = op.Concat(n, { axis: 1 });
        return op.Mul(joined, op.Softmax(joined));
      },
      /\(Softmax\) reads its neurons/,
    ],
    [
      'a subgraph',
      (builder, n) => {
        const inner = (name: string): Graph => ({
          ...new GraphBuilder().build().graph,
          name,
          outputs: [{ name, dtype: 'float32', dims: undefined }],
          nodes: [{ name, op: 'Relu', domain: '', inputs: [n], outputs: [name], attributes: new Map() }],
        });
        const yes = builder.constant({ dtype: 'bool', dims: [], data: Uint8Array.of(1) });
        return builder.op.If(yes, { then_branch: inner('then'), else_branch: inner('else') });
      },
      /\(If\) reads its neurons/,
    ],
  ])('leaves neurons that go into %s', async (_, between, reason) => {
    expect((await reasonsFor(around(between)))[0]).toMatch(reason);
  });

  it('leaves weights that several nodes share', async () => {
    const model = around((builder, neurons) => {
      builder.node('MatMul', ['x', 'first'], {}, ['again']);
      builder.output('again', 'float32');
      return neurons;
    });
    expect((await reasonsFor(model))[0]).toBe('the weights first are shared by several nodes');
  });
});

describe('on models from other exporters', () => {
  // Feed-forward parts of transformers, behind GELUs that are spelled out and Reshapes with computed shapes.
  testOnRealModels(
    pruneStructured(),
    {
      'TFBertForQuestionAnswering.onnx': [24, 0.01],
      'attention_past_state.u8s8.onnx': [0, 0],
      'bert_toy_optimized.onnx': [7, 0.05],
      'cnn_mnist_pytorch.onnx': [1, 0.01],
      'dynamic_quantize_matmul_int8.onnx': [0, 0],
      'gpt2_past.onnx': [12, 0.05],
      'silero_vad_v6.onnx': [0, 0],
      'squeezenet_tensor_input.onnx': [0, 0],
      'tiny_gpt2_beamsearch.onnx': [0, 0],
      'vespa_custom_similarity.onnx': [3, 0.01],
      'vespa_pairwise_ranker.onnx': [0, 0],
      'vespa_pca_transformer.onnx': [0, 0],
      'vespa_transformer.onnx': [2, 0.01],
    },
    8,
  );
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRandom, float32, must } from '../../../src/core/index.js';
import type { Random } from '../../../src/core/index.js';
import { pruneStructured } from '../../../src/compression/index.js';
import { encodeModel, GraphBuilder } from '../../../src/onnx/index.js';
import type { Graph, Model } from '../../../src/onnx/index.js';
import { rejectionCode } from '../../support/error-code.js';
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

/** One number a neuron around `mean`, the same for a neuron and its copy. */
function repeating(builder: GraphBuilder, random: Random, mean: number): string {
  const half = Array.from({ length: HIDDEN / 2 }, () => mean + 0.2 * random.normal());
  return builder.constant(float32(Float32Array.of(...half, ...half)));
}

/** Two layers in which the neurons from `HIDDEN / 2` on repeat the first ones (with `none`: as multiples) or are dead. */
function redundant(activation: string, op: 'MatMul' | 'Gemm', seed: number): Model {
  const random = createRandom(seed);
  const builder = new GraphBuilder();
  const weight = denseWeight(random, INPUTS, HIDDEN).data as Float32Array;
  const bias = normals(random, [HIDDEN], 0.5).data as Float32Array;
  for (let neuron = HIDDEN / 2; neuron < HIDDEN; neuron++) {
    const dead = neuron % 3 === 0;
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
  const apply = must(ACTIVATIONS[activation], activation);
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

  it('never touches the model it was given', async () => {
    const model = gemmMlp([16, 16, 4]);
    const before = encodeModel(model);
    await pruneStructured()(model, contextWith(rowFeeds(16, 20)));
    expect(Buffer.compare(encodeModel(model), before)).toBe(0);
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

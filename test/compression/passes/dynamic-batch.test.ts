import { describe, expect, it, test } from 'vitest';
import { createRandom, must } from '../../../src/core/index.js';
import { dynamicBatch } from '../../../src/compression/index.js';
import { GraphBuilder, readModel } from '../../../src/onnx/index.js';
import type { Model } from '../../../src/onnx/index.js';
import { sharedData } from '../../support/shared-data.js';
import { contextWith, denseWeight, normals, relativeRms, run, values } from '../support.js';

/** A model with input `x` of one row `[1, 4, 6]` whose output is what `body` makes of it. */
function rowModel(body: (builder: GraphBuilder, x: string) => string, opset = 17): Model {
  const builder = new GraphBuilder({ opset });
  const x = builder.input('x', 'float32', [1, 4, 6]);
  builder.node('Identity', [body(builder, x)], {}, ['y']);
  builder.output('y', 'float32');
  return builder.build();
}

/** Two heads of self-attention over the second axis, with the shapes that exporters write for a batch of 1. */
function attention({ op, constant }: Pick<GraphBuilder, 'op' | 'constant'>, x: string): string {
  const random = createRandom(1);
  const heads = (): string => {
    const projected = op.MatMul(x, constant(denseWeight(random, 6, 6)));
    return op.Transpose(op.Reshape(projected, [1, -1, 2, 3]), { perm: [0, 2, 1, 3] });
  };
  const scores = op.MatMul(heads(), op.Transpose(heads(), { perm: [0, 1, 3, 2] }));
  const mixed = op.Transpose(op.MatMul(op.Softmax(scores), heads()), { perm: [0, 2, 1, 3] });
  // Through a matrix of all positions, as old exporters do.
  const flat = op.MatMul(op.Reshape(mixed, [4, 6]), constant(denseWeight(random, 6, 6)));
  return op.Reshape(flat, [1, 4, 6]);
}

describe('dynamicBatch', () => {
  it('rewrites the shapes of attention so that rows stay apart', async () => {
    const model = rowModel((builder, x) =>
      attention({ op: builder.op, constant: (t) => builder.constant(t) }, x),
    );
    const { model: batched, report } = await dynamicBatch({ name: 'rows' })(model, contextWith());
    expect(batched.graph.inputs[0]?.dims).toEqual(['rows', 4, 6]);
    const shapes = report.changed.map(({ change }) => change);
    expect(shapes).toContain('first dimension 1 to rows');
    expect(shapes).toContain('shape [1, -1, 2, 3] to [0, -1, 2, 3]');
    expect(shapes).toContain('shape [4, 6] to [-1, 6]');
    expect(shapes).toContain('shape [1, 4, 6] to [-1, 4, 6]');
    const x = normals(createRandom(3), [5, 4, 6]);
    const all = await values(batched, { x });
    for (let row = 0; row < 5; row++) {
      const data = (x.data as Float32Array).slice(row * 24, (row + 1) * 24);
      const one = await values(model, { x: { ...x, dims: [1, 4, 6], data } });
      expect(relativeRms(one, all.slice(row * 24, (row + 1) * 24))).toBeLessThan(1e-5);
    }
  });

  it.each<readonly [string, (builder: GraphBuilder, x: string) => string, RegExp]>([
    [
      'a sum over rows',
      ({ op }, x) => op.Relu(op.Mul(x, op.ReduceMean(x, { axes: [0], keepdims: 1 }))),
      /ReduceMean/,
    ],
    ['a softmax over rows', ({ op }, x) => op.Add(op.Softmax(op.Relu(x), { axis: 0 }), 1), /Softmax/],
    ['a slice of the first row', ({ op }, x) => op.Slice(op.Relu(x), [0], [1], [0]), /Slice/],
    ['a squeeze of the batch', ({ op }, x) => op.Squeeze(x, [0]), /Squeeze/],
    ['a shape that cannot follow', ({ op }, x) => op.Reshape(x, [2, -1]), /Reshape.*cannot follow/],
  ])('refuses %s and names the node', async (_, body, message) => {
    const failure = await dynamicBatch()(rowModel(body), contextWith()).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'GRAPH_UNSUPPORTED' });
    expect(String(failure)).toMatch(message);
  });

  it('leaves values that do not depend on the rows, and inputs of another size', async () => {
    const builder = new GraphBuilder();
    const x = builder.input('x', 'float32', [1, 3]);
    const table = builder.input('table', 'float32', [7, 3]);
    const { op } = builder;
    const vector = op.Reshape(builder.constant(normals(createRandom(1), [3])), [1, 3]);
    builder.node('Add', [op.Gather(table, [2]), op.Mul(x, vector)], {}, ['y']);
    builder.output('y', 'float32', [1, 3]);
    builder.node('Identity', [vector], {}, ['fixed']);
    builder.output('fixed', 'float32', [1, 3]);
    const model = builder.build();
    const { model: batched, report } = await dynamicBatch()(model, contextWith());
    expect(report.changed.map(({ layer }) => layer)).toEqual(['x']);
    expect(batched.graph.inputs.map(({ dims }) => dims)).toEqual([
      ['batch', 3],
      [7, 3],
    ]);
    expect(batched.graph.outputs.map(({ dims }) => dims)).toEqual([
      ['batch', 3],
      [1, 3],
    ]);
  });

  it('leaves a model that is dynamic already and refuses one without rows', async () => {
    const dynamic = new GraphBuilder();
    dynamic.node('Relu', [dynamic.input('x', 'float32', ['n', 2])], {}, ['y']);
    dynamic.output('y', 'float32');
    const model = dynamic.build();
    const { model: same, report } = await dynamicBatch()(model, contextWith());
    expect(same).toBe(model);
    expect(report.left).toMatchObject([{ layer: 'x', reason: 'its first dimension is dynamic already' }]);

    const vector = new GraphBuilder();
    vector.node('Relu', [vector.input('x', 'float32', [768])], {}, ['y']);
    vector.output('y', 'float32');
    const failure = await dynamicBatch()(vector.build(), contextWith()).catch((error: unknown) => error);
    expect(failure).toMatchObject({
      code: 'GRAPH_UNSUPPORTED',
      details: { inputs: [{ name: 'x', dims: [768] }] },
    });
  });
});

const folder = sharedData('onnx');

describe.skipIf(folder === undefined)('dynamicBatch on models from other exporters', () => {
  test('a similarity model for one pair takes many', async () => {
    const model = await readModel(`${folder ?? ''}/vespa_custom_similarity.onnx`);
    const { model: batched } = await dynamicBatch()(model, contextWith());
    const random = createRandom(2);
    const [query, document] = [normals(random, [7, 384]), normals(random, [7, 384])];
    const result = must((await run(batched, { query, document }))['similarity'], 'similarity');
    expect(result.dims).toEqual([7, 1]);
    for (let row = 0; row < 7; row++) {
      const one = (all: typeof query): typeof query => ({
        ...all,
        dims: [1, 384],
        data: (all.data as Float32Array).slice(row * 384, (row + 1) * 384),
      });
      const [alone] = await values(model, { query: one(query), document: one(document) }, 'similarity');
      expect(Number(result.data[row])).toBeCloseTo(alone ?? NaN, 6);
    }
  });

  test('a convolutional net takes many images', async () => {
    const model = await readModel(`${folder ?? ''}/cnn_mnist_pytorch.onnx`);
    const { model: batched, report } = await dynamicBatch()(model, contextWith());
    // Its Reshape to [-1, 320] follows already.
    expect(report.changed.map(({ change }) => change)).toEqual(['first dimension 1 to batch']);
    expect((await run(batched, { 0: normals(createRandom(1), [5, 1, 28, 28]) }))['21']?.dims).toEqual([
      5, 10,
    ]);
  });

  test('a pairwise ranker is dynamic as it is', async () => {
    const model = await readModel(`${folder ?? ''}/vespa_pairwise_ranker.onnx`);
    expect((await dynamicBatch()(model, contextWith())).model).toBe(model);
  });
});

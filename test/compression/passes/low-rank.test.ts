import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRandom, float32, must } from '../../../src/core/index.js';
import type { Tensor, TensorMap } from '../../../src/core/index.js';
import { lowRank } from '../../../src/compression/index.js';
import { GraphBuilder } from '../../../src/onnx/index.js';
import type { Model } from '../../../src/onnx/index.js';
import { errorCode, rejectionCode } from '../../support/error-code.js';
import {
  contextWith,
  gemmMlp,
  maxDifference,
  normals,
  ranker,
  rankerFeeds,
  relativeRms,
  rowFeeds,
  values,
} from '../support.js';

/** `[inputs, outputs]` of the given rank. */
function productOf(inputs: number, outputs: number, rank: number, seed: number): Tensor {
  const random = createRandom(seed);
  const left = normals(random, [inputs, rank]).data as Float32Array;
  const right = normals(random, [rank, outputs]).data as Float32Array;
  const data = new Float32Array(inputs * outputs);
  for (let i = 0; i < inputs; i++)
    for (let j = 0; j < outputs; j++)
      for (let p = 0; p < rank; p++)
        data[i * outputs + j] =
          (data[i * outputs + j] ?? 0) + (left[i * rank + p] ?? 0) * (right[p * outputs + j] ?? 0);
  return float32(data, [inputs, outputs]);
}

function oneLayer(weight: Tensor, op: 'MatMul' | 'Gemm', seed = 1): Model {
  const builder = new GraphBuilder();
  const [inputs = 0, outputs = 0] = weight.dims;
  const x = builder.input('x', 'float32', ['rows', inputs]);
  const operands = [x, builder.initializer('w', weight)];
  if (op === 'Gemm') operands.push(builder.initializer('b', normals(createRandom(seed), [outputs])));
  builder.node(op, operands, {}, ['y']);
  builder.output('y', 'float32');
  return builder.build();
}

/** Feeds whose columns fall off steeply, as real activations do, with columns mixed. */
function unevenFeeds(width: number, rows: number, seed: number): readonly TensorMap[] {
  const random = createRandom(seed);
  const basis = normals(random, [width, width]).data as Float32Array;
  const data = new Float32Array(rows * width);
  for (let r = 0; r < rows; r++)
    for (let k = 0; k < width; k++) {
      const size = random.normal() * 0.7 ** k;
      for (let j = 0; j < width; j++)
        data[r * width + j] = (data[r * width + j] ?? 0) + size * (basis[k * width + j] ?? 0);
    }
  return [{ x: float32(data, [rows, width]) }];
}

describe('lowRank', () => {
  it('is exact for weights that have the rank', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 1000 }),
        fc.constantFrom('MatMul', 'Gemm'),
        async (seed, op) => {
          const model = oneLayer(productOf(24, 32, 6, seed), op, seed);
          const feeds = rowFeeds(24, 64, 1, seed);
          const { model: cut, report } = await lowRank({ rankShare: 0.25 })(model, contextWith(feeds));
          expect(report.changed).toMatchObject([{ weightsBefore: 768, weightsAfter: 6 * (24 + 32) }]);
          const reference = await values(model, feeds[0] ?? {});
          expect(relativeRms(reference, await values(cut, feeds[0] ?? {}))).toBeLessThan(1e-5);
        },
      ),
      { numRuns: 8 },
    );
  });

  it('reports the error that the outputs have on the calibration requests', async () => {
    const model = oneLayer(normals(createRandom(6), [40, 24]), 'MatMul');
    const feeds = unevenFeeds(40, 300, 2);
    const { model: cut, report } = await lowRank({ rankShare: 0.2 })(model, contextWith(feeds));
    const [feed = {}] = feeds;
    const error = relativeRms(await values(model, feed), await values(cut, feed));
    expect(error).toBeGreaterThan(0.001);
    expect(Math.abs((report.changed[0]?.relativeError ?? NaN) / error - 1)).toBeLessThan(0.01);
  });

  it.each([
    [40, 24],
    [24, 40],
  ])('errs far less on uneven activations than a cut by weights alone: %i to %i', async (inputs, outputs) => {
    const model = oneLayer(normals(createRandom(6), [inputs, outputs]), 'MatMul');
    const [calibration = {}] = unevenFeeds(inputs, 400, 2);
    const context = contextWith([calibration]);
    const aware = await lowRank({ rankShare: 0.25 })(model, context);
    const blind = await lowRank({ rankShare: 0.25, basis: 'weights' })(model, contextWith());
    const reference = await values(model, calibration);
    const awareError = relativeRms(reference, await values(aware.model, calibration));
    const blindError = relativeRms(reference, await values(blind.model, calibration));
    expect(awareError).toBeLessThan(blindError / 2);
  });

  it('finds the least rank that retains the energy', async () => {
    // Singular values 4, 2, 1 and 0.5 on inputs without preference: energies 16, 4, 1, 0.25 of 21.25.
    const diagonal = new Float32Array(64);
    [4, 2, 1, 0.5].forEach((value, i) => (diagonal[i * 9] = value));
    const model = oneLayer(float32(diagonal, [8, 8]), 'MatMul');
    const ranks = await Promise.all(
      [0.7, 0.8, 0.95].map(async (retainedEnergy) => {
        const { report } = await lowRank({ retainedEnergy, basis: 'weights' })(model, contextWith());
        return [report.changed[0]?.change, report.changed[0]?.relativeError];
      }),
    );
    expect(ranks).toEqual([
      ['8 × 8 as 8 × 1 × 8', expect.closeTo(Math.sqrt(5.25 / 21.25), 6)],
      ['8 × 8 as 8 × 2 × 8', expect.closeTo(Math.sqrt(1.25 / 21.25), 6)],
      ['8 × 8 as 8 × 3 × 8', expect.closeTo(Math.sqrt(0.25 / 21.25), 6)],
    ]);
  });

  it('leaves layers that would not shrink', async () => {
    const model = gemmMlp([16, 16, 1]);
    const { model: same, report } = await lowRank({ rankShare: 0.6 })(model, contextWith(rowFeeds(16, 8)));
    expect(same).toBe(model);
    expect(report.left.map(({ reason }) => reason)).toEqual([
      'rank 10 would need 320 weights, the layer has 256',
      'rank 1 would need 17 weights, the layer has 16',
    ]);
  });

  it('keeps shared weights shared', async () => {
    const random = createRandom(4);
    const builder = new GraphBuilder();
    const x = builder.input('x', 'float32', ['rows', 16]);
    const weight = builder.initializer('w', productOf(16, 16, 3, 7));
    const first = builder.op.Tanh(builder.op.MatMul(x, weight));
    builder.node('MatMul', [first, weight], {}, ['y']);
    builder.output('y', 'float32');
    const model = builder.build();
    const feed = { x: normals(random, [50, 16]) };
    const { model: cut, report } = await lowRank()(model, contextWith([feed]));
    expect(report.changed).toHaveLength(2);
    expect([...cut.graph.initializers.keys()].sort()).toEqual(['w/left', 'w/right']);
    expect(maxDifference(await values(model, feed), await values(cut, feed))).toBeLessThan(1e-3);
  });

  it('factors the cross layers and the deep branch of a ranker', async () => {
    const model = ranker();
    const feeds = rankerFeeds(5);
    const { model: cut, report } = await lowRank({ rankShare: 0.3 })(model, contextWith(feeds));
    expect(report.changed).toHaveLength(5);
    expect(cut.graph.initializers.get('items.table')).toBe(model.graph.initializers.get('items.table'));
    const [fresh = {}] = rankerFeeds(1, 100, 77);
    const error = relativeRms(await values(model, fresh, 'score'), await values(cut, fresh, 'score'));
    expect(error).toBeLessThan(0.7);
  });

  it('asks for calibration requests, and for one way to choose the rank', async () => {
    expect(await rejectionCode(lowRank()(gemmMlp([8, 8, 8]), contextWith()))).toBe('RECIPE_INVALID');
    expect(errorCode(() => lowRank({ rankShare: 0.5, retainedEnergy: 0.9 }))).toBe('RECIPE_INVALID');
  });

  it('refuses activations that are not finite', async () => {
    const feed = { x: float32(new Float32Array(16).fill(Infinity), [2, 8]) };
    const model = gemmMlp([8, 8, 8]);
    const failure = lowRank()(model, contextWith([feed])).catch((error: unknown) => error);
    expect(await failure).toMatchObject({ code: 'GRAPH_UNSUPPORTED', details: { input: 'x' } });
    expect(must(model.graph.initializers.get('w1'), 'w1').dims).toEqual([8, 8]);
  });
});

import { describe, expect, test } from 'vitest';
import { createRandom, float32, float32Data, int64, must } from '../../src/core/index.js';
import type { TensorMap } from '../../src/core/index.js';
import { encodeModel, GraphBuilder, tensorOf } from '../../src/onnx/index.js';
import type { Model } from '../../src/onnx/index.js';
import { openSession } from '../../src/runtime/index.js';
import { Trainer } from '../../src/training/index.js';
import type { AdamOptions, TrainerOptions } from '../../src/training/index.js';

/** loss = Σ c·w, whose gradient is the fed c. */
function slopeModel(initial: readonly number[]): Model {
  const builder = new GraphBuilder();
  builder.input('c', 'float32', [initial.length]);
  builder.input('batch', 'float32', ['B']);
  builder.initializer('w', float32(Float32Array.from(initial)));
  const once = builder.op.ReduceMean('batch', { keepdims: 0 });
  builder.node('Mul', [builder.op.ReduceSum(builder.op.Mul('w', 'c'), { keepdims: 0 }), once], {}, ['loss']);
  return builder.build();
}

const slope = (c: readonly number[], batch = 2): TensorMap => ({
  c: float32(Float32Array.from(c)),
  batch: float32(new Float32Array(batch).fill(1)),
});

function slopeTrainer(initial: readonly number[], adam: AdamOptions): Promise<Trainer> {
  const samples = [slope(initial, 2), slope(initial, 3)] as const;
  return Trainer.create({
    model: slopeModel(initial),
    loss: 'loss',
    parameters: ['w'],
    samples,
    openSession,
    adam,
  });
}

const weightsOf = (trainer: Trainer, name = 'w'): number[] => [...must(trainer.weights().get(name), name)];

/** Kinds of use of one table, with rows that repeat. */
function tableModel(): Model {
  const builder = new GraphBuilder();
  const { op } = builder;
  const random = createRandom(5);
  const table = Float32Array.from({ length: 8 * 3 }, () => random.normal());
  builder.input('i', 'int64', ['B', 2]);
  builder.input('j', 'int64', ['B']);
  builder.initializer('table', float32(table, [8, 3]));
  const product = op.Mul(op.Gather('table', 'i'), op.Unsqueeze(op.Gather('table', 'j'), [1]));
  builder.node('ReduceSum', [op.Add(product, op.Mul(product, product))], { keepdims: 0 }, ['loss']);
  return builder.build();
}

const tableFeeds = (rows: readonly number[]): TensorMap => ({
  i: int64(
    rows.flatMap((row) => [row, (row + 1) % 8]),
    [rows.length, 2],
  ),
  j: int64(rows.map((row) => (row === 7 ? -1 : row))),
});

function tableTrainer(options: Partial<TrainerOptions> = {}): Promise<Trainer> {
  const samples = [tableFeeds([1, 2]), tableFeeds([1, 2, 3])] as const;
  return Trainer.create({
    model: tableModel(),
    loss: 'loss',
    parameters: ['table'],
    samples,
    openSession,
    ...options,
  });
}

/** y = x·w + b with a hidden truth. */
const truth = [1.5, -2, 0.25, 3];
function regression(): { model: Model; batch: (size: number, seed: number) => TensorMap } {
  const builder = new GraphBuilder();
  const { op } = builder;
  builder.input('x', 'float32', ['B', 3]);
  builder.input('y', 'float32', ['B', 1]);
  builder.initializer('w', float32(new Float32Array(3), [3, 1]));
  builder.initializer('b', float32(new Float32Array(1)));
  builder.node('Gemm', ['x', 'w', 'b'], {}, ['prediction']);
  const error = op.Sub('prediction', 'y');
  builder.node('ReduceMean', [op.Mul(error, error)], { keepdims: 0 }, ['loss']);
  builder.output('prediction');
  builder.output('loss');
  const batch = (size: number, seed: number): TensorMap => {
    const random = createRandom(seed);
    const x = Float32Array.from({ length: size * 3 }, () => random.normal());
    const y = Float32Array.from({ length: size }, (_, row) =>
      truth.reduce((sum, weight, at) => sum + weight * (at < 3 ? (x[row * 3 + at] ?? 0) : 1), 0),
    );
    return { x: float32(x, [size, 3]), y: float32(y, [size, 1]) };
  };
  return { model: builder.build(), batch };
}

async function trained(steps: number, adam: AdamOptions = { learningRate: 0.05 }): Promise<Trainer> {
  const { model, batch } = regression();
  const samples = [batch(2, 1), batch(3, 1)] as const;
  const trainer = await Trainer.create({
    model,
    loss: 'loss',
    parameters: ['w', 'b'],
    samples,
    openSession,
    threads: 2,
    adam,
  });
  for (let step = 0; step < steps; step++) await trainer.step(batch(32, step));
  return trainer;
}

describe('Adam, by hand', () => {
  test('two steps', async () => {
    const trainer = await slopeTrainer([1, -2], { learningRate: 0.1 });
    // Step 1: m/(1−β₁) = g and v/(1−β₂) = g², so every weight moves by the rate against the sign of its gradient.
    expect(await trainer.step(slope([0.5, -3]))).toEqual({ loss: 6.5 });
    expect(weightsOf(trainer)[0]).toBeCloseTo(0.9, 6);
    expect(weightsOf(trainer)[1]).toBeCloseTo(-1.9, 6);
    // Step 2 with g = (−1, 1): m = 0.9·0.1·g₁ + 0.1·g₂, over 1 − 0.81; v = 0.999·0.001·g₁² + 0.001·g₂², over 1 − 0.998001.
    // First weight: m = (0.045 − 0.1)/0.19 = −0.2894737, v = (0.00024975 + 0.001)/0.001999 = 0.6251876,
    // moved by 0.1·0.2894737/0.7906881 = 0.0366103. Second: m = (−0.27 + 0.1)/0.19 = −0.8947368,
    // v = (0.008991 + 0.001)/0.001999 = 4.9979990, moved by 0.1·0.8947368/2.2356205 = 0.0400219.
    await trainer.step(slope([-1, 1]));
    expect(weightsOf(trainer)[0]).toBeCloseTo(0.9366103, 6);
    expect(weightsOf(trainer)[1]).toBeCloseTo(-1.8599781, 6);
    expect(trainer.stepCount).toBe(2);
    await trainer.release();
  });

  test('decoupled weight decay shrinks a weight by rate times decay', async () => {
    const trainer = await slopeTrainer([10, 10], { learningRate: 0.1, weightDecay: 0.2 });
    await trainer.step(slope([1, 0]));
    expect(weightsOf(trainer)[0]).toBeCloseTo(10 * 0.98 - 0.1, 5);
    expect(weightsOf(trainer)[1]).toBeCloseTo(10 * 0.98, 5);
    await trainer.release();
  });

  test('clipping scales the gradient to the norm, which epsilon makes visible', async () => {
    // One step moves by rate·g/(|g| + epsilon); g = (3, 4) clipped to norm 1 is (0.6, 0.8).
    const trainer = await slopeTrainer([0, 0], { learningRate: 1, epsilon: 1, clipNorm: 1 });
    await trainer.step(slope([3, 4]));
    expect(weightsOf(trainer)[0]).toBeCloseTo(-0.6 / 1.6, 5);
    expect(weightsOf(trainer)[1]).toBeCloseTo(-0.8 / 1.8, 5);
    await trainer.release();
  });

  test('the schedule gives each step its rate, and decay may differ by parameter', async () => {
    const steps: number[] = [];
    const learningRate = (step: number): number => {
      steps.push(step);
      return step === 1 ? 0.5 : 0;
    };
    const trainer = await slopeTrainer([2], { learningRate, weightDecay: (name) => (name === 'w' ? 1 : 0) });
    await trainer.step(slope([1]));
    await trainer.step(slope([1]));
    expect(weightsOf(trainer)[0]).toBeCloseTo(2 * 0.5 - 0.5, 5);
    expect(steps).toEqual([1, 2]);
    await trainer.release();
  });

  test.each([{ beta1: 1 }, { beta2: -0.1 }, { epsilon: 0 }, { clipNorm: 0 }])(
    '%o is refused',
    async (adam) => {
      await expect(slopeTrainer([1], adam)).rejects.toMatchObject({ code: 'INPUT_INVALID' });
    },
  );

  test('a mask keeps weights at zero through later steps', async () => {
    const trainer = await slopeTrainer([1, 2, 3], { learningRate: 0.1 });
    trainer.setMask('w', Float32Array.of(1, 0, 1));
    expect(weightsOf(trainer)).toEqual([1, 0, 3]);
    await trainer.step(slope([1, 1, 1]));
    expect(weightsOf(trainer)[0]).toBeCloseTo(0.9, 6);
    expect(weightsOf(trainer)[1]).toBeCloseTo(0, 20);
    expect(() => {
      trainer.setMask('w', new Float32Array(2));
    }).toThrow(expect.objectContaining({ code: 'INPUT_INVALID' }));
    expect(() => {
      trainer.setMask('v', new Float32Array(3));
    }).toThrow(expect.objectContaining({ code: 'INPUT_INVALID' }));
    await trainer.release();
  });
});

describe('tables by row', () => {
  test('the first step equals dense Adam, and so do untouched rows', async () => {
    const [sparse, dense] = [await tableTrainer({ sparse: ['table'] }), await tableTrainer()];
    const feeds = tableFeeds([1, 1, 2, 7]);
    expect(await sparse.step(feeds)).toEqual(await dense.step(feeds));
    const [rows, all] = [weightsOf(sparse, 'table'), weightsOf(dense, 'table')];
    for (const [index, value] of rows.entries()) expect(value).toBeCloseTo(all[index] ?? Number.NaN, 6);
    const initial = tensorOf(must(tableModel().graph.initializers.get('table'), 'table'));
    expect(rows.slice(12, 21)).toEqual([...float32Data(initial).slice(12, 21)]);
    expect(rows.slice(3, 6)).not.toEqual([...float32Data(initial).slice(3, 6)]);
    await Promise.all([sparse.release(), dense.release()]);
  });

  test('rows touched in every step go on as under dense Adam, in batches that grow, with clipping and a mask', async () => {
    const adam = { learningRate: 0.03, clipNorm: 0.5, weightDecay: 0.01 };
    const [sparse, dense] = [await tableTrainer({ sparse: ['table'], adam }), await tableTrainer({ adam })];
    const mask = Float32Array.from({ length: 24 }, (_, at) => (at % 5 === 0 ? 0 : 1));
    for (const trainer of [sparse, dense]) trainer.setMask('table', mask);
    for (let step = 0; step < 6; step++) {
      const feeds = tableFeeds(Array.from({ length: 8 * 4 ** step }, (_, at) => (at + step) % 8));
      await sparse.step(feeds);
      await dense.step(feeds);
    }
    const [rows, all] = [weightsOf(sparse, 'table'), weightsOf(dense, 'table')];
    for (const [index, value] of rows.entries()) expect(value).toBeCloseTo(all[index] ?? Number.NaN, 5);
    expect(rows[5]).toBeCloseTo(0, 20);
    await Promise.all([sparse.release(), dense.release()]);
  });

  test('a row outside the table is an error', async () => {
    const trainer = await tableTrainer({ sparse: ['table'] });
    await expect(trainer.step(tableFeeds([9, 1]))).rejects.toThrow();
    await trainer.release();
  });
});

describe('training', () => {
  test('recovers the parameters of a linear model', async () => {
    const trainer = await trained(600, { learningRate: (step) => 0.1 * 0.99 ** step });
    const { batch } = regression();
    const { loss } = await trainer.step(batch(64, 9_999));
    expect(loss).toBeLessThan(1e-4);
    const found = [...weightsOf(trainer, 'w'), ...weightsOf(trainer, 'b')];
    for (const [index, value] of truth.entries()) expect(found[index]).toBeCloseTo(value, 2);
    await trainer.release();
  });

  test('is equal bit for bit when repeated, on two threads', async () => {
    const [first, second] = [await trained(25), await trained(25)];
    expect(first.weights()).toEqual(second.weights());
    await Promise.all([first.release(), second.release()]);
  });

  test('exports and evaluates with the present weights, without the loss and its labels', async () => {
    const trainer = await trained(10);
    const { batch } = regression();
    const feeds = batch(7, 3);
    const exported = trainer.export(['prediction']);
    expect(exported.graph.inputs.map((input) => input.name)).toEqual(['x']);
    const session = await openSession(encodeModel(exported));
    const expected = must((await session.run({ x: must(feeds['x'], 'x') }))['prediction'], 'prediction');
    const { prediction } = await trainer.evaluate(feeds, ['prediction']);
    const found = float32Data(must(prediction, 'prediction'));
    for (const [row, value] of float32Data(expected).entries()) expect(found[row]).toBeCloseTo(value, 5);
    await trainer.step(feeds);
    const { prediction: later } = await trainer.evaluate(feeds, ['prediction']);
    expect(float32Data(must(later, 'prediction'))).not.toEqual(found);
    expect(trainer.export().graph.outputs.map((output) => output.name)).toEqual(['prediction', 'loss']);
    await expect(trainer.evaluate(feeds, ['nothing'])).rejects.toMatchObject({ code: 'INPUT_INVALID' });
    await session.release();
    await trainer.release();
  });

  test('leaves the weights as they were where the loss is not finite', async () => {
    const trainer = await slopeTrainer([1, 2], {});
    await expect(trainer.step(slope([Number.NaN, 1]))).rejects.toMatchObject({ code: 'TRAINING_DIVERGED' });
    expect(weightsOf(trainer)).toEqual([1, 2]);
    await trainer.release();
  });

  test('refuses a missing feed and a size that the samples showed to be fixed', async () => {
    const trainer = await slopeTrainer([1, 2], {});
    const { batch } = slope([1, 2]);
    await expect(trainer.step({ batch: must(batch, 'batch') })).rejects.toMatchObject({
      code: 'INPUT_INVALID',
      details: { field: 'c' },
    });
    await expect(trainer.step(slope([1, 2, 3]))).rejects.toMatchObject({
      code: 'INPUT_INVALID',
      details: { field: 'c' },
    });
    await trainer.release();
  });

  test('refuses steps that overlap', async () => {
    const trainer = await slopeTrainer([1, 2], {});
    const first = trainer.step(slope([1, 1]));
    await expect(trainer.step(slope([1, 1]))).rejects.toMatchObject({ code: 'INTERNAL' });
    await first;
    await trainer.release();
  });
});

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createRandom, elementCount, float32, must } from '../../src/core/index.js';
import type { DataType, Tensor, TypedArray } from '../../src/core/index.js';
import {
  constantInfo,
  constantTensor,
  encodeModel,
  GraphBuilder,
  producers,
  readModel,
  writeModel,
} from '../../src/onnx/index.js';
import type { Attributes, Graph, Model, Node } from '../../src/onnx/index.js';
import { openSession } from '../../src/runtime/index.js';

/** One step of a chain: an operator with its attributes and constant second input. */
type Step = readonly [op: string, attributes: Attributes, second?: readonly number[]];

/** A constant `start`, each step behind the one before, and the last value as the output `y`. */
function chain(start: Tensor, steps: readonly Step[], opset = 18): Model {
  const builder = new GraphBuilder({ opset });
  // ONNX Runtime wants an input; the constant alone would do for Whittle.
  const x = builder.input('x', 'float32', [1]);
  let value = builder.initializer('w', start);
  for (const [op, attributes, second] of steps)
    [value = ''] = builder.node(op, second === undefined ? [value] : [value, second], attributes);
  builder.node('Identity', [value], {}, ['y']);
  builder.output('y');
  builder.node('Identity', [x], {}, ['z']);
  builder.output('z');
  return builder.build();
}

async function expectAsRun(model: Model): Promise<Tensor> {
  const session = await openSession(encodeModel(model), { optimization: 'disabled' });
  const results = await session.run({ x: float32(Float32Array.of(0)) });
  await session.release();
  const wanted = must(results['y'], 'y');
  const known = must(constantTensor(model.graph, 'y'), 'constant');
  expect(constantInfo(model.graph, 'y')).toMatchObject({ dtype: wanted.dtype, dims: wanted.dims });
  expect(known.dtype).toBe(wanted.dtype);
  expect(known.dims).toEqual(wanted.dims);
  expect(known.data).toEqual(wanted.data);
  return known;
}

function counting(dtype: DataType, dims: readonly number[]): Tensor {
  const values = Array.from({ length: elementCount(dims) }, (_, index) => index);
  const arrays: Partial<Record<DataType, () => TypedArray>> = {
    float32: () => Float32Array.from(values),
    float64: () => Float64Array.from(values, (value) => value + 1e-9),
    int8: () => Int8Array.from(values),
    uint16: () => Uint16Array.from(values),
    float16: () => Uint16Array.from(values, (value) => 0x3c00 + value),
    int64: () => BigInt64Array.from(values, BigInt),
  };
  return { dtype, dims, data: must(arrays[dtype], dtype)() };
}

describe('a constant behind operators is what ONNX Runtime computes', () => {
  test.each<[string, Tensor, readonly Step[], number?]>([
    ['Transpose', counting('float32', [3, 5]), [['Transpose', {}]]],
    ['Transpose of 4 axes', counting('float32', [2, 3, 4, 5]), [['Transpose', { perm: [2, 0, 3, 1] }]]],
    ['Transpose that keeps the last axis', counting('int8', [4, 3, 5]), [['Transpose', { perm: [1, 0, 2] }]]],
    ['Transpose of int64', counting('int64', [7, 3]), [['Transpose', { perm: [1, 0] }]]],
    ['Transpose of float64', counting('float64', [3, 40, 2]), [['Transpose', { perm: [2, 1, 0] }]]],
    ['Reshape', counting('float32', [4, 6]), [['Reshape', {}, [0, 2, -1]]]],
    ['Reshape with zeros', counting('float32', [0, 6]), [['Reshape', { allowzero: 1 }, [6, 0]]]],
    ['Reshape to a scalar', counting('float32', [1, 1]), [['Reshape', {}, []]]],
    ['Squeeze', counting('float32', [1, 4, 1]), [['Squeeze', {}, [-1]]]],
    ['Squeeze of everything', counting('float32', [1, 4, 1]), [['Squeeze', {}]]],
    ['Squeeze by attribute', counting('float32', [1, 4, 1]), [['Squeeze', { axes: [0] }]], 11],
    ['Unsqueeze', counting('float32', [3, 4]), [['Unsqueeze', {}, [-1, 0]]]],
    ['Unsqueeze by attribute', counting('float32', [3, 4]), [['Unsqueeze', { axes: [1] }]], 11],
    ['Flatten', counting('float32', [2, 3, 4]), [['Flatten', { axis: -1 }]]],
    ['Flatten by default', counting('float32', [2, 3, 4]), [['Flatten', {}]]],
    ['Cast from float16', counting('float16', [3, 4]), [['Cast', { to: 'float32' }]]],
    ['Cast from float64', counting('float64', [3, 4]), [['Cast', { to: 'float32' }]]],
    [
      'a long chain',
      counting('float16', [2, 3, 4]),
      [
        ['Identity', {}],
        ['Transpose', { perm: [2, 1, 0] }],
        ['Cast', { to: 'float32' }],
        ['Reshape', {}, [-1, 2]],
        ['Unsqueeze', {}, [0]],
        ['Transpose', { perm: [1, 2, 0] }],
        ['Squeeze', {}, [2]],
        ['Transpose', {}],
      ],
    ],
  ])('%s', async (_, start, steps, opset) => {
    await expectAsRun(chain(start, steps, opset));
  });
});

test('a transpose moves each element to where its index says', () => {
  const shape = fc.array(fc.integer({ min: 0, max: 40 }), { minLength: 1, maxLength: 4 });
  const cases = shape.chain((dims) =>
    fc.tuple(
      fc.constant(dims),
      fc.shuffledSubarray(
        dims.map((_, axis) => axis),
        { minLength: dims.length },
      ),
    ),
  );
  fc.assert(
    fc.property(cases, fc.constantFrom('int8', 'float16', 'float32', 'float64'), ([dims, perm], dtype) => {
      fc.pre(elementCount(dims) < 20_000);
      const start = counting(dtype, dims);
      const known = must(constantTensor(chain(start, [['Transpose', { perm }]]).graph, 'y'), 'constant');
      const wanted = perm.map((axis) => dims[axis] ?? 0);
      expect(known.dims).toEqual(wanted);
      const step = (axis: number): number => elementCount(dims.slice(axis + 1));
      const random = createRandom(elementCount(dims));
      for (let probe = 0; probe < Math.min(50, known.data.length); probe++) {
        const at = random.integer(known.data.length);
        const from = wanted.reduce((sum, dim, axis) => {
          const index = Math.floor(at / elementCount(wanted.slice(axis + 1))) % dim;
          return sum + index * step(perm[axis] ?? 0);
        }, 0);
        expect(known.data[at]).toBe(start.data[from]);
      }
    }),
    { numRuns: 150 },
  );
});

describe('what is no constant', () => {
  const start = counting('float32', [4, 6]);
  test.each<[string, readonly Step[]]>([
    ['a shape that does not fit', [['Reshape', {}, [5, -1]]]],
    ['two lengths left open', [['Reshape', {}, [-1, -1]]]],
    ['a perm of other axes', [['Transpose', { perm: [0, 2] }]]],
    ['an axis named twice', [['Transpose', { perm: [0, 0] }]]],
    ['squeezing an axis of 4', [['Squeeze', {}, [0]]]],
    ['axes out of range', [['Unsqueeze', {}, [7]]]],
    ['a cast to an integer', [['Cast', { to: 'int32' }]]],
    ['a computation', [['Neg', {}]]],
  ])('%s', (_, steps) => {
    const { graph } = chain(start, steps);
    expect(constantInfo(graph, 'y')).toBeUndefined();
    expect(constantTensor(graph, 'y')).toBeUndefined();
  });

  test('a computed shape, a value that is fed, one of another domain', () => {
    const builder = new GraphBuilder();
    builder.input('shape', 'int64', [2]);
    builder.initializer('w', start);
    builder.node('Reshape', ['w', 'shape'], {}, ['reshaped']);
    builder.node('Transpose', ['w'], {}, ['custom'], 'com.example');
    const { graph } = builder.build();
    for (const name of ['reshaped', 'shape', 'custom', 'unknown', ''])
      expect(constantInfo(graph, name)).toBeUndefined();
  });

  test('rings end', () => {
    const node = (op: string, inputs: readonly string[], output: string): Node => ({
      name: '',
      op,
      domain: '',
      inputs,
      outputs: [output],
      attributes: new Map(),
    });
    const { graph } = new GraphBuilder().build();
    const ring: Graph = {
      ...graph,
      nodes: [
        node('Transpose', ['b'], 'a'),
        node('Flatten', ['a'], 'b'),
        node('Reshape', ['d', 'd'], 'c'),
        node('Reshape', ['c', 'c'], 'd'),
        node('Transpose', [], 'nothing'),
      ],
    };
    for (const name of ['a', 'b', 'c', 'd', 'nothing']) {
      expect(constantInfo(ring, name)).toBeUndefined();
      expect(constantTensor(ring, name)).toBeUndefined();
    }
  });
});

test('type and shape are known without the file that holds the values', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'whittle-constants-'));
  const path = join(folder, 'model.onnx');
  await writeModel(chain(float32(new Float32Array(512 * 64), [512, 64]), [['Transpose', {}]]), path);
  const { graph } = await readModel(path);
  await rm(folder, { recursive: true });
  expect(constantInfo(graph, 'y')).toEqual({ dtype: 'float32', dims: [64, 512] });
  expect(() => constantTensor(graph, 'y')).toThrow(/Cannot open/);
});

test('reshaping shares the buffer, and producers are worked out once a graph', () => {
  const data = new Float32Array(6);
  const { graph } = chain(float32(data, [2, 3]), [['Reshape', {}, [3, 2]]]);
  expect(must(constantTensor(graph, 'y'), 'y').data).toEqual(data);
  data[0] = 1;
  expect(must(constantTensor(graph, 'y'), 'y').data[0]).toBe(1);
  expect(producers(graph)).toBe(producers(graph));
  expect(producers({ ...graph, nodes: [] }).size).toBe(0);
});

import { join } from 'node:path';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import fc from 'fast-check';
import { describe, expect, it, test, vi } from 'vitest';
import { createRandom, float32, int64, must, sha256 } from '../../../src/core/index.js';
import type { TensorMap } from '../../../src/core/index.js';
import { simplify } from '../../../src/compression/passes/simplify.js';
import type { SimplifyParameters } from '../../../src/compression/passes/simplify.js';
import {
  encodeModel,
  GraphBuilder,
  modelInputs,
  readModel,
  subgraphsOf,
  writeModel,
} from '../../../src/onnx/index.js';
import type { Graph, Model } from '../../../src/onnx/index.js';
import { EXPORTER_FILES, exporterModels, readExporterModel } from '../exporter-models.js';
import { contextWith, denseWeight, normals, ranker, rankerFeeds, run, values } from '../support.js';

const OWN = { onnxsim: false };
const operators = ({ graph }: Model): string[] => graph.nodes.map((node) => node.op);

async function simplified(model: Model, parameters: SimplifyParameters = OWN): Promise<Model> {
  return (await simplify(parameters)(model, contextWith())).model;
}

/** A graph from `x` float32 `dims` to `y`. */
function graphOf(
  dims: readonly (number | string)[],
  write: (builder: GraphBuilder, x: string) => string,
): Model {
  const builder = new GraphBuilder();
  const result = write(builder, builder.input('x', 'float32', dims));
  builder.node('Tanh', [result], {}, ['y']);
  builder.output('y', 'float32', undefined);
  return builder.build();
}

const random = (dims: readonly number[], seed = 1) => normals(createRandom(seed), dims);

describe('folding', () => {
  it('evaluates what depends on constants only', async () => {
    const model = graphOf(['n', 4], (builder, x) => {
      const { op } = builder;
      const [constant = ''] = builder.node('Constant', [], { value: int64([1, 2]) });
      const [end = ''] = builder.node('Gather', [constant, int64Scalar(builder, 1)]);
      const range = op.Range(
        int64Scalar(builder, 0),
        op.Mul(end, int64Scalar(builder, 2)),
        int64Scalar(builder, 1),
      );
      return op.Mul(x, op.Sin(op.Cast(range, { to: 'float32' })));
    });
    const folded = await simplified(model);
    expect(operators(folded)).toEqual(['Mul', 'Tanh']);
    expect(folded.graph.initializers.size).toBe(1);
    const feed = { x: random([3, 4]) };
    expect(await values(folded, feed)).toEqual(await values(model, feed));
  });

  it.each<readonly [string, (builder: GraphBuilder) => string]>([
    ['ConstantOfShape', (b) => must(b.node('ConstantOfShape', [[1_000_000, 1_000_000]])[0], 'output')],
    ['Tile', (b) => b.op.Tile(float(b, 1, [1]), [1_000_000_000_000])],
    ['Expand', (b) => b.op.Expand(float(b, 1, [1]), [1_000_000, 1_000_000])],
    ['Range', (b) => b.op.Range(float(b, 0, []), float(b, 1e12, []), float(b, 1, []))],
    ['Add', (b) => b.op.Add(b.constant(random([3000, 1])), b.constant(random([1, 3000])))],
  ])('never makes a huge tensor of a small one: %s', async (op, bomb) => {
    const builder = GraphBuilder.from(graphOf(['n'], (_, x) => x));
    builder.output(builder.op.Size(bomb(builder)), 'int64', []);
    const { model: same, report } = await simplify(OWN)(builder.build(), contextWith());
    expect(operators(same)).toContain(op);
    expect(report.left).toEqual([
      {
        layer: expect.any(String) as unknown,
        op,
        reason: expect.stringContaining('more than its inputs') as unknown,
      },
    ]);
  });

  it('leaves what is random, quantized, unknown or wrong', async () => {
    const model = graphOf(['n', 2], (builder, x) => {
      const { op } = builder;
      const seed = float(builder, 1, [2]);
      const [noise = ''] = builder.node('RandomNormalLike', [seed]);
      const [uniform = ''] = builder.node('RandomUniform', [], { shape: [2] });
      const quantized = builder.constant({ dtype: 'int8', dims: [2], data: Int8Array.of(3, 4) });
      const weights = op.DequantizeLinear(quantized, float(builder, 0.5, []));
      const [unknown = ''] = builder.node('DFT', [builder.constant(random([1, 2, 1]))]);
      const nothing = op.Cast(op.Div([4, 2], int64Scalar(builder, 0)), { to: 'float32' });
      const sum = [noise, uniform, weights, op.ReduceSum(unknown), nothing].reduce((a, b) => op.Add(a, b));
      return op.Add(x, sum);
    });
    const { model: same, report } = await simplify(OWN)(model, contextWith());
    expect(same).toBe(model);
    expect(Object.fromEntries(report.left.map(({ op, reason }) => [op, reason]))).toMatchObject({
      RandomNormalLike: 'its result differs from run to run',
      RandomUniform: 'its result differs from run to run',
      DequantizeLinear: 'folding would store the quantized weights as floats',
      DFT: 'how large its result would be is not known',
      Div: 'it divides integers by zero',
    });
  });

  it('names a node that ONNX Runtime cannot evaluate, and folds the others', async () => {
    const model = graphOf(['n', 2], (builder, x) => {
      const { op } = builder;
      const bad = op.Gather(float(builder, 1, [2]), [5]);
      return op.Add(op.Add(x, op.Neg(float(builder, 2, [2]))), bad);
    });
    const { model: folded, report } = await simplify(OWN)(model, contextWith());
    expect(operators(folded)).toEqual(['Gather', 'Add', 'Add', 'Tanh']);
    expect(report.left[0]?.reason).toMatch(/cannot evaluate it/);
  });

  it('keeps a constant that is an output', async () => {
    const builder = new GraphBuilder();
    builder.node('Constant', [], { value: int64([7]) }, ['y']);
    builder.output('y', 'int64', [1]);
    const model = builder.build();
    expect(await simplified(model)).toBe(model);
  });
});

function int64Scalar(builder: GraphBuilder, value: number): string {
  return builder.constant(int64([value], []));
}

function float(builder: GraphBuilder, value: number, dims: readonly number[]): string {
  const count = dims.reduce((product, dim) => product * dim, 1);
  return builder.constant(float32(new Float32Array(count).fill(value), dims));
}

describe('operators that do nothing', () => {
  it.each<readonly [string, readonly string[], (builder: GraphBuilder, x: string) => string]>([
    ['Identity', [], ({ op }, x) => op.Identity(op.Identity(x))],
    ['Dropout', [], ({ op }, x) => op.Dropout(x, 0.5)],
    [
      'Dropout that trains',
      ['Dropout'],
      (b, x) => b.op.Dropout(x, 0.5, b.constant({ dtype: 'bool', dims: [], data: Uint8Array.of(1) })),
    ],
    ['Cast to the same', [], ({ op }, x) => op.Cast(op.Cast(x, { to: 'float32' }), { to: 'float32' })],
    [
      'Cast and back',
      ['Cast', 'Cast'],
      ({ op }, x) => op.Cast(op.Cast(x, { to: 'int32' }), { to: 'float32' }),
    ],
    [
      'Transpose and back',
      [],
      ({ op }, x) => op.Transpose(op.Transpose(x, { perm: [1, 2, 0] }), { perm: [2, 0, 1] }),
    ],
    [
      'two Transposes',
      ['Transpose'],
      ({ op }, x) => op.Transpose(op.Transpose(x, { perm: [1, 2, 0] }), { perm: [1, 0, 2] }),
    ],
    [
      'three Transposes',
      [],
      ({ op }, x) => [1, 2, 3].reduce((value) => op.Transpose(value, { perm: [1, 2, 0] }), x),
    ],
    ['Reshapes', ['Reshape'], ({ op }, x) => op.Reshape(op.Reshape(op.Flatten(x), [-1, 2]), [6, -1])],
    [
      'Reshape that looks at its input',
      ['Reshape', 'Reshape'],
      ({ op }, x) => op.Reshape(op.Reshape(x, [6, -1]), [0, -1]),
    ],
    ['Add of 0', [], (b, x) => b.op.Add(b.op.Sub(b.op.Add(0, x), float(b, 0, [1, 4])), float(b, 0, []))],
    ['Mul by 1', [], (b, x) => b.op.Pow(b.op.Div(b.op.Mul(float(b, 1, [3, 4]), x), 1), 1)],
    ['Add of 0 that spreads', ['Add'], (b, x) => b.op.Add(x, float(b, 0, [5, 1, 1, 1]))],
    ['Mul by almost 1', ['Mul'], (b, x) => b.op.Mul(x, 1.0001)],
    ['0 minus x', ['Sub'], ({ op }, x) => op.Sub(0, x)],
    ['Sums of one', [], ({ op }, x) => op.Max(op.Sum(op.Mean(op.Concat(x, { axis: 0 }))))],
  ])('%s', async (_, left, write) => {
    const model = graphOf([2, 3, 4], write);
    const small = await simplified(model);
    expect(operators(small)).toEqual([...left, 'Tanh']);
    const feed = { x: random([2, 3, 4]) };
    const [before, after] = [await run(model, feed), await run(small, feed)];
    if (!left.includes('Dropout')) expect(after).toEqual(before);
  });

  it('merges two only where the first is read by the second alone', async () => {
    const turned = graphOf([2, 3, 4], ({ op }, x) => {
      const first = op.Transpose(x, { perm: [1, 2, 0] });
      return op.Add(op.ReduceSum(op.Transpose(first, { perm: [1, 0, 2] })), first);
    });
    const { model: same, report } = await simplify(OWN)(turned, contextWith());
    expect(same).toBe(turned);
    expect(report.changed).toEqual([]);
  });

  it('leaves an operand of unknown rank, and keeps the names of inputs and outputs', async () => {
    const builder = new GraphBuilder();
    const x = builder.input('x', 'float32', ['n']);
    const [twice = ''] = builder.node('Add', [x, x], {}, ['twice']);
    builder.node('Identity', [twice], {}, ['y']);
    builder.node('Identity', [twice], {}, ['z']);
    builder.node('Identity', [x], {}, ['same']);
    for (const output of ['y', 'z', 'same']) builder.output(output, 'float32', ['n']);
    const small = await simplified(builder.build());
    // An input and a value that is an output already cannot take another output's name.
    expect(small.graph.nodes.map(({ op, outputs }) => [op, ...outputs])).toEqual([
      ['Add', 'y'],
      ['Identity', 'z'],
      ['Identity', 'same'],
    ]);
    const { y, z, same } = await run(small, { x: float32(Float32Array.of(1, 2)) });
    expect([y?.data, z?.data, same?.data].map((data) => Array.from(data ?? [], Number))).toEqual([
      [2, 4],
      [2, 4],
      [1, 2],
    ]);
  });
});

/** An If whose branches read a value from around them. */
function branch(name: string, op: string, inputs: readonly string[]): Graph {
  const node = { name: `${name}_node`, op, domain: '', inputs, outputs: [name], attributes: new Map() };
  return {
    name,
    inputs: [],
    outputs: [{ name, dtype: 'float32', dims: undefined }],
    valueInfos: [],
    initializers: new Map(),
    nodes: [node],
  };
}

describe('duplicates', () => {
  it('are stored and computed once, also for graphs inside', async () => {
    const builder = new GraphBuilder();
    const x = builder.input('x', 'float32', ['n', 8]);
    const flag = builder.input('flag', 'bool', []);
    const names = ['a', 'b', 'c'].map((name) =>
      builder.initializer(name, denseWeight(createRandom(1), 8, 8)),
    );
    builder.initializer('other', denseWeight(createRandom(2), 8, 8));
    const products = [...names, 'other'].map((name) => builder.op.Relu(builder.op.MatMul(x, name)));
    const [, second = '', third = ''] = products;
    builder.node(
      'If',
      [flag],
      {
        then_branch: branch('then', 'Neg', [second]),
        else_branch: branch('else', 'Add', [third, 'c']),
      },
      ['chosen'],
    );
    builder.node('Sum', [...products, 'chosen'], {}, ['y']);
    builder.output('y', 'float32', ['n', 8]);
    const model = builder.build();
    const { model: small, report } = await simplify(OWN)(model, contextWith());
    expect(operators(small).sort()).toEqual(['If', 'MatMul', 'MatMul', 'Relu', 'Relu', 'Sum']);
    expect([...small.graph.initializers.keys()]).toEqual(['a', 'other']);
    expect(report.changed).toContainEqual({
      layer: 'initializer: the same as a',
      change: '2 gone: b, c',
      weightsBefore: 128,
      weightsAfter: 0,
      relativeError: 0,
    });
    for (const value of [0, 1]) {
      const feed: TensorMap = {
        x: random([8, 8]),
        flag: { dtype: 'bool', dims: [], data: Uint8Array.of(value) },
      };
      expect(await values(small, feed)).toEqual(await values(model, feed));
    }
  });

  it('differ by a bit, a type, a shape or an attribute', async () => {
    const model = graphOf([2, 2], (builder, x) => {
      const { op } = builder;
      const [zero, minus] = [float32(new Float32Array(2)), float32(Float32Array.of(0, -0))];
      const tensors = [zero, minus, { ...zero, dims: [1, 2] }].map((tensor, index) =>
        builder.initializer(`t${index}`, tensor),
      );
      const parts = tensors.map((name) => op.Div(x, name));
      return op.Sum(...parts, op.Softmax(x, { axis: 0 }), op.Softmax(x, { axis: 1 }));
    });
    expect(await simplified(model)).toBe(model);
  });

  it('are never random', async () => {
    const model = graphOf([50], ({ op }, x) => op.Sub(op.RandomNormalLike(x), op.RandomNormalLike(x)));
    for (const onnxsim of [false, true]) {
      const outputs = model.graph.outputs.map((output) => ({ ...output, dims: [50] }));
      const small = await simplified({ ...model, graph: { ...model.graph, outputs } }, { onnxsim });
      expect(new Set(await values(small, { x: random([50]) })).size).toBeGreaterThan(10);
    }
  });
});

function statistics(builder: GraphBuilder, channels: number): string[] {
  const draw = createRandom(8);
  const vector = (name: string, next: () => number): string =>
    builder.initializer(name, float32(Float32Array.from({ length: channels }, next)));
  return [
    vector('scale', () => draw.normal()),
    vector('shift', () => draw.normal()),
    vector('mean', () => draw.normal()),
    vector('variance', () => 0.1 + draw.uniform()),
  ];
}

type Layer = (builder: GraphBuilder, x: string) => string;

describe('batch normalization', () => {
  const kernel = (b: GraphBuilder): string => b.initializer('w', random([6, 2, 3, 3]));
  const dense = (b: GraphBuilder, dims = [5, 6]): string => b.initializer('w', random(dims, 2));
  const bias = (b: GraphBuilder, dims = [6]): string => b.initializer('b', random(dims, 3));
  it.each<readonly [string, readonly number[], Layer, readonly string[]]>([
    ['Conv', [2, 4, 5, 5], (b, x) => b.op.Conv(x, kernel(b), { group: 2 }), ['Conv']],
    ['Conv with bias', [2, 4, 5, 5], (b, x) => b.op.Conv(x, kernel(b), bias(b), { group: 2 }), ['Conv']],
    ['Gemm', [3, 5], (b, x) => b.op.Gemm(x, dense(b), { alpha: 0.5 }), ['Gemm']],
    [
      'Gemm in every way',
      [3, 5],
      (b, x) => b.op.Gemm(x, dense(b, [6, 5]), bias(b), { alpha: 0.5, beta: 3, transB: 1 }),
      ['Gemm'],
    ],
    ['Gemm with one bias for all', [3, 5], (b, x) => b.op.Gemm(x, dense(b), bias(b, [1])), ['Gemm']],
    ['MatMul', [3, 5], (b, x) => b.op.MatMul(x, dense(b)), ['MatMul', 'Add']],
    [
      'MatMul and Add',
      [3, 5],
      (b, x) => b.op.Add(b.op.MatMul(x, dense(b)), bias(b, [1, 6])),
      ['MatMul', 'Add'],
    ],
  ])('goes into the weights of %s', async (_, dims, write, left) => {
    const model = graphOf(dims, (builder, x) =>
      must(
        builder.node('BatchNormalization', [write(builder, x), ...statistics(builder, 6)], {
          epsilon: 0.01,
        })[0],
        'output',
      ),
    );
    const { model: small, report } = await simplify(OWN)(model, contextWith());
    expect(operators(small)).toEqual([...left, 'Tanh']);
    expect(report.changed[0]?.change).toContain('folded into its weights and bias');
    const feed = { x: random(dims, 5) };
    const [before, after] = [await values(model, feed), await values(small, feed)];
    before.forEach((value, index) => {
      expect(after[index]).toBeCloseTo(value, 5);
    });
  });

  it.each<readonly [string, Layer]>([
    ['another reader', (b, x) => b.op.Add(b.op.Identity(x), x)],
    ['a Relu', (b, x) => b.op.Relu(b.op.MatMul(x, dense(b)))],
    ['computed weights', (b, x) => b.op.MatMul(x, b.op.Transpose(x, { perm: [1, 0] }))],
    ['shared weights', (b, x) => b.op.MatMul(b.op.MatMul(x, dense(b, [6, 6])), 'w')],
    [
      'a product added to itself',
      (b, x) => {
        const product = b.op.MatMul(x, dense(b, [6, 6]));
        return b.op.Add(product, product);
      },
    ],
    ['a bias with more axes', (b, x) => b.op.Add(b.op.MatMul(x, dense(b, [6, 6])), bias(b, [1, 1, 6]))],
    ['three axes', (b, x) => b.op.MatMul(b.op.Reshape(x, [1, 6, 6]), dense(b, [6, 6]))],
  ])('stays behind %s', async (_, write) => {
    const model = graphOf([6, 6], (builder, x) =>
      must(builder.node('BatchNormalization', [write(builder, x), ...statistics(builder, 6)])[0], 'output'),
    );
    const { model: small, report } = await simplify(OWN)(model, contextWith());
    expect(operators(small)).toContain('BatchNormalization');
    expect(report.left).toMatchObject([{ op: 'BatchNormalization' }]);
  });

  it('stays where its layer is an output, or what it normalizes is read twice', async () => {
    const builder = new GraphBuilder();
    const x = builder.input('x', 'float32', ['n', 5]);
    const [product = ''] = builder.node('Gemm', [x, dense(builder)], {}, ['product']);
    builder.node('BatchNormalization', [product, ...statistics(builder, 6)], {}, ['y']);
    builder.output('product', 'float32', ['n', 6]);
    builder.output('y', 'float32', ['n', 6]);
    const model = builder.build();
    const { model: same, report } = await simplify(OWN)(model, contextWith());
    expect(same).toBe(model);
    expect(report.left[0]?.reason).toBe('product is an output');
  });
});

describe('simplify', () => {
  it('does only what it is asked for', async () => {
    const model = graphOf([4], (builder, x) => {
      const { op } = builder;
      const copies = ['a', 'b'].map((name) => builder.initializer(name, random([4], 9)));
      return op.Sum(
        op.Identity(x),
        op.Neg(copies[0] ?? ''),
        op.Mul(x, copies[1] ?? ''),
        op.Mul(x, copies[0] ?? ''),
      );
    });
    const off = { fold: false, noOps: false, duplicates: false, batchNorm: false, onnxsim: false };
    const countOf = async (parameters: SimplifyParameters): Promise<number[]> => {
      const { graph } = await simplified(model, { ...off, ...parameters });
      return [graph.nodes.length, graph.initializers.size];
    };
    expect(await simplified(model, off)).toBe(model);
    expect(await countOf({ fold: true })).toEqual([5, 3]);
    expect(await countOf({ noOps: true })).toEqual([5, 2]);
    expect(await countOf({ duplicates: true })).toEqual([5, 1]);
    expect(await countOf({ fold: true, noOps: true, duplicates: true })).toEqual([3, 2]);
  });

  it('removes what no output depends on', async () => {
    const model = graphOf([4], ({ op }, x) => {
      op.Add(op.Relu(x), 2);
      return x;
    });
    const { model: small, report } = await simplify(OWN)(model, contextWith());
    expect(operators(small)).toEqual(['Tanh']);
    expect(report.notes).toEqual(['3 nodes and 1 initializers became 1 nodes and 0 initializers.']);
    expect(report.changed.map(({ layer }) => layer)).toEqual([
      'Relu: read by nothing',
      'Add: read by nothing',
      'initializer: read by nothing',
    ]);
  });

  it('leaves weights in their files unread', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'whittle-simplify-'));
    try {
      const model = graphOf([2, 256], (builder, x) =>
        builder.op.MatMul(builder.op.Identity(x), builder.initializer('w', random([256, 256]))),
      );
      const path = join(folder, 'model.onnx');
      await writeModel(model, path);
      const read = await readModel(path);
      for (const onnxsim of [false, true]) {
        const small = await simplified(read, { onnxsim });
        expect(operators(small)).toEqual(['MatMul', 'Tanh']);
        expect(small.graph.initializers.get('w')).toBe(read.graph.initializers.get('w'));
        expect(small.graph.initializers.get('w')?.content.kind).toBe('file');
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('gives what it gave before on graphs of any order of these operators', async () => {
    const steps: Readonly<Record<string, (b: GraphBuilder, value: string, other: string) => string>> = {
      identity: ({ op }, value) => op.Identity(value),
      zero: (b, value) => b.op.Add(value, float(b, 0, [1, 3])),
      one: ({ op }, value) => op.Mul(1, value),
      turn: ({ op }, value) => op.Transpose(value, { perm: [1, 0] }),
      flat: ({ op }, value) => op.Reshape(op.Flatten(value), [3, 3]),
      constant: (b, value) => b.op.Add(value, b.op.Neg(b.constant(random([3, 3], 4)))),
      twice: ({ op }, value) => op.Add(op.Relu(value), op.Relu(value)),
      join: ({ op }, value, other) => op.Sub(value, other),
      dead: ({ op }, value) => {
        op.Exp(value);
        return value;
      },
    };
    const programs = fc.array(fc.tuple(fc.constantFrom(...Object.keys(steps)), fc.nat()), { maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(programs, async (program) => {
        const builder = new GraphBuilder();
        const all = [builder.input('x', 'float32', [3, 3])];
        for (const [name, pick] of program) {
          const at = (index: number): string => must(all[index % all.length], 'value');
          all.push(must(steps[name], name)(builder, at(all.length - 1), at(pick)));
        }
        builder.node('Identity', [must(all.at(-1), 'value')], {}, ['y']);
        builder.output('y', 'float32', [3, 3]);
        const model = builder.build();
        const feed = { x: random([3, 3], 6) };
        const small = await simplified(model);
        expect(await values(small, feed)).toEqual(await values(model, feed));
        expect(operators(small).filter((op) => op === 'Identity').length).toBeLessThanOrEqual(1);
        expect(operators(small)).not.toContain('Neg');
        expect(operators(small)).not.toContain('Exp');
      }),
      { numRuns: 60 },
    );
  });
});

describe('onnxsim', () => {
  /** Mean over the last axis as exporters write it: by a length that is read from the shape. */
  const model = (rows: number | string): Model => {
    const builder = new GraphBuilder();
    const { op } = builder;
    const x = builder.input('x', 'float32', [rows, 64]);
    const product = op.MatMul(x, builder.initializer('w', random([64, 64])));
    const length = op.Cast(op.Gather(op.Shape(product), [1]), { to: 'float32' });
    builder.node('Div', [op.ReduceSum(product, [1]), length], {}, ['y']);
    builder.output('y', 'float32', [rows, 1]);
    return builder.build();
  };

  it('infers shapes; large weights, inputs and outputs stay as they are', async () => {
    const given = model(2);
    const small = await simplified(given, {});
    expect(operators(small)).toEqual(['MatMul', 'ReduceSum', 'Div']);
    expect(small.graph.initializers.get('w')).toBe(given.graph.initializers.get('w'));
    expect([small.graph.inputs, small.graph.outputs, small.graph.valueInfos]).toEqual([
      given.graph.inputs,
      given.graph.outputs,
      [],
    ]);
    const feed = { x: random([2, 64]) };
    expect(await values(small, feed)).toEqual(await values(given, feed));
  });

  it('prints nothing', async () => {
    const spies = [
      vi.spyOn(process.stdout, 'write'),
      vi.spyOn(process.stderr, 'write'),
      vi.spyOn(console, 'log'),
      vi.spyOn(console, 'error'),
    ];
    await simplified(model(2), {});
    const printed = spies.flatMap((spy) => spy.mock.calls.map(([text]) => String(text)));
    for (const spy of spies) spy.mockRestore();
    expect(printed.filter((text) => /simplif|heap|difference/i.test(text))).toEqual([]);
  });

  it('makes the same bytes again', async () => {
    const [one, two] = [await simplified(ranker(), {}), await simplified(ranker(), {})];
    expect(sha256(encodeModel(two))).toBe(sha256(encodeModel(one)));
    const [feed = {}] = rankerFeeds(1);
    const [before, after] = [await values(ranker(), feed, 'score'), await values(one, feed, 'score')];
    after.forEach((value, index) => {
      expect(value).toBeCloseTo(before[index] ?? NaN, 4);
    });
  });

  it('is left, with its reason, where it refuses', async () => {
    const builder = new GraphBuilder();
    builder.node('Tanh', [builder.input('x', 'float32', ['n'])], {}, ['y']);
    builder.output('y', 'float32');
    const untyped = builder.build();
    const refused = await simplify()(untyped, contextWith());
    expect(refused.model).toBe(untyped);
    expect(refused.report.left).toMatchObject([
      { op: 'onnxsim', reason: 'output y has no type or shape in the file' },
    ]);
  });
});

/** Nodes of all graphs before and after. */
const NODES: Readonly<Record<string, readonly [number, number]>> = {
  'TFBertForQuestionAnswering.onnx': [3836, 2678],
  'attention_past_state.u8s8.onnx': [154, 89],
  'bert_toy_optimized.onnx': [384, 240],
  'cnn_mnist_pytorch.onnx': [13, 12],
  'dynamic_quantize_matmul_int8.onnx': [5, 5],
  'gpt2_past.onnx': [3021, 1807],
  'silero_vad_v6.onnx': [689, 686],
  'squeezenet_tensor_input.onnx': [74, 73],
  'tiny_gpt2_beamsearch.onnx': [60, 60],
  'vespa_custom_similarity.onnx': [9, 9],
  'vespa_pairwise_ranker.onnx': [9, 9],
  'vespa_pca_transformer.onnx': [2, 1],
  'vespa_transformer.onnx': [193, 128],
};

function nodeCount(graph: Graph): number {
  const inside = graph.nodes.flatMap((node) => subgraphsOf(node)).map(nodeCount);
  return graph.nodes.length + inside.reduce((sum, count) => sum + count, 0);
}

describe.skipIf(exporterModels === undefined)('models from other exporters', () => {
  test.each(EXPORTER_FILES)('%s', async (file) => {
    const { model, feeds } = await readExporterModel(file);
    const { model: small, report } = await simplify()(model, contextWith());
    expect([nodeCount(model.graph), nodeCount(small.graph)]).toEqual(NODES[file]);
    expect(report.changed.length === 0).toBe(small === model);
    expect(new Set(report.changed.map(({ layer }) => layer)).size).toBe(report.changed.length);
    expect(modelInputs(small.graph)).toEqual(modelInputs(model.graph));
    expect(small.graph.outputs).toEqual(model.graph.outputs);
    const names = new Set(small.graph.nodes.flatMap(({ name, outputs }) => [name, outputs[0]]));
    for (const { op, layer } of report.left) if (op !== 'onnxsim') expect(names).toContain(layer);
    for (const feed of feeds) {
      const [before, after] = [await run(model, feed), await run(small, feed)];
      for (const [name, { dims, data }] of Object.entries(before)) {
        expect(after[name]?.dims).toEqual(dims);
        const scale = Array.from(data, Number).reduce(
          (most, value) => Math.max(most, Math.abs(value) || 0),
          1e-30,
        );
        const worst = Array.from(data, Number).reduce((most, value, index) => {
          const other = Number(after[name]?.data[index]);
          return Object.is(value, other) ? most : Math.max(most, Math.abs(value - other));
        }, 0);
        expect(worst / scale).toBeLessThan(1e-5);
      }
    }
  });
});

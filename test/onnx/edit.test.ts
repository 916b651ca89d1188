import { describe, expect, test } from 'vitest';
import { float32, int64, must } from '../../src/core/index.js';
import {
  checkModel,
  constantTensor,
  consumers,
  floatAttribute,
  freshName,
  GraphBuilder,
  initializerOf,
  intAttribute,
  intsAttribute,
  modelInputs,
  namesInUse,
  producers,
  removeUnused,
  replaceNodes,
  sortNodes,
  stringAttribute,
  withInitializers,
} from '../../src/onnx/index.js';
import type { Graph, Model, Node } from '../../src/onnx/index.js';
import { errorCode } from '../support/error-code.js';

/** y = If(flag) { x·w } else { outer }, where `outer` and `w` are only used inside the branches. */
function capturingModel(): Model {
  const builder = new GraphBuilder();
  builder.input('flag', 'bool', []);
  const x = builder.input('x', 'float32', [2]);
  builder.initializer('w', float32(Float32Array.of(1, 2)));
  builder.initializer('unused', float32(Float32Array.of(1)));
  builder.node('Relu', [x], {}, ['outer']);
  builder.node('Neg', ['outer'], {}, ['dead']);
  const then = new GraphBuilder({ name: 'then' });
  then.node('Mul', ['x', 'w'], {}, ['then_out']);
  then.output('then_out');
  const otherwise = new GraphBuilder({ name: 'else' });
  otherwise.node('Identity', ['outer'], {}, ['else_out']);
  otherwise.output('else_out');
  const branches = { then_branch: then.build().graph, else_branch: otherwise.build().graph };
  builder.node('If', ['flag'], branches, ['y']);
  builder.output('y');
  return builder.build();
}

const ops = (nodes: readonly Node[] | undefined): string[] | undefined => nodes?.map((node) => node.op);

describe('graph edits', () => {
  const model = capturingModel();
  const { graph } = model;

  test('producers and consumers see through subgraphs', () => {
    expect(producers(graph).get('outer')?.op).toBe('Relu');
    expect(producers(graph).get('x')).toBeUndefined();
    const readers = consumers(graph);
    expect(ops(readers.get('outer'))).toEqual(['Neg', 'If']);
    expect(ops(readers.get('w'))).toEqual(['If']);
    expect(ops(readers.get('x'))).toEqual(['Relu', 'If']);
    expect(readers.has('then_out')).toBe(false);
    expect(readers.has('')).toBe(false);
  });

  test('removeUnused keeps what subgraphs take from outside', () => {
    const kept = removeUnused(graph);
    expect(ops(kept.nodes)).toEqual(['Relu', 'If']);
    expect([...kept.initializers.keys()]).toEqual(['w']);
    expect(ops(graph.nodes)).toEqual(['Relu', 'Neg', 'If']);
    expect(kept.inputs).toEqual(graph.inputs);
    expect(() => {
      checkModel({ ...model, graph: kept });
    }).not.toThrow();
  });

  test('removeUnused drops the input entry of an initializer it drops, and no other', () => {
    const listed = { name: 'unused', dtype: 'float32', dims: [1] } as const;
    const old: Graph = { ...graph, inputs: [...graph.inputs, listed] };
    expect(modelInputs(old).map((input) => input.name)).toEqual(['flag', 'x']);
    expect(removeUnused(old).inputs.map((input) => input.name)).toEqual(['flag', 'x']);
  });

  test('replaceNodes and withInitializers answer new graphs', () => {
    const relu = must(graph.nodes[0], 'Relu');
    const abs = { ...relu, op: 'Abs' };
    const edited = withInitializers(replaceNodes(graph, new Map([[relu, [abs]]])), [
      initializerOf('w', float32(Float32Array.of(3, 4))),
      initializerOf('v', float32(Float32Array.of(5))),
    ]);
    expect(ops(edited.nodes)).toEqual(['Abs', 'Neg', 'If']);
    expect(ops(graph.nodes)).toEqual(['Relu', 'Neg', 'If']);
    expect(constantTensor(edited, 'w')?.data).toEqual(Float32Array.of(3, 4));
    expect(constantTensor(graph, 'w')?.data).toEqual(Float32Array.of(1, 2));
    expect([...edited.initializers.keys()]).toEqual(['w', 'unused', 'v']);
  });

  test('fresh names avoid those inside subgraphs', () => {
    const names = namesInUse(graph);
    expect(freshName(names, 'then_out')).toBe('then_out_1');
    expect(freshName(names, 'then_out')).toBe('then_out_2');
    expect(freshName(names, 'new')).toBe('new');
  });

  test('sortNodes puts nodes behind what they and their subgraphs read, and keeps a good order', () => {
    expect(ops(sortNodes(graph).nodes)).toEqual(['Relu', 'Neg', 'If']);
    expect(ops(sortNodes({ ...graph, nodes: [...graph.nodes].reverse() }).nodes)).toEqual([
      'Relu',
      'If',
      'Neg',
    ]);
  });

  test('sortNodes manages a chain deeper than the call stack', () => {
    const chain = Array.from({ length: 50_000 }, (_, index): Node => ({
      name: '',
      op: 'Neg',
      domain: '',
      inputs: [index === 0 ? 'x' : `v${index - 1}`],
      outputs: [`v${index}`],
      attributes: new Map(),
    }));
    const sorted = sortNodes({ ...graph, nodes: [...chain].reverse() });
    expect(sorted.nodes).toEqual(chain);
  });
});

describe('constants and attributes', () => {
  const builder = new GraphBuilder();
  builder.initializer('w', float32(Float32Array.of(1)));
  builder.node('Identity', ['w'], {}, ['same']);
  builder.node('Identity', ['same'], {}, ['again']);
  builder.node('Constant', [], { value_ints: [1, 2] }, ['ints']);
  builder.node('Constant', [], { value_float: 0.5 }, ['half']);
  builder.node('Constant', [], { value: int64([3]) }, ['tensor']);
  builder.node('Constant', [], { value_string: 'a' }, ['text']);
  builder.node('Neg', ['w'], {}, ['computed']);
  builder.node('Odd', [], { axis: -1, alpha: 0.25, axes: [0, 1], mode: 'wrap' }, ['odd']);
  const { graph } = builder.build();
  const ring: Graph = {
    ...graph,
    nodes: [
      { name: '', op: 'Identity', domain: '', inputs: ['b'], outputs: ['a'], attributes: new Map() },
      { name: '', op: 'Identity', domain: '', inputs: ['a'], outputs: ['b'], attributes: new Map() },
    ],
  };

  test('constantTensor finds initializers and Constants, through Identity', () => {
    expect(constantTensor(graph, 'again')).toMatchObject({ dtype: 'float32', data: Float32Array.of(1) });
    expect(constantTensor(graph, 'ints')).toMatchObject({
      dtype: 'int64',
      dims: [2],
      data: BigInt64Array.of(1n, 2n),
    });
    expect(constantTensor(graph, 'half')).toMatchObject({ dims: [], data: Float32Array.of(0.5) });
    expect(constantTensor(graph, 'tensor')).toMatchObject({ dims: [1], data: BigInt64Array.of(3n) });
    expect(constantTensor(graph, 'text')).toEqual({ dtype: 'string', dims: [], data: ['a'] });
    expect(constantTensor(graph, 'computed')).toBeUndefined();
    expect(constantTensor(graph, 'nothing')).toBeUndefined();
    expect(constantTensor(ring, 'a')).toBeUndefined();
  });

  test('attributes have the default asked for and are never taken for another kind', () => {
    const odd = must(graph.nodes.at(-1), 'Odd');
    expect(intAttribute(odd, 'axis', 0)).toBe(-1);
    expect(intAttribute(odd, 'other', 7)).toBe(7);
    expect(intAttribute(odd, 'other', undefined)).toBeUndefined();
    expect(floatAttribute(odd, 'alpha', 1)).toBe(0.25);
    expect(floatAttribute(odd, 'beta', 1)).toBe(1);
    expect(intsAttribute(odd, 'axes', [])).toEqual([0, 1]);
    expect(stringAttribute(odd, 'mode', 'constant')).toBe('wrap');
    expect(stringAttribute(odd, 'other', 'constant')).toBe('constant');
    expect(errorCode(() => intAttribute(odd, 'alpha', 0))).toBe('MODEL_INVALID');
    expect(errorCode(() => floatAttribute(odd, 'axis', 0))).toBe('MODEL_INVALID');
  });
});

describe('checkModel', () => {
  const model = capturingModel();
  const withNodes = (nodes: readonly Node[], rest: Partial<Graph> = {}): Model => ({
    ...model,
    graph: { ...model.graph, ...rest, nodes },
  });
  const { nodes } = model.graph;
  const problem = (broken: Model): unknown => {
    try {
      checkModel(broken);
    } catch (error) {
      return error;
    }
    return undefined;
  };

  test.each<[string, Model, string]>([
    ['a value used before it is defined', withNodes([...nodes].reverse()), 'outer'],
    ['a value inside a branch that nothing defines', withNodes(nodes.slice(1)), 'outer'],
    ['a missing output', withNodes([]), 'y'],
    ['a value defined twice', withNodes([...nodes, ...nodes.slice(0, 1)]), 'outer'],
    ['an input computed', withNodes(nodes.map((node) => ({ ...node, outputs: ['x'] }))), 'x'],
    [
      'an input listed twice',
      withNodes(nodes, { inputs: [...model.graph.inputs, ...model.graph.inputs] }),
      'flag',
    ],
  ])('%s is named', (_, broken, value) => {
    expect(problem(broken)).toMatchObject({ code: 'MODEL_INVALID', details: { value } });
  });

  test('a whole model passes', () => {
    expect(problem(model)).toBeUndefined();
  });
});

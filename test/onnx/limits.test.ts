import { create, toBinary } from '@bufbuild/protobuf';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { AttributeProto_AttributeType as AttributeType, ModelProtoSchema } from 'onnx-buf';
import type { FunctionProtoSchema, GraphProtoSchema, NodeProtoSchema, ValueInfoProtoSchema } from 'onnx-buf';
import { expect, test } from 'vitest';
import { float32 } from '../../src/core/index.js';
import { checkModelLimits, decodeModel, encodeModel, GraphBuilder } from '../../src/onnx/index.js';
import { openSession } from '../../src/runtime/index.js';
import { errorCode } from '../support/error-code.js';

type GraphInit = MessageInitShape<typeof GraphProtoSchema>;
type NodeInit = MessageInitShape<typeof NodeProtoSchema>;
type FunctionInit = MessageInitShape<typeof FunctionProtoSchema>;

const value = (name: string, dims: readonly number[]): MessageInitShape<typeof ValueInfoProtoSchema> => ({
  name,
  type: {
    value: {
      case: 'tensorType',
      value: {
        elemType: 1,
        shape: { dim: dims.map((dim) => ({ value: { case: 'dimValue', value: BigInt(dim) } })) },
      },
    },
  },
});

function bytesOf(graph: GraphInit, functions: FunctionInit[] = []): Uint8Array {
  const opsetImport = [
    { domain: '', version: 21n },
    { domain: 'own', version: 1n },
  ];
  const message = create(ModelProtoSchema, { irVersion: 10n, opsetImport, graph, functions });
  return toBinary(ModelProtoSchema, message);
}

function check(graph: GraphInit, functions: FunctionInit[] = []): () => void {
  const model = decodeModel(bytesOf({ name: 'g', ...graph }, functions));
  return () => {
    checkModelLimits(model);
  };
}

const xToY = { input: [value('x', [1])], output: [value('y', [1])] };
const call = (op: string, input: string, output: string): NodeInit => ({
  opType: op,
  domain: 'own',
  input: [input],
  output: [output],
});
/** A function that calls `inner` twice, one result into the next. */
const twice = (name: string, inner: string) => ({
  name,
  domain: 'own',
  input: ['a'],
  output: ['c'],
  opsetImport: [
    { domain: '', version: 21n },
    { domain: 'own', version: 1n },
  ],
  node: [call(inner, 'a', 'b'), call(inner, 'b', 'c')],
});
const negate = {
  ...twice('F0', ''),
  node: [
    { opType: 'Neg', input: ['a'], output: ['b'] },
    { opType: 'Neg', input: ['b'], output: ['c'] },
  ],
};
/** F0 negates twice, and each F(n) calls F(n - 1) twice. */
const doubling = (levels: number): FunctionInit[] => [
  negate,
  ...Array.from({ length: levels }, (_, level) => twice(`F${level + 1}`, `F${level}`)),
];

test('functions are allowed, and counted as often as they are called', async () => {
  const graph = (levels: number): GraphInit => ({ ...xToY, node: [call(`F${levels}`, 'x', 'y')] });
  expect(check(graph(10), doubling(10))).not.toThrow();
  // The same file does run: what is refused below is refused for its size alone.
  const session = await openSession(bytesOf({ name: 'g', ...graph(4) }, doubling(4)));
  expect((await session.run({ x: float32(Float32Array.of(3)) }))['y']?.data).toEqual(Float32Array.of(3));
  await session.release();
  const bomb = bytesOf({ name: 'g', ...graph(20) }, doubling(20));
  expect(bomb.byteLength).toBeLessThan(3_000);
  expect(errorCode(check(graph(20), doubling(20)))).toBe('MODEL_INVALID');
});

test('a function that calls itself is refused', () => {
  expect(check({ ...xToY, node: [call('F', 'x', 'y')] }, [twice('F', 'F')])).toThrow(/levels of/);
});

test('subgraphs may be nested, but not endlessly', () => {
  const nested = (levels: number): GraphInit => ({
    name: 'branch',
    output: [value('y', [1])],
    node: [
      levels === 0
        ? { opType: 'Neg', input: ['x'], output: ['y'] }
        : {
            opType: 'If',
            input: ['c'],
            output: ['y'],
            attribute: [{ name: 'then_branch', type: AttributeType.GRAPH, g: nested(levels - 1) }],
          },
    ],
  });
  expect(check(nested(20))).not.toThrow();
  expect(() => check(nested(40))).toThrow(/nested deeper/);
});

test('an operator of a domain that nobody brings is named', () => {
  expect(check({ ...xToY, node: [{ ...call('Evil', 'x', 'y'), domain: 'com.evil', name: 'n1' }] })).toThrow(
    /com\.evil\.Evil/,
  );
  expect(check({ ...xToY, node: [{ ...call('Gelu', 'x', 'y'), domain: 'com.microsoft' }] })).not.toThrow();
});

test('declared shapes, empty tensors and sparse tensors are bounded by their product', () => {
  const huge = [65_536, 65_536];
  const sparse = {
    dims: huge.map(BigInt),
    values: { name: 's', dataType: 1, dims: [0n] },
    indices: { dataType: 7, dims: [0n] },
  };
  expect(check({ ...xToY, input: [value('x', huge)] })).toThrow(/value x, \[65536, 65536\]/);
  expect(check({ initializer: [{ name: 'w', dataType: 1, dims: [0n, 65_536n, 65_536n] }] })).toThrow(
    /initializer w/,
  );
  expect(check({ initializer: [{ name: 'w', dataType: 1, dims: [0n, 4n] }] })).not.toThrow();
  expect(check({ sparseInitializer: [sparse] })).toThrow(/sparse tensor s/);
  const attribute = [{ name: 'sparse_value', type: AttributeType.SPARSE_TENSOR, sparseTensor: sparse }];
  expect(check({ node: [{ opType: 'Constant', output: ['y'], attribute }] })).toThrow(/sparse tensor s/);
});

test('too many nodes are refused', () => {
  const node = Array.from({ length: 100_001 }, () => ({ opType: 'Neg', input: ['x'], output: [''] }));
  expect(check({ ...xToY, node })).toThrow(/nodes/);
});

test('a model of the usual kind passes', () => {
  const builder = new GraphBuilder();
  const x = builder.input('x', 'float32', ['n', 4]);
  builder.output(builder.op.MatMul(x, builder.initializer('w', float32(new Float32Array(8), [4, 2]))));
  expect(() => {
    checkModelLimits(decodeModel(encodeModel(builder.build())));
  }).not.toThrow();
});

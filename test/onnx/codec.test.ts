import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema } from 'onnx-buf';
import { describe, expect, test } from 'vitest';
import { float32, must } from '../../src/core/index.js';
import {
  checkModel,
  decodeModel,
  encodeModel,
  GraphBuilder,
  readModel,
  tensorOf,
} from '../../src/onnx/index.js';
import type { Model } from '../../src/onnx/index.js';
import { openSession } from '../../src/runtime/index.js';
import { errorCode, rejectionCode } from '../support/error-code.js';
import { ODD_TENSORS, oddModelBytes } from './odd-model.js';
import { structureOf } from './structure.js';

describe('a model with something in every corner of the schema', () => {
  const bytes = oddModelBytes();
  const model = decodeModel(bytes);

  test('comes back with all of it', () => {
    const again = encodeModel(model);
    expect(structureOf(again)).toEqual(structureOf(bytes));
    expect(structureOf(encodeModel(decodeModel(again)))).toEqual(structureOf(bytes));
  });

  test('unknown fields are written back byte for byte', () => {
    const again = fromBinary(ModelProtoSchema, encodeModel(model));
    expect(again.$unknown).toEqual([{ no: 999, wireType: 2, data: Uint8Array.of(2, 7, 8) }]);
    expect(again.graph?.$unknown).toEqual([{ no: 99, wireType: 2, data: Uint8Array.of(2, 5, 6) }]);
  });

  test('the comparison sees a lost documentation string', () => {
    const message = fromBinary(ModelProtoSchema, bytes);
    must(message.graph, 'graph').docString = '';
    expect(structureOf(toBinary(ModelProtoSchema, message))).not.toEqual(structureOf(bytes));
  });

  test('typed fields become little-endian bytes', () => {
    const values = (name: string): unknown => tensorOf(must(model.graph.initializers.get(name), name)).data;
    expect(values('f32')).toEqual(Float32Array.of(1.5, -0));
    expect(values('f64')).toEqual(Float64Array.of(Math.PI, -1e300));
    expect(values('i64')).toEqual(BigInt64Array.of(-(2n ** 62n), 5n));
    expect(values('u64')).toEqual(BigUint64Array.of(2n ** 64n - 1n));
    expect(values('u32')).toEqual(Uint32Array.of(2 ** 32 - 1));
    expect(values('i32')).toEqual(Int32Array.of(-(2 ** 31), 7));
    expect(values('i16')).toEqual(Int16Array.of(-3, 300));
    expect(values('u16')).toEqual(Uint16Array.of(65535));
    expect(values('i8')).toEqual(Int8Array.of(-128, 127, -1));
    expect(values('bool')).toEqual(Uint8Array.of(1, 0));
    expect(values('f16')).toEqual(Uint16Array.of(0x3c00));
    expect(values('bf16')).toEqual(Uint16Array.of(0xbf80));
    expect(values('i4')).toEqual(Uint8Array.of(0x21, 0x0f));
    expect(values('texts')).toEqual(['grün', '\ufffd\0']);
    expect(values('empty')).toEqual(new Float32Array(0));
  });

  test('types that are only passed on are no initializers, but names the graph knows', () => {
    const known = ODD_TENSORS.map((tensor) => tensor.name).filter(
      (name) => name !== 'complex' && name !== 'f8',
    );
    expect([...model.graph.initializers.keys()]).toEqual(known);
    expect(() => {
      checkModel(model);
    }).not.toThrow();
  });

  test('attributes of unusual kinds are opaque', () => {
    const kinds = [...must(model.graph.nodes[1], 'node').attributes].map(
      ([name, { kind }]) => `${name} ${kind}`,
    );
    expect(kinds.filter((kind) => kind.endsWith('opaque'))).toEqual([
      'c opaque',
      'tp opaque',
      'untyped opaque',
    ]);
  });

  test('a changed shape is written, its old denotation is not', () => {
    const [first, ...others] = model.graph.inputs;
    const inputs = [{ ...must(first, 'input'), dims: ['m', 3, ''] }, ...others];
    const again = decodeModel(encodeModel({ ...model, graph: { ...model.graph, inputs } }));
    expect(again.graph.inputs.map((input) => input.dims)).toEqual([['m', 3, ''], undefined, undefined]);
    const type = fromBinary(ModelProtoSchema, encodeModel(again)).graph?.input[0]?.type;
    expect(type?.denotation).toBe('');
  });
});

test('of constants with one name the last counts, as in ONNX Runtime', async () => {
  const message = fromBinary(ModelProtoSchema, encodeModel(repeatedConstants()));
  for (const node of message.graph?.node ?? []) if (node.opType === 'Constant') node.output = ['c'];
  const add = must(message.graph?.node.at(-1), 'Add');
  add.input = ['c', 'x'];
  // The consumer comes between the two, so that neither order nor sorting may choose.
  const nodes = must(message.graph, 'graph').node;
  nodes.splice(1, 0, ...nodes.splice(-1));
  const bytes = toBinary(ModelProtoSchema, message);
  const feeds = { x: float32(Float32Array.of(0)) };
  const run = async (model: Uint8Array): Promise<unknown> => {
    const session = await openSession(model);
    return (await session.run(feeds))['y']?.data;
  };
  expect(await run(bytes)).toEqual(Float32Array.of(3));
  expect(await run(encodeModel(decodeModel(bytes)))).toEqual(Float32Array.of(3));
});

/** An initializer c = 1, Constants for 2 and 3, y = x + x. */
function repeatedConstants(): Model {
  const builder = new GraphBuilder();
  builder.input('x', 'float32', [1]);
  builder.initializer('c', float32(Float32Array.of(1)));
  builder.op.Constant({ value: float32(Float32Array.of(2)) });
  builder.op.Constant({ value: float32(Float32Array.of(3)) });
  builder.node('Add', ['x', 'x'], {}, ['y']);
  builder.output('y', 'float32', [1]);
  return builder.build();
}

describe('what cannot be a model is refused', () => {
  const details = (run: () => unknown): unknown => {
    try {
      run();
    } catch (error) {
      return error;
    }
    return undefined;
  };
  test('an empty file has no graph', () => {
    expect(errorCode(() => decodeModel(new Uint8Array(0)))).toBe('MODEL_INVALID');
  });

  test('text names the byte where it stops making sense', () => {
    expect(details(() => decodeModel(new TextEncoder().encode('<html>')))).toMatchObject({
      code: 'MODEL_INVALID',
      details: { byteOffset: 0 },
    });
  });

  test('an unknown file cannot be read', async () => {
    expect(await rejectionCode(readModel('/nowhere/model.onnx'))).toBe('FILE_MISSING');
  });

  test('values that do not fill the shape name the tensor', () => {
    const message = fromBinary(ModelProtoSchema, oddModelBytes());
    must(message.graph?.initializer[0], 'tensor').dims = [3n];
    expect(details(() => decodeModel(toBinary(ModelProtoSchema, message)))).toMatchObject({
      code: 'MODEL_INVALID',
      details: { tensor: 'f32' },
    });
  });

  test('bottomless subgraphs are refused, not recursed into', () => {
    // graph(7) > node(1) > attribute(5) > g(6) > node(1) > …, each a length-delimited field around the next.
    const wrap = (inner: Uint8Array, field: number): Uint8Array => {
      const length: number[] = [];
      for (let rest = inner.length; ; rest >>>= 7) {
        length.push(rest > 127 ? (rest & 127) | 128 : rest);
        if (rest <= 127) break;
      }
      return Uint8Array.of((field << 3) | 2, ...length, ...inner);
    };
    let bytes: Uint8Array = new Uint8Array(0);
    for (let depth = 0; depth < 200; depth++) bytes = wrap(wrap(wrap(bytes, 6), 5), 1);
    expect(details(() => decodeModel(wrap(bytes, 7)))).toMatchObject({
      code: 'MODEL_INVALID',
      message: expect.stringContaining('nested') as string,
    });
  });
});

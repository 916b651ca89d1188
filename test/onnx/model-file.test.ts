import { appendFile, copyFile, mkdtemp, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { AttributeProto_AttributeType as AttributeType, ModelProtoSchema } from 'onnx-buf';
import type { TensorProto, TensorProtoSchema } from 'onnx-buf';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { must, sha256, WhittleError } from '../../src/core/index.js';
import { bytesOf, decodeModel, encodeModel, readModel, tensorOf, writeModel } from '../../src/onnx/index.js';
import type { Graph, Initializer, Model } from '../../src/onnx/index.js';
import { checkWire } from '../../src/onnx/wire.js';
import { WireReader } from '../../src/onnx/wire-reader.js';
import { openSession } from '../../src/runtime/index.js';
import { errorCode, rejectionCode } from '../support/error-code.js';
import { oddModelBytes } from './odd-model.js';
import { writeHollowModel } from './sparse-file.js';
import { structureOf } from './structure.js';

type TensorInit = Exclude<MessageInitShape<typeof TensorProtoSchema>, TensorProto>;

const MIB = 2 ** 20;
const count = MIB / 4 + 3;
const floats = Float32Array.from({ length: count }, (_, index) => Math.sin(index));
const raw = (values: ArrayBufferView): Uint8Array<ArrayBuffer> =>
  new Uint8Array(values.buffer as ArrayBuffer, values.byteOffset, values.byteLength);

const shape = (name: string): TensorInit => ({ name, dataType: 1, dims: [BigInt(count)] });
const big = (name: string, rest: TensorInit = {}): TensorInit => ({
  ...shape(name),
  rawData: raw(floats),
  ...rest,
});
const typed: TensorInit = { ...shape('typed'), floatData: [...floats] };
/** Hash of the values: comparing a million numbers one by one takes seconds. */
const hashOf = (tensor: Initializer): string => sha256(bytesOf(tensor));
const FLOATS_HASH = sha256(raw(floats));

/** A model with large tensors in every place and form that a file may have them in. */
function modelBytes(
  tensors: readonly TensorInit[],
  inFunction: readonly TensorInit[] = [],
): Uint8Array<ArrayBuffer> {
  return toBinary(
    ModelProtoSchema,
    create(ModelProtoSchema, {
      irVersion: 8n,
      opsetImport: [{ version: 17n }],
      graph: {
        name: 'big',
        docString: 'd'.repeat(300),
        initializer: [{ name: 'small', dataType: 1, dims: [2n], floatData: [1, 2] }, ...tensors],
        node: [
          {
            opType: 'If',
            input: ['flag'],
            output: ['z'],
            attribute: [
              {
                name: 'then_branch',
                type: AttributeType.GRAPH,
                g: { name: 'then', initializer: [big('inner')], output: [{ name: 'inner' }] },
              },
              {
                name: 'else_branch',
                type: AttributeType.GRAPH,
                g: {
                  name: 'else',
                  node: [
                    {
                      opType: 'Constant',
                      output: ['c'],
                      attribute: [{ name: 'value', type: AttributeType.TENSOR, t: big('') }],
                    },
                  ],
                  output: [{ name: 'c' }],
                },
              },
            ],
          },
        ],
        input: [{ name: 'flag' }],
        output: [{ name: 'z' }],
      },
      functions: inFunction.map((t) => ({
        name: 'f',
        node: [{ opType: 'Constant', attribute: [{ name: 'v', type: AttributeType.TENSOR, t }] }],
      })),
    }),
  );
}

let folder = '';
let path = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whittle-file-'));
  path = join(folder, 'model.onnx');
});
afterEach(() => rm(folder, { recursive: true }));

async function written(bytes: Uint8Array): Promise<Model> {
  await writeFile(path, bytes);
  return readModel(path);
}

function initializer(model: Model, name: string): Initializer {
  return must(model.graph.initializers.get(name), name);
}

/** Where the values of every tensor are, subgraphs and attributes included. */
function kinds({ initializers, nodes }: Graph): string[] {
  return [
    ...[...initializers.values()].map(({ name, content }) => `${name} ${content.kind}`),
    ...nodes.flatMap((node) =>
      [...node.attributes.values()].flatMap((attribute) => {
        if (attribute.kind === 'graph') return kinds(attribute.value);
        return attribute.kind === 'tensor' ? [`${node.op} ${attribute.value.content.kind}`] : [];
      }),
    ),
  ];
}

describe('tensors of a MiB and more stay in the file', () => {
  test('wherever they are, and read as what they are', async () => {
    const doubles = Float64Array.from(floats);
    const bytes = modelBytes([
      big('raw'),
      big('second', { docString: 'kept', metadataProps: [{ key: 'k', value: 'v' }] }),
      typed,
      { ...shape('double'), dataType: 11, doubleData: [...doubles] },
      big('bytes', { dataType: 2, dims: [BigInt(4 * count)] }),
    ]);
    const model = await written(bytes);
    expect(kinds(model.graph)).toEqual([
      ...['small bytes', 'raw file', 'second file', 'typed file', 'double file', 'bytes file'],
      ...['inner file', 'Constant file'],
    ]);
    expect(hashOf(initializer(model, 'typed'))).toBe(FLOATS_HASH);
    expect(hashOf(initializer(model, 'double'))).toBe(sha256(raw(doubles)));
    expect(tensorOf(initializer(model, 'typed')).data.slice(0, 9)).toEqual(floats.slice(0, 9));
    const whole = decodeModel(bytes);
    for (const name of whole.graph.initializers.keys())
      expect(hashOf(initializer(model, name))).toBe(hashOf(initializer(whole, name)));
    expect(sha256(encodeModel(model))).toBe(sha256(encodeModel(whole)));
  });

  test('a smaller one does not', async () => {
    const values = new Uint8Array(MIB - 1);
    const model = await written(
      modelBytes([{ name: 'below', dataType: 2, dims: [BigInt(MIB - 1)], rawData: values }]),
    );
    expect(initializer(model, 'below').content.kind).toBe('bytes');
  });

  test.each<[string, readonly TensorInit[], (readonly TensorInit[])?]>([
    ['a type that is only passed on', [big('complex', { dataType: 14, dims: [BigInt(count) / 2n] })]],
    ['a typed field beside an empty raw one', [{ ...typed, rawData: new Uint8Array(0) }]],
    ['a segment', [big('part', { segment: { begin: 0n, end: 9n } })]],
    ['a function', [], [big('')]],
  ])('large values in %s are kept as they are', async (_, tensors, inFunction) => {
    const bytes = modelBytes(tensors, inFunction);
    expect(JSON.stringify(structureOf(encodeModel(await written(bytes))))).toBe(
      JSON.stringify(structureOf(bytes)),
    );
  });

  test('values that do not fill the shape are refused as ever', async () => {
    expect(await rejectionCode(written(modelBytes([big('wrong', { dims: [5n] })])))).toBe('MODEL_INVALID');
    expect(await rejectionCode(written(modelBytes([{ ...typed, dataType: 6 }])))).toBe('MODEL_INVALID');
  });

  test('reading a file of 1 GiB takes next to no memory, and its values can be used', async () => {
    await writeHollowModel(path, 2 ** 22);
    const before = process.resourceUsage().maxRSS;
    const model = await readModel(path);
    expect(process.resourceUsage().maxRSS - before).toBeLessThan(100 * 1024);
    expect(initializer(model, 'table')).toMatchObject({
      dims: [2 ** 22, 64],
      content: { byteLength: 2 ** 30 },
    });
  });
});

describe('a file that has changed since', () => {
  const table = async (): Promise<Initializer> => initializer(await written(modelBytes([big('raw')])), 'raw');

  test('is refused when it is written to', async () => {
    const tensor = await table();
    await appendFile(path, Uint8Array.of(0));
    expect(errorCode(() => tensorOf(tensor))).toBe('FILE_CORRUPT');
  });

  test('is refused when another takes its place, even one with the same bytes', async () => {
    const tensor = await table();
    await copyFile(path, `${path}.copy`);
    await rename(`${path}.copy`, path);
    expect(() => tensorOf(tensor)).toThrow(`${path}, which holds tensor raw, has changed`);
  });

  test('is missing when it is gone', async () => {
    const tensor = await table();
    await rm(path);
    expect(errorCode(() => tensorOf(tensor))).toBe('FILE_MISSING');
  });
});

test('a model can be written over the file it was read from; the old one then fails', async () => {
  const model = await written(modelBytes([big('raw')]));
  await writeModel(model, path);
  expect((await readdir(folder)).sort()).toEqual(['model.onnx', 'weights']);
  expect(errorCode(() => tensorOf(initializer(model, 'raw')))).toBe('FILE_CORRUPT');
  expect(await rejectionCode(writeModel(model, join(folder, 'other.onnx')))).toBe('FILE_CORRUPT');
  const again = await readModel(path);
  expect(hashOf(initializer(again, 'raw'))).toBe(FLOATS_HASH);
  await writeModel(again, path);
  expect(hashOf(initializer(await readModel(path), 'raw'))).toBe(FLOATS_HASH);
});

test('a model is read through a symbolic link', async () => {
  await writeHollowModel(path, 2 ** 14);
  await symlink(path, join(folder, 'link.onnx'));
  const model = await readModel(join(folder, 'link.onnx'));
  expect(hashOf(initializer(model, 'table'))).toBe(sha256(new Uint8Array(2 ** 22)));
  const session = await openSession(encodeModel(model));
  const ids = { dtype: 'int64', dims: [1], data: BigInt64Array.of(3n) } as const;
  expect((await session.run({ ids }))['y']?.data).toEqual(new Float32Array(64));
});

describe('a file read a window at a time', () => {
  const visits = (bytes: Uint8Array, windowBytes: number): unknown => {
    const seen: unknown[] = [];
    const reader = new WireReader(
      (offset, length) => Uint8Array.from(bytes.subarray(offset, offset + length)),
      bytes.byteLength,
      windowBytes,
    );
    checkWire(ModelProtoSchema, reader, ({ field, start, byteLength }, around) => {
      seen.push([field.name, start, byteLength, around.map((outer) => outer.field.name)]);
    });
    return seen;
  };

  test('is walked as one in memory', () => {
    const bytes = oddModelBytes();
    const expected = visits(bytes, bytes.byteLength);
    expect(expected).toContainEqual(['name', expect.any(Number), 3, ['graph']]);
    for (const windowBytes of [20, 21, 64, 1000]) expect(visits(bytes, windowBytes)).toEqual(expected);
  });

  test('is refused at the same byte for the same reason', async () => {
    const bytes = oddModelBytes();
    for (let length = 20; length < bytes.length - 5; length += 97) {
      const cut = bytes.subarray(0, length);
      await writeFile(path, cut);
      const error = must(await readModel(path).then(undefined, (thrown: unknown) => thrown), 'error');
      let wanted: unknown;
      try {
        decodeModel(cut);
      } catch (thrown) {
        wanted = thrown;
      }
      if (!(error instanceof WhittleError) || !(wanted instanceof WhittleError)) throw error;
      expect(error.details).toEqual({ ...wanted.details, path });
      expect(error.message).toBe(`${path}: ${wanted.message}`);
    }
  });
});

import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema, StringStringEntryProtoSchema, TensorProto_DataLocation } from 'onnx-buf';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { float32, must, sha256 } from '../../src/core/index.js';
import type { ErrorCode } from '../../src/core/index.js';
import {
  byteLength,
  decodeModel,
  encodeModel,
  GraphBuilder,
  readModel,
  tensorOf,
  withInitializers,
  initializerOf,
  writeModel,
} from '../../src/onnx/index.js';
import type { Model, TensorContent } from '../../src/onnx/index.js';
import { openSession } from '../../src/runtime/index.js';
import { errorCode, rejectionCode } from '../support/error-code.js';

const ROWS = 1000;
const COLUMNS = 32;
const table = Float32Array.from({ length: ROWS * COLUMNS }, (_, index) => Math.sin(index));

/** Looks up rows of a table of 128 kB and adds a small vector. */
function tableModel(): Model {
  const builder = new GraphBuilder();
  const ids = builder.input('ids', 'int64', ['n']);
  const rows = builder.op.Gather(builder.initializer('table', float32(table, [ROWS, COLUMNS])), ids);
  const bias = builder.initializer('bias', float32(new Float32Array(COLUMNS).fill(1)));
  builder.node('Add', [rows, bias], {}, ['y']);
  builder.output('y');
  return builder.build();
}

async function run(model: string | Uint8Array): Promise<unknown> {
  const session = await openSession(model);
  const ids = { dtype: 'int64', dims: [2], data: BigInt64Array.of(0n, 999n) } as const;
  const { y } = await session.run({ ids });
  await session.release();
  return y?.data;
}

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whittle-write-'));
});
afterEach(() => rm(folder, { recursive: true }));

const contentOf = (model: Model, name = 'table'): TensorContent =>
  must(model.graph.initializers.get(name), name).content;

describe('large weights', () => {
  test('go to one file named by its content, which every variant shares', async () => {
    const model = tableModel();
    await writeModel(model, join(folder, 'full.onnx'));
    const weights = join(folder, 'weights');
    const name = `${sha256(new Uint8Array(table.buffer))}.bin`;
    expect(await readdir(weights)).toEqual([name]);
    const written = (await stat(join(weights, name))).ino;

    const other = withInitializers(model.graph, [initializerOf('bias', float32(new Float32Array(COLUMNS)))]);
    await writeModel({ ...model, graph: other }, join(folder, 'other.onnx'));
    expect(await readdir(weights)).toEqual([name]);
    expect((await stat(join(weights, name))).ino).toBe(written);
    expect((await readdir(folder)).sort()).toEqual(['full.onnx', 'other.onnx', 'weights']);

    const expected = [...table.subarray(0, COLUMNS), ...table.subarray(-COLUMNS)];
    expect(await run(join(folder, 'full.onnx'))).toEqual(
      Float32Array.from(expected, (value) => Math.fround(value) + 1),
    );
    expect(await run(join(folder, 'other.onnx'))).toEqual(Float32Array.from(expected));
  });

  test('are read back only when asked for', async () => {
    await writeModel(tableModel(), join(folder, 'full.onnx'));
    const model = await readModel(join(folder, 'full.onnx'));
    expect(contentOf(model)).toMatchObject({ kind: 'file', offset: 0, byteLength: table.byteLength });
    expect(contentOf(model, 'bias').kind).toBe('bytes');
    const initializer = must(model.graph.initializers.get('table'), 'table');
    expect(byteLength(initializer)).toBe(table.byteLength);
    expect(tensorOf(initializer).data).toEqual(table);
    expect(await run(encodeModel(model))).toEqual(await run(join(folder, 'full.onnx')));
    await rm(join(folder, 'weights'), { recursive: true });
    expect(errorCode(() => tensorOf(initializer))).toBe('FILE_MISSING');
    expect(await rejectionCode(readModel(join(folder, 'full.onnx')))).toBe('FILE_MISSING');
  });

  test('are copied from file to file', async () => {
    await writeModel(tableModel(), join(folder, 'a', 'full.onnx'));
    const model = await readModel(join(folder, 'a', 'full.onnx'));
    await writeModel(model, join(folder, 'b', 'copy.onnx'), { externalDirectory: 'tables' });
    const [name = ''] = await readdir(join(folder, 'b', 'tables'));
    expect(name).toBe(`${sha256(new Uint8Array(table.buffer))}.bin`);
    expect(await run(join(folder, 'b', 'copy.onnx'))).toEqual(await run(join(folder, 'a', 'full.onnx')));
  });

  test('inside a branch are found by ONNX Runtime too', async () => {
    const builder = new GraphBuilder();
    builder.input('ids', 'int64', [2]);
    const flag = builder.op.Greater(builder.op.Cast(builder.op.Size('ids'), { to: 'float32' }), 1);
    const branch = (name: string) => {
      const inner = new GraphBuilder({ name });
      const values = inner.initializer(`${name}_table`, float32(table, [ROWS, COLUMNS]));
      inner.node('Gather', [values, 'ids'], {}, [`${name}_rows`]);
      inner.output(`${name}_rows`);
      return inner.build().graph;
    };
    builder.node('If', [flag], { then_branch: branch('then'), else_branch: branch('else') }, ['y']);
    builder.output('y');
    await writeModel(builder.build(), join(folder, 'branches.onnx'));
    expect(await readdir(join(folder, 'weights'))).toHaveLength(1);
    expect((await stat(join(folder, 'branches.onnx'))).size).toBeLessThan(2000);
    expect(await run(join(folder, 'branches.onnx'))).toEqual(await run(encodeModel(builder.build())));
  });

  test('of a size no buffer holds are refused by encodeModel with the remedy, and counted without being read', async () => {
    const path = join(folder, 'sparse.bin');
    const bytes = 3 * 2 ** 30;
    await writeFile(path, '');
    await truncate(path, bytes);
    const huge = {
      name: 'huge',
      dtype: 'float32',
      dims: [bytes / 4],
      content: { kind: 'file', path, offset: 0, byteLength: bytes },
    } as const;
    const model = tableModel();
    const code = errorCode(() => encodeModel({ ...model, graph: withInitializers(model.graph, [huge]) }));
    expect(code).toBe('MODEL_TOO_LARGE');
    expect(errorCode(() => tensorOf(huge))).toBe('MODEL_TOO_LARGE');
  });
});

describe('external data of a file from elsewhere', () => {
  const entries = (values: Readonly<Record<string, string>>): ReturnType<typeof entry>[] =>
    Object.entries(values).map(([key, value]) => entry(key, value));
  const entry = (key: string, value: string) => create(StringStringEntryProtoSchema, { key, value });

  /** Writes a model whose table is at `location`, and a file `ok.bin` that holds it behind 16 other bytes. */
  async function modelAt(values: Readonly<Record<string, string>>): Promise<string> {
    const message = fromBinary(ModelProtoSchema, encodeModel(tableModel()));
    const tensor = must(
      message.graph?.initializer.find(({ name }) => name === 'table'),
      'table',
    );
    tensor.rawData = new Uint8Array(0);
    tensor.dataLocation = TensorProto_DataLocation.EXTERNAL;
    tensor.externalData = entries(values);
    const path = join(folder, 'model', 'elsewhere.onnx');
    await mkdir(join(folder, 'model'), { recursive: true });
    await writeFile(
      join(folder, 'model', 'ok.bin'),
      Buffer.concat([Buffer.alloc(16), Buffer.from(table.buffer)]),
    );
    await writeFile(path, toBinary(ModelProtoSchema, message));
    return path;
  }

  test('is read at its offset, with or without a stated length', async () => {
    for (const length of [{}, { length: String(table.byteLength) }]) {
      const model = await readModel(await modelAt({ location: './ok.bin', offset: '16', ...length }));
      expect(tensorOf(must(model.graph.initializers.get('table'), 'table')).data).toEqual(table);
    }
  });

  test.each<[string, Readonly<Record<string, string>>, ErrorCode]>([
    ['no location', {}, 'MODEL_INVALID'],
    ['an absolute path', { location: '/etc/passwd' }, 'MODEL_INVALID'],
    ['a way out', { location: '../outside.bin' }, 'MODEL_INVALID'],
    ['a hidden way out', { location: 'a/../../outside.bin' }, 'MODEL_INVALID'],
    ['a Windows way out', { location: 'a\\..\\..\\outside.bin' }, 'MODEL_INVALID'],
    ['a symbolic link', { location: 'link.bin' }, 'MODEL_INVALID'],
    ['a folder that is a symbolic link', { location: 'linked/outside.bin' }, 'MODEL_INVALID'],
    ['a folder', { location: '.' }, 'MODEL_INVALID'],
    ['a missing file', { location: 'missing.bin' }, 'FILE_MISSING'],
    ['a file that is too short', { location: 'ok.bin', offset: '17' }, 'MODEL_INVALID'],
    ['a wrong length', { location: 'ok.bin', length: '12' }, 'MODEL_INVALID'],
    ['a negative offset', { location: 'ok.bin', offset: '-1' }, 'MODEL_INVALID'],
    ["an address in ONNX Runtime's memory", { location: '*/_ORT_MEM_ADDR_/*' }, 'MODEL_INVALID'],
    ['prepacked weights', { location: 'ok.bin', prepacked_0: 'key|0;8;' }, 'MODEL_INVALID'],
    [
      'an offset beyond what a number holds',
      { location: 'ok.bin', offset: '18446744073709551600' },
      'MODEL_INVALID',
    ],
    ['an offset that is no number', { location: 'ok.bin', offset: '1e3' }, 'MODEL_INVALID'],
  ])('%s is refused', async (_, values, code) => {
    const path = await modelAt(values);
    await mkdir(join(folder, 'model/*/_ORT_MEM_ADDR_'), { recursive: true });
    await writeFile(join(folder, 'model/*/_ORT_MEM_ADDR_/*'), Buffer.from(table.buffer));
    await writeFile(join(folder, 'outside.bin'), Buffer.from(table.buffer));
    await symlink(join(folder, 'outside.bin'), join(folder, 'model', 'link.bin'));
    await symlink(folder, join(folder, 'model', 'linked'));
    expect(await rejectionCode(readModel(path))).toBe(code);
  });

  test('needs a folder: bytes alone are refused', async () => {
    const bytes = await readFile(await modelAt({ location: 'ok.bin', offset: '16' }));
    expect(errorCode(() => decodeModel(bytes))).toBe('MODEL_INVALID');
  });
});

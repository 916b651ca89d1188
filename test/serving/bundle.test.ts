import { appendFile, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema, StringStringEntryProtoSchema, TensorProto_DataLocation } from 'onnx-buf';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { must, writeManifest, type BundleManifest } from '../../src/core/index.js';
import { openBundle } from '../../src/serving/bundle.js';
import { makeTinyBundle } from '../support/tiny-bundle.js';

let folder: string;
let bundle: string;
let manifest: BundleManifest;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whittle-open-'));
  bundle = join(folder, 'bundle');
  manifest = await makeTinyBundle(bundle, { lean: true });
});
afterEach(() => rm(folder, { recursive: true }));

/** Moves a model's table into `table.bin`, and says that it is there at `offset`. */
async function externalTable(model: string, offset: number): Promise<void> {
  const message = fromBinary(ModelProtoSchema, await readFile(join(bundle, model)));
  const tensor = must(
    message.graph?.initializer.find(({ name }) => name === 'items'),
    'table',
  );
  await writeFile(join(bundle, 'table.bin'), Buffer.concat([Buffer.alloc(offset), tensor.rawData]));
  const entries = { location: 'table.bin', offset: String(offset) };
  tensor.rawData = new Uint8Array(0);
  tensor.dataLocation = TensorProto_DataLocation.EXTERNAL;
  tensor.externalData = Object.entries(entries).map(([key, value]) =>
    create(StringStringEntryProtoSchema, { key, value }),
  );
  await writeFile(join(bundle, model), toBinary(ModelProtoSchema, message));
}

/** bundle.json with the hashes of what is there now, without some files. */
async function sealed(without: readonly string[] = []): Promise<void> {
  const complete = await writeManifest(bundle, manifest);
  const files = Object.entries(complete.files).filter(([file]) => !without.includes(file));
  await writeFile(
    join(bundle, 'bundle.json'),
    JSON.stringify({ ...complete, files: Object.fromEntries(files) }),
  );
}

test('says what each model is made of', async () => {
  await externalTable('full.onnx', 8);
  await sealed();
  const { models, directory } = await openBundle(bundle);
  expect(directory).toBe(bundle);
  expect([...models.keys()].sort()).toEqual(['full.onnx', 'small.onnx', 'tower.onnx']);
  expect(models.get('full.onnx')).toMatchObject({ files: ['full.onnx', 'table.bin'], weightBytes: 8 + 2080 });
  expect(models.get('small.onnx')).toMatchObject({ files: ['small.onnx'], weightBytes: 0 });
});

test('weights in a file that bundle.json does not list are refused, though they are in its folder', async () => {
  await externalTable('full.onnx', 8);
  await sealed(['table.bin']);
  await expect(openBundle(bundle)).rejects.toMatchObject({
    code: 'BUNDLE_INVALID',
    details: { file: 'full.onnx', tensor: 'items', value: 'table.bin' },
  });
});

test('weights at an offset between two numbers are refused', async () => {
  await externalTable('full.onnx', 6);
  await sealed();
  await expect(openBundle(bundle)).rejects.toMatchObject({
    code: 'MODEL_INVALID',
    details: { file: 'full.onnx', tensor: 'items', value: 6 },
  });
});

test('weights beyond the end of their file are refused', async () => {
  await externalTable('tower.onnx', 8);
  const bytes = await readFile(join(bundle, 'table.bin'));
  await writeFile(join(bundle, 'table.bin'), bytes.subarray(0, -1));
  await sealed();
  await expect(openBundle(bundle)).rejects.toMatchObject({ code: 'MODEL_INVALID' });
});

test('an operator that nobody has is named with its file', async () => {
  const message = fromBinary(ModelProtoSchema, await readFile(join(bundle, 'small.onnx')));
  must(message.graph?.node[0], 'node').domain = 'com.evil';
  await writeFile(join(bundle, 'small.onnx'), toBinary(ModelProtoSchema, message));
  await sealed();
  await expect(openBundle(bundle)).rejects.toMatchObject({
    code: 'MODEL_INVALID',
    details: { file: 'small.onnx', domain: 'com.evil' },
  });
});

test('a model under another ending is refused: ONNX Runtime would take it for another format', async () => {
  await rename(join(bundle, 'small.onnx'), join(bundle, 'small.ort'));
  const small = { ...must(manifest.variants['small'], 'small'), file: 'small.ort' };
  manifest = { ...manifest, variants: { ...manifest.variants, small } };
  await sealed();
  await expect(openBundle(bundle)).rejects.toMatchObject({
    code: 'BUNDLE_INVALID',
    details: { file: 'small.ort' },
  });
});

test('a link to the bundle stands for what it leads to at that moment', async () => {
  const current = join(folder, 'current');
  await symlink(bundle, current);
  const opened = await openBundle(current);
  await rm(current);
  await symlink(folder, current);
  expect(opened.directory).toBe(bundle);
  await appendFile(join(bundle, 'small.onnx'), 'x');
  await expect(openBundle(opened.directory)).rejects.toMatchObject({ code: 'HASH_MISMATCH' });
});

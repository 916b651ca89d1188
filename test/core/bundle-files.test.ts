import { appendFile, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  readManifest,
  sha256,
  verifyFiles,
  writeManifest,
  type BundleManifest,
} from '../../src/core/index.js';

const manifest: Omit<BundleManifest, 'files'> = {
  format: 1,
  name: 'tiny',
  provenance: { seed: 1 },
  catalogue: { file: 'items.parquet', idColumn: 'id', rows: 2 },
  contract: {
    inputs: [
      {
        name: 'history',
        dtype: 'int64',
        dims: ['requests', 3],
        per: 'request',
        source: { from: 'history', maxLength: 3, offset: 1, pad: 0 },
      },
      {
        name: 'candidate',
        dtype: 'int64',
        dims: ['candidates'],
        per: 'candidate',
        source: { from: 'candidate', offset: 1 },
      },
    ],
    output: 'score',
  },
  retrievers: { words: { kind: 'text', file: 'indexes/words.bin' } },
  variants: { full: { file: 'full.onnx' }, int8: { file: 'int8.onnx', parent: 'full' } },
  pipelines: { full: { ranker: 'full', candidates: 100, search: 'words' } },
  defaultPipeline: 'full',
};
const contents = {
  'items.parquet': 'items',
  'full.onnx': 'full',
  'int8.onnx': 'int8',
  'indexes/words.bin': 'words',
};

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whittle-bundle-'));
  await mkdir(join(folder, 'indexes'));
  for (const [name, text] of Object.entries(contents)) await writeFile(join(folder, name), text);
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

/** Writes a good manifest with one part replaced, without the checks of `writeManifest`. */
async function writeRaw(change: Readonly<Record<string, unknown>>): Promise<void> {
  const good = await writeManifest(folder, manifest);
  await writeFile(join(folder, 'bundle.json'), JSON.stringify({ ...good, ...change }));
}

describe('writeManifest', () => {
  test('records size and SHA-256 of every file but itself and hidden ones; reading gives the same back', async () => {
    await writeFile(join(folder, '.hidden'), 'x');
    const written = await writeManifest(folder, manifest);
    expect(written.files).toEqual(
      Object.fromEntries(
        Object.entries(contents).map(([name, text]) => [name, { sha256: sha256(text), bytes: text.length }]),
      ),
    );
    expect(await readManifest(folder)).toEqual(written);
    await verifyFiles(folder, written);
  });

  test('written twice it is the same bytes, and leaves no temporary file', async () => {
    await writeManifest(folder, manifest);
    const first = await readFile(join(folder, 'bundle.json'));
    await writeManifest(folder, manifest);
    expect(await readFile(join(folder, 'bundle.json'))).toEqual(first);
    expect((await readdir(folder)).sort()).toEqual([
      'bundle.json',
      'full.onnx',
      'indexes',
      'int8.onnx',
      'items.parquet',
    ]);
  });

  test('keeps the old file when the new one is wrong', async () => {
    const good = await writeManifest(folder, manifest);
    await expect(writeManifest(folder, { ...manifest, defaultPipeline: 'none' })).rejects.toMatchObject({
      code: 'BUNDLE_INVALID',
    });
    expect(await readManifest(folder)).toEqual(good);
  });
});

/** The manifest's `candidate` input, alone and with a part replaced. */
function contractWith(change: Readonly<Record<string, unknown>>): unknown {
  return { ...manifest.contract, inputs: [{ ...manifest.contract?.inputs[1], ...change }] };
}

const history = (maxLength: number): unknown => ({ from: 'history', maxLength, offset: 1, pad: 0 });
const wide = { dims: ['candidates', 1024], source: { from: 'vectors', file: 'full.onnx', dimensions: 1024 } };
const wideCut = (candidates: number): unknown => ({ full: { ranker: 'full', candidates } });
const deep = (levels: number): unknown => (levels === 0 ? {} : { inner: deep(levels - 1) });

describe('readManifest', () => {
  const words = { kind: 'text', file: 'indexes/words.bin' };
  test.each([
    ['format', { format: 2 }],
    ['surprise', { surprise: 1 }],
    ['defaultPipeline', { defaultPipeline: 'none' }],
    ['pipelines.full.ranker', { pipelines: { full: { candidates: 1, ranker: 'int4' } } }],
    ['pipelines.full.search', { pipelines: { full: { candidates: 1, search: 'none' } } }],
    ['pipelines.full.candidates', { pipelines: { full: { candidates: 0 } } }],
    ['variants.full.file', { variants: { full: { file: 'none.onnx' } } }],
    ['contract', { contract: undefined }],
    ['catalogue.file', { catalogue: { file: '../items.parquet', idColumn: 'id', rows: 2 } }],
    ['catalogue.file', { catalogue: { file: '/etc/passwd', idColumn: 'id', rows: 2 } }],
    ['retrievers.words.extra', { retrievers: { words: { ...words, extra: 1 } } }],
    ['retrievers.words', { retrievers: { words: { kind: 'magic' } } }],
    ['pipelines.full.candidates', { pipelines: { full: { candidates: 1e9 } } }],
    ['contract.inputs.0.dims.1', { contract: contractWith({ dims: ['candidates', 1e12] }) }],
    ['contract.inputs.candidate.dims', { contract: contractWith({ dims: ['candidates', 1e9] }) }],
    ['contract.inputs.candidate.dims', { contract: contractWith({ dims: ['candidates', 'width'] }) }],
    ['contract.inputs.candidate', { contract: contractWith({ per: 'request' }) }],
    ['contract.inputs.0.source.maxLength', { contract: contractWith({ source: history(1e12) }) }],
    ['pipelines.full.candidates', { contract: contractWith(wide), pipelines: wideCut(50_000) }],
    ['provenance', { provenance: deep(100) }],
  ])('names %s where it is wrong', async (field, change) => {
    await writeRaw(change);
    await expect(readManifest(folder)).rejects.toMatchObject({ code: 'BUNDLE_INVALID', details: { field } });
  });

  test('a wide input is allowed where the requests are small', async () => {
    await writeRaw({ contract: contractWith(wide), pipelines: wideCut(1_000) });
    expect(await readManifest(folder)).toMatchObject({ pipelines: wideCut(1_000) });
  });

  test('says that the bundle is missing, or that it is not JSON', async () => {
    await expect(readManifest(join(folder, 'none'))).rejects.toMatchObject({ code: 'FILE_MISSING' });
    await writeFile(join(folder, 'bundle.json'), '{"format": 1');
    await expect(readManifest(folder)).rejects.toMatchObject({ code: 'FILE_CORRUPT' });
  });
});

describe('verifyFiles', () => {
  test('finds a file that grew, one of equal size with other content, and one that is gone', async () => {
    const written = await writeManifest(folder, manifest);
    await writeFile(join(folder, 'full.onnx'), 'fuLl');
    await expect(verifyFiles(folder, written)).rejects.toMatchObject({
      code: 'HASH_MISMATCH',
      details: { file: 'full.onnx', found: { bytes: 4, sha256: sha256('fuLl') } },
    });
    await writeFile(join(folder, 'full.onnx'), 'full');
    await appendFile(join(folder, 'indexes/words.bin'), '!');
    await expect(verifyFiles(folder, written)).rejects.toMatchObject({
      code: 'HASH_MISMATCH',
      details: { file: 'indexes/words.bin', found: { bytes: 6 } },
    });
    await rm(join(folder, 'indexes/words.bin'));
    await expect(verifyFiles(folder, written)).rejects.toMatchObject({
      code: 'FILE_MISSING',
      details: { file: 'indexes/words.bin' },
    });
  });
});

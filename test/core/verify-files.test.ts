import { execFileSync } from 'node:child_process';
import {
  chmod,
  link,
  mkdir,
  mkdtemp,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  checkUnchanged,
  readManifest,
  sha256,
  silentLog,
  VerificationRecord,
  verifyFiles,
  writeManifest,
  type BundleManifest,
} from '../../src/core/index.js';
import { until } from '../support/until.js';

let folder: string;
let bundle: string;
let store: string;
let manifest: BundleManifest;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whittle-verify-'));
  bundle = join(folder, 'bundle');
  store = join(folder, 'store');
  await mkdir(join(bundle, 'weights'), { recursive: true });
  await writeFile(join(bundle, 'items.parquet'), 'items');
  await writeFile(join(bundle, 'weights/table.bin'), 'table');
  await writeFile(join(folder, 'outside.bin'), 'table');
  manifest = await writeManifest(bundle, {
    format: 1,
    name: 'tiny',
    provenance: {},
    catalogue: { file: 'items.parquet', idColumn: 'id', rows: 1 },
    retrievers: { words: { kind: 'text', file: 'weights/table.bin' } },
    variants: {},
    pipelines: { words: { candidates: 1, search: 'words' } },
    defaultPipeline: 'words',
  });
});
afterEach(() => rm(folder, { recursive: true }));

const table = (): string => join(bundle, 'weights/table.bin');
const record = (fresh = false): Promise<VerificationRecord> =>
  VerificationRecord.open(store, { fresh, log: silentLog });

/** Waits until a file's last change lies so far back that its hash may be remembered. */
async function settled(path: string): Promise<void> {
  const { ctimeMs } = await stat(path);
  await until('the file has settled', () => Date.now() > ctimeMs + 2_100);
}

describe('only plain files inside the bundle', () => {
  test('a symbolic link is refused, also one that leads to the same content', async () => {
    await rm(table());
    await symlink(join(folder, 'outside.bin'), table());
    await expect(verifyFiles(bundle, manifest)).rejects.toMatchObject({
      code: 'BUNDLE_INVALID',
      details: { file: 'weights/table.bin', found: 'a symbolic link', allowed: 'a regular file' },
    });
  });

  test('a folder on the way may not be a link', async () => {
    await rename(join(bundle, 'weights'), join(folder, 'weights'));
    await symlink(join(folder, 'weights'), join(bundle, 'weights'));
    await expect(verifyFiles(bundle, manifest)).rejects.toMatchObject({
      code: 'BUNDLE_INVALID',
      details: { file: 'weights/table.bin', found: 'a symbolic link', allowed: 'a folder' },
    });
  });

  test('a hard link is refused with the way out, which works', async () => {
    await rm(table());
    await link(join(folder, 'outside.bin'), table());
    const thrown: unknown = await verifyFiles(bundle, manifest).catch((error: unknown) => error);
    expect(thrown).toMatchObject({
      code: 'BUNDLE_INVALID',
      details: { file: 'weights/table.bin', found: 'a hard link (2 names)' },
    });
    const { remedy } = (thrown as { details: { remedy: string } }).details;
    execFileSync('sh', ['-c', /cp .*/.exec(remedy)?.[0] ?? 'false']);
    await verifyFiles(bundle, manifest);
  });

  test.skipIf(process.platform === 'win32')('a named pipe is refused and not waited for', async () => {
    await rm(table());
    execFileSync('sh', ['-c', 'mkfifo "$0"', table()]);
    await expect(verifyFiles(bundle, manifest)).rejects.toMatchObject({
      code: 'BUNDLE_INVALID',
      details: { found: 'a named pipe' },
    });
  });

  test('bundle.json itself may not be a link or too large; the folder may be one', async () => {
    const path = join(bundle, 'bundle.json');
    await symlink(bundle, join(folder, 'current'));
    expect(await readManifest(join(folder, 'current'))).toEqual(manifest);
    await rename(path, join(folder, 'elsewhere.json'));
    await symlink(join(folder, 'elsewhere.json'), path);
    await expect(readManifest(bundle)).rejects.toMatchObject({
      code: 'BUNDLE_INVALID',
      details: { file: 'bundle.json', found: 'a symbolic link' },
    });
    await rm(path);
    await writeFile(path, `${JSON.stringify(manifest)}${' '.repeat(17 * 2 ** 20)}`);
    await expect(readManifest(bundle)).rejects.toMatchObject({
      code: 'BUNDLE_INVALID',
      details: { file: 'bundle.json' },
    });
  });

  test('a file that the manifest places outside is refused by its name', async () => {
    for (const file of ['../outside.bin', '/etc/passwd', 'weights\\table.bin', 'a\u0000b']) {
      const files = { ...manifest.files, [file]: { sha256: sha256('table'), bytes: 5 } };
      await writeFile(join(bundle, 'bundle.json'), JSON.stringify({ ...manifest, files }));
      await expect(readManifest(bundle), file).rejects.toMatchObject({ code: 'BUNDLE_INVALID' });
    }
  });
});

describe('what was verified is remembered', () => {
  test('by identity: the same file is not read again, a rewritten one is', async () => {
    await settled(table());
    const first = await record();
    await verifyFiles(bundle, manifest, first);
    await first.save();
    const identity = [...(await verifyFiles(bundle, manifest)).values()];
    const second = await record();
    expect(identity.map((one) => second.sha256Of(one))).toEqual([sha256('items'), sha256('table')]);
    await chmod(table(), 0o644);
    const changed = await verifyFiles(bundle, manifest);
    expect(second.sha256Of(changed.get('weights/table.bin') ?? '')).toBeUndefined();
    expect(second.sha256Of(changed.get('items.parquet') ?? '')).toBe(sha256('items'));
  });

  test('a record is believed: one with another hash makes the file differ', async () => {
    await settled(table());
    const verified = await verifyFiles(bundle, manifest);
    const other = 'f'.repeat(64);
    await mkdir(store);
    const files = { [verified.get('weights/table.bin') ?? '']: other };
    await writeFile(join(store, 'verified.json'), JSON.stringify({ format: 1, files, admissions: {} }));
    await expect(verifyFiles(bundle, manifest, await record())).rejects.toMatchObject({
      code: 'HASH_MISMATCH',
      details: { found: { sha256: other } },
    });
    await verifyFiles(bundle, manifest, await record(true));
  });

  test('other content of equal size is found though size and time of modification are put back', async () => {
    const time = new Date('2026-01-01T00:00:00Z');
    await utimes(table(), time, time);
    await settled(table());
    const known = await record();
    await verifyFiles(bundle, manifest, known);
    await writeFile(table(), 'tabel');
    await utimes(table(), time, time);
    expect((await stat(table())).mtime).toEqual(time);
    await expect(verifyFiles(bundle, manifest, known)).rejects.toMatchObject({
      code: 'HASH_MISMATCH',
      details: { found: { sha256: sha256('tabel') } },
    });
  });

  test('a file that was written a moment ago is not remembered', async () => {
    await writeFile(table(), 'table');
    const known = await record();
    const verified = await verifyFiles(bundle, manifest, known);
    expect(known.sha256Of(verified.get('weights/table.bin') ?? '')).toBeUndefined();
  });

  test.each([
    ['not JSON', '{"format": 1'],
    ['another format', '{"format": 2, "files": {}, "admissions": {}}'],
    ['not hashes', '{"format": 1, "files": {"x": 5}, "admissions": {}}'],
  ])('a record that is %s is ignored and replaced', async (_, text) => {
    await mkdir(store);
    await writeFile(join(store, 'verified.json'), text);
    const known = await record();
    await verifyFiles(bundle, manifest, known);
    known.admit('model');
    await known.save();
    const written: unknown = JSON.parse(await readFile(join(store, 'verified.json'), 'utf8'));
    expect(written).toMatchObject({ format: 1, admissions: { model: expect.any(Number) as number } });
    expect((await record()).isAdmitted('model')).toBe(true);
    expect((await record(true)).isAdmitted('model')).toBe(false);
  });

  test('a folder that cannot be written to costs the record and nothing else', async () => {
    await writeFile(store, 'no folder');
    const known = await record();
    await verifyFiles(bundle, manifest, known);
    known.admit('model');
    await known.save();
    expect(await readFile(store, 'utf8')).toBe('no folder');
  });
});

test('a file replaced after it was verified is noticed', async () => {
  const verified = await verifyFiles(bundle, manifest);
  await checkUnchanged(bundle, verified);
  await rename(join(folder, 'outside.bin'), table());
  await expect(checkUnchanged(bundle, verified)).rejects.toMatchObject({ code: 'FILE_CORRUPT' });
});

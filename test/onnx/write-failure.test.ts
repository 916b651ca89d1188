import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { float32, must, unwritable } from '../../src/core/index.js';
import { GraphBuilder, writeModel } from '../../src/onnx/index.js';

function model(value = 1): Parameters<typeof writeModel>[0] {
  const builder = new GraphBuilder();
  builder.initializer('w', float32(new Float32Array(50_000).fill(value)));
  return builder.build();
}

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whittle-failure-'));
});
afterEach(async () => {
  await chmod(folder, 0o755);
  await rm(folder, { recursive: true });
});

/** Runs as somebody for whom permissions count: to root everything is writable. */
async function unprivileged<Result>(run: () => Promise<Result>): Promise<Result> {
  const { seteuid } = process;
  if (process.getuid?.() !== 0 || seteuid === undefined) return run();
  seteuid(65534);
  try {
    return await run();
  } finally {
    seteuid(0);
  }
}

const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );

describe('a model that cannot be written is one error, and nothing is left of it', () => {
  test('a path that is a folder', async () => {
    const path = join(folder, 'taken.onnx');
    await mkdir(path);
    expect(await failure(writeModel(model(), path))).toMatchObject({
      code: 'FILE_UNWRITABLE',
      message: `Cannot write ${path}: it is a folder`,
      details: { path, reason: 'EISDIR' },
    });
    expect(await readdir(folder)).toEqual(['taken.onnx']);
  });

  test('a path that leads through a file', async () => {
    await writeFile(join(folder, 'file'), 'x');
    const path = join(folder, 'file', 'model.onnx');
    expect(await failure(writeModel(model(), path))).toMatchObject({
      code: 'FILE_UNWRITABLE',
      message: expect.stringContaining('no folder') as string,
    });
    expect(await readdir(folder)).toEqual(['file']);
  });

  test('a folder that is read-only', async () => {
    await chmod(folder, 0o555);
    const path = join(folder, 'new', 'model.onnx');
    const thrown = await unprivileged(() => failure(writeModel(model(), path)));
    expect(thrown).toMatchObject({ code: 'FILE_UNWRITABLE', details: { path, reason: 'EACCES' } });
    expect(await readdir(folder)).toEqual([]);
  });

  test('a disk that takes no more, after some of it was written', async () => {
    const path = join(folder, 'a', 'b', 'model.onnx');
    expect(await writeUntilFull(path)).toMatchObject({
      code: 'FILE_UNWRITABLE',
      details: { path, reason: 'EFBIG' },
    });
    expect(await readdir(folder)).toEqual([]);
  });

  test('a disk that takes no more, under a model that exists', async () => {
    const path = join(folder, 'model.onnx');
    await writeModel(model(), path);
    const before = await readFile(path);
    const weights = await readdir(join(folder, 'weights'));
    expect(await writeUntilFull(path)).toMatchObject({ code: 'FILE_UNWRITABLE' });
    expect(await readFile(path)).toEqual(before);
    expect(await readdir(join(folder, 'weights'))).toEqual(weights);
    expect((await readdir(folder)).sort()).toEqual(['model.onnx', 'weights']);
  });
});

/** Writes in a process whose files may have 1 MB at most: the write beyond fails as it does on a full disk. */
async function writeUntilFull(path: string): Promise<unknown> {
  const child = fileURLToPath(new URL('limited-writer-child.ts', import.meta.url));
  const command = [process.execPath, '--import', 'tsx', child, path];
  const limited = spawn('bash', ['-c', 'ulimit -f 1000; exec "$@"', 'bash', ...command], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const [report] = (await once(limited, 'message')) as [unknown];
  await once(limited, 'exit');
  return report;
}

test.skipIf(!existsSync('/dev/full'))('a full disk is named', () => {
  let thrown: unknown;
  try {
    writeFileSync('/dev/full', 'x');
  } catch (error) {
    thrown = error;
  }
  expect(unwritable('model.onnx', must(thrown, 'error'))).toMatchObject({
    code: 'FILE_UNWRITABLE',
    message: 'Cannot write model.onnx: the disk is full',
    details: { path: 'model.onnx', reason: 'ENOSPC' },
  });
  const bug = new TypeError('no file');
  expect(unwritable('model.onnx', bug)).toBe(bug);
});

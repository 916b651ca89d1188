import { existsSync } from 'node:fs';
import { appendFile, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { float32, must } from '../../src/core/index.js';
import type { OpenSession, SessionOptions, TensorMap } from '../../src/core/index.js';
import {
  encodeModel,
  GraphBuilder,
  probeShapes,
  readModel,
  withInitializers,
  withModelSession,
  writeModel,
} from '../../src/onnx/index.js';
import type { Model } from '../../src/onnx/index.js';
import { openSession } from '../../src/runtime/index.js';
import { rejectionCode } from '../support/error-code.js';
import { writeHollowModel } from './sparse-file.js';

const ROWS = 20_000;
const WIDTH = 256;
const table = Float32Array.from({ length: ROWS * WIDTH }, (_, index) => index);
const ids = { dtype: 'int64', dims: [2], data: BigInt64Array.of(1n, BigInt(ROWS - 1)) } as const;
const rows = Float32Array.from([...table.slice(WIDTH, 2 * WIDTH), ...table.slice(-WIDTH)]);

/** Looks up rows of a table of 20 MB; a smaller tensor on each side shifts it to some odd byte. */
function tableModel(): Model {
  const builder = new GraphBuilder();
  builder.input('ids', 'int64', ['n']);
  const zero = builder.initializer('zero', float32(new Float32Array(100_000), [100_000, 1]));
  const looked = builder.op.Gather(builder.initializer('table', float32(table, [ROWS, WIDTH])), 'ids');
  builder.node('Add', [looked, builder.op.Gather(zero, 'ids')], {}, ['y']);
  builder.output('y');
  return builder.build();
}

interface Opened {
  readonly options: SessionOptions | undefined;
  /** Bytes of each file in the folder, and whether it is a link to one elsewhere. */
  readonly files: readonly { readonly name: string; readonly bytes: number; readonly linked: boolean }[];
  readonly folder: string;
}

/** The real runtime, which notes what it is given. */
function noting(opened: Opened[]): OpenSession {
  return async (model, options) => {
    if (typeof model !== 'string') {
      opened.push({ options, files: [], folder: '' });
      return openSession(model, options);
    }
    const folder = dirname(model);
    const names = await readdir(folder);
    const files = await Promise.all(
      names.sort().map(async (name) => {
        const { size, nlink } = await stat(join(folder, name));
        return { name, bytes: size, linked: nlink > 1 };
      }),
    );
    opened.push({ options, files, folder });
    return openSession(model, options);
  };
}

let folder = '';
let path = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whittle-session-'));
  path = join(folder, 'model.onnx');
});
afterEach(() => rm(folder, { recursive: true }));

async function lookup(model: Model, opened: Opened[] = []): Promise<unknown> {
  const results = await withModelSession(model, noting(opened), (session) => session.run({ ids }));
  for (const { folder: used } of opened) expect(existsSync(used)).toBe(false);
  return results['y']?.data;
}

describe('a session on a large model', () => {
  test('links the model file that its weights are in', async () => {
    await writeFile(path, encodeModel(tableModel()));
    const opened: Opened[] = [];
    expect(await lookup(await readModel(path), opened)).toEqual(rows);
    const { size } = await stat(path);
    expect(opened[0]?.files).toEqual([
      { name: '0.bin', bytes: size, linked: true },
      { name: 'model.onnx', bytes: expect.any(Number) as number, linked: false },
      // 400 kB are below what is left in the file.
      { name: 'weights.bin', bytes: 400_000, linked: false },
    ]);
    expect(opened[0]?.files[1]?.bytes).toBeLessThan(1000);
  });

  test('links external data', async () => {
    await writeModel(tableModel(), path);
    const opened: Opened[] = [];
    expect(await lookup(await readModel(path), opened)).toEqual(rows);
    expect(opened[0]?.files.map(({ linked }) => linked)).toEqual([true, true, false]);
  });

  test('writes weights that are in memory', async () => {
    const opened: Opened[] = [];
    expect(await lookup(tableModel(), opened)).toEqual(rows);
    expect(opened[0]?.files.map(({ linked }) => linked)).toEqual([false, false]);
  });

  const otherDisk = '/dev/shm';
  test.skipIf(!existsSync(otherDisk))('copies them where the file system cannot link', async () => {
    await writeFile(path, encodeModel(tableModel()));
    const model = await readModel(path);
    const same = (await stat(otherDisk)).dev === (await stat(folder)).dev;
    vi.stubEnv('TMPDIR', otherDisk);
    try {
      const opened: Opened[] = [];
      expect(await lookup(model, opened)).toEqual(rows);
      expect(opened[0]?.files.some(({ linked }) => linked)).toBe(same);
    } finally {
      vi.unstubAllEnvs();
    }
  });

  test('is refused where the weights have changed or gone, and leaves nothing', async () => {
    await writeFile(path, encodeModel(tableModel()));
    const model = await readModel(path);
    await appendFile(path, Uint8Array.of(0));
    vi.stubEnv('TMPDIR', folder);
    try {
      expect(await rejectionCode(lookup(model))).toBe('FILE_CORRUPT');
      await rm(path);
      expect(await rejectionCode(lookup(model))).toBe('FILE_MISSING');
    } finally {
      vi.unstubAllEnvs();
    }
    expect(await readdir(folder)).toEqual([]);
  });

  test('has no private copy of weights above 256 MB, unless it is asked for', async () => {
    await writeHollowModel(path, 1_100_000);
    const model = await readModel(path);
    const opened: Opened[] = [];
    const zeros = new Float32Array(128);
    const some: TensorMap = { ids: { ...ids, data: BigInt64Array.of(0n, 1_099_999n) } };
    const run = (options?: SessionOptions): Promise<TensorMap> =>
      withModelSession(model, noting(opened), (session) => session.run(some), options);
    expect((await run())['y']?.data).toEqual(zeros);
    expect((await run({ prepacking: true }))['y']?.data).toEqual(zeros);
    expect(opened.map(({ options }) => options?.prepacking)).toEqual([false, true]);
  });
});

test('a small model goes to the runtime in memory', async () => {
  const builder = new GraphBuilder();
  const x = builder.input('x', 'float32', [1]);
  builder.node('Neg', [x], {}, ['y']);
  builder.output('y');
  const opened: Opened[] = [];
  const feed = { x: float32(Float32Array.of(2)) };
  const results = await withModelSession(builder.build(), noting(opened), (session) => session.run(feed));
  expect(results['y']?.data).toEqual(Float32Array.of(-2));
  expect(opened).toEqual([{ options: {}, files: [], folder: '' }]);
});

test('shapes are found in a model of more than 2 GiB', async () => {
  const bytes = 3 * 2 ** 30;
  const weights = join(folder, 'weights.bin');
  await writeFile(weights, '');
  await truncate(weights, bytes);
  const content = { kind: 'file', path: weights, offset: 0, byteLength: bytes } as const;
  const huge = { name: 'table', dtype: 'float32', dims: [bytes / 4 / WIDTH, WIDTH], content } as const;
  const model = tableModel();
  const graph = withInitializers(model.graph, [huge]);
  const shapes = await probeShapes({ ...model, graph }, openSession, { ids });
  expect(shapes.get('y')).toEqual({ dtype: 'float32', dims: [2, WIDTH], dynamic: [false, false] });
});

/** Private memory of this process that is in use, in bytes. */
async function anonymousBytes(): Promise<number> {
  const rollup = await readFile('/proc/self/smaps_rollup', 'utf8');
  return 1024 * Number(must(/^Anonymous:\s+(\d+) kB/m.exec(rollup)?.[1], 'Anonymous'));
}

test.skipIf(!existsSync('/proc/self/smaps_rollup'))(
  'without prepacking dense weights are used where they are mapped',
  async () => {
    const width = 4096;
    const builder = new GraphBuilder();
    const x = builder.input('x', 'float32', ['rows', width]);
    const weight = float32(new Float32Array(width * width).fill(0.5), [width, width]);
    builder.output(builder.op.MatMul(x, builder.initializer('w', weight)));
    await writeModel(builder.build(), path);
    const feed = { x: float32(new Float32Array(2 * width), [2, width]) };
    const privateBytes = async (prepacking: boolean): Promise<number> => {
      const before = await anonymousBytes();
      const session = await openSession(path, { prepacking });
      await session.run(feed);
      const after = await anonymousBytes();
      await session.release();
      return after - before;
    };
    const without = await privateBytes(false);
    // Half of the 64 MiB of weights is far from both: all of them, or none.
    expect((await privateBytes(true)) - without).toBeGreaterThan(32 * 2 ** 20);
    expect(without).toBeLessThan(32 * 2 ** 20);
  },
);

import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { once } from 'node:events';
import { brotliCompressSync, constants, deflateSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRandom, float32 } from '../../../src/core/index.js';
import { bytesOf, initializerOf } from '../../../src/onnx/index.js';
import type { Initializer } from '../../../src/onnx/index.js';
import { addSizes, storedSize } from '../../../src/compression/measure/stored-size.js';

const floats = (...values: number[]): Initializer => initializerOf('w', float32(Float32Array.from(values)));
const int8 = (...values: number[]): Initializer =>
  initializerOf('q', { dtype: 'int8', dims: [values.length], data: Int8Array.from(values) });

describe('storedSize', () => {
  it('counts float32: a bitmap of 2 bytes and 3 values, or 3 values with gaps', async () => {
    const size = await storedSize(floats(0, 1.5, 0, 0, 0, 0, 0, 0, -2, 3));
    expect(size).toMatchObject({ rawBytes: 40, bitmapBytes: 2 + 3 * 4, indexBytes: 3 * 6 });
  });

  it('counts int8: a bitmap of 1 byte and 2 values, or 2 values with gaps', async () => {
    const size = await storedSize(int8(0, -7, 0, 0, 5));
    expect(size).toMatchObject({ rawBytes: 5, bitmapBytes: 1 + 2, indexBytes: 2 * 3 });
  });

  it('loses no sign of a zero', async () => {
    expect(await storedSize(floats(-0, 0))).toMatchObject({ bitmapBytes: 1 + 4, indexBytes: 6 });
  });

  it.each([
    [65_535, 1],
    [65_536, 2],
    [131_071, 2],
    [131_072, 3],
  ])('a gap of %i zeros takes %i stored elements', async (zeros, stored) => {
    const values = new Float32Array(zeros + 1);
    values[zeros] = 1;
    expect((await storedSize(initializerOf('w', float32(values)))).indexBytes).toBe(6 * stored);
  });

  it('takes a pair of int4 for one element, and strings and nothing for nothing', async () => {
    const pairs = { dtype: 'int4', dims: [5], data: Uint8Array.of(0, 0x10, 0x0f) } as const;
    expect(await storedSize(initializerOf('q', pairs))).toMatchObject({
      rawBytes: 3,
      bitmapBytes: 1 + 2,
      indexBytes: 6,
    });
    const none = { rawBytes: 0, bitmapBytes: 0, indexBytes: 0 };
    expect(await storedSize(initializerOf('s', { dtype: 'string', dims: [1], data: ['a'] }))).toMatchObject(
      none,
    );
    expect(await storedSize(floats())).toMatchObject(none);
  });

  it('compresses as zlib does in one piece, whatever the alignment', async () => {
    const random = createRandom(1);
    const values = Float32Array.from({ length: 50_000 }, () =>
      random.uniform() < 0.7 ? 0 : random.normal(),
    );
    const aligned = initializerOf('w', float32(values));
    const shifted = new Uint8Array(values.byteLength + 1);
    shifted.set(bytesOf(aligned), 1);
    const odd: Initializer = { ...aligned, content: { kind: 'bytes', bytes: shifted.subarray(1) } };
    const stored = values.reduce((count, value) => count + (value === 0 ? 0 : 1), 0);
    for (const tensor of [aligned, odd])
      expect(await storedSize(tensor)).toEqual({
        rawBytes: 200_000,
        deflateBytes: deflateSync(bytesOf(aligned), { level: 6 }).byteLength,
        brotliBytes: brotliCompressSync(bytesOf(aligned), {
          params: { [constants.BROTLI_PARAM_QUALITY]: 5, [constants.BROTLI_PARAM_SIZE_HINT]: 200_000 },
        }).byteLength,
        bitmapBytes: 6250 + 4 * stored,
        indexBytes: 6 * stored,
      });
  });

  it('counts what a decoder would need', async () => {
    const sparse = fc.array(fc.oneof(fc.constant(0), fc.integer({ min: -128, max: 127 })), { maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(sparse, async (values) => {
        const stored = values.filter((value) => value !== 0).length;
        expect(await storedSize(int8(...values))).toMatchObject({
          rawBytes: values.length,
          bitmapBytes: Math.ceil(values.length / 8) + stored,
          indexBytes: 3 * stored,
        });
      }),
      { numRuns: 50 },
    );
  });

  it('streams a table of 128 MiB that is in a file', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'whittle-stored-'));
    try {
      const path = join(folder, 'table.bin');
      const file = createWriteStream(path);
      const block = Buffer.alloc(2 ** 22);
      block.writeFloatLE(1, 0);
      for (let i = 0; i < 32; i++) if (!file.write(block)) await once(file, 'drain');
      file.end();
      await once(file, 'close');
      const byteLength = 2 ** 27;
      const table: Initializer = {
        name: 'table',
        dtype: 'float32',
        dims: [2 ** 15, 2 ** 10],
        content: { kind: 'file', path, offset: 0, byteLength },
      };
      const before = process.memoryUsage().rss;
      const [one, two] = [await storedSize(table), await storedSize(floats(0, 1))];
      expect(process.memoryUsage().rss - before).toBeLessThan(byteLength / 2);
      expect(one).toMatchObject({ rawBytes: byteLength, bitmapBytes: 2 ** 22 + 32 * 4 });
      // 2^20 − 1 zeros between two ones: 15 of them are stored.
      expect(one.indexBytes).toBe(6 * (32 + 15 * 31));
      expect(addSizes(one, two).rawBytes).toBe(byteLength + 8);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

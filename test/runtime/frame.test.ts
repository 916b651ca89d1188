import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DataType, Tensor } from '../../src/core/index.js';
import { FrameDecoder } from '../../src/runtime/frame-decoder.js';
import { encodeFrame, FRAME_KINDS } from '../../src/runtime/frame.js';
import type { Frame } from '../../src/runtime/frame.js';
import { errorCode } from '../support/error-code.js';

/** Each numeric element type with an array of `elements` random bytes' worth of elements. */
const ARRAY_OF: Record<Exclude<DataType, 'string'>, (bytes: Uint8Array) => Tensor['data']> = {
  float32: (bytes) => new Float32Array(whole(bytes, 4)),
  float64: (bytes) => new Float64Array(whole(bytes, 8)),
  float16: (bytes) => new Uint16Array(whole(bytes, 2)),
  bfloat16: (bytes) => new Uint16Array(whole(bytes, 2)),
  int8: (bytes) => new Int8Array(whole(bytes, 1)),
  uint8: (bytes) => new Uint8Array(whole(bytes, 1)),
  int16: (bytes) => new Int16Array(whole(bytes, 2)),
  uint16: (bytes) => new Uint16Array(whole(bytes, 2)),
  int32: (bytes) => new Int32Array(whole(bytes, 4)),
  uint32: (bytes) => new Uint32Array(whole(bytes, 4)),
  int64: (bytes) => new BigInt64Array(whole(bytes, 8)),
  uint64: (bytes) => new BigUint64Array(whole(bytes, 8)),
  int4: (bytes) => new Uint8Array(whole(bytes, 1)),
  uint4: (bytes) => new Uint8Array(whole(bytes, 1)),
  bool: (bytes) => new Uint8Array(whole(bytes, 1)),
};

/** The longest front of `bytes` that holds whole elements, in a buffer of its own. */
function whole(bytes: Uint8Array, elementBytes: number): ArrayBuffer {
  return bytes.slice(0, bytes.length - (bytes.length % elementBytes)).buffer;
}

const numeric = fc
  .tuple(fc.constantFrom(...(Object.keys(ARRAY_OF) as (keyof typeof ARRAY_OF)[])), fc.uint8Array())
  .map(([dtype, bytes]): Tensor => {
    const data = ARRAY_OF[dtype](bytes);
    return { dtype, dims: [dtype.endsWith('int4') ? data.length * 2 : data.length], data };
  });
const text = fc
  .array(fc.string({ unit: 'binary' }))
  .map((data): Tensor => ({ dtype: 'string', dims: [data.length], data }));
const frame: fc.Arbitrary<Frame> = fc.record({
  id: fc.nat({ max: 2 ** 32 - 1 }),
  kind: fc.constantFrom(...FRAME_KINDS),
  meta: fc.dictionary(
    fc.string().filter((key) => key !== '__proto__'),
    fc.oneof(fc.string(), fc.integer(), fc.boolean()),
    { noNullPrototype: true },
  ),
  tensors: fc.dictionary(fc.string(), fc.oneof(numeric, text), { noNullPrototype: true }),
});

function encoded(frames: readonly Frame[]): Buffer {
  return Buffer.concat(frames.flatMap((one) => encodeFrame(one)));
}

/** Cuts `bytes` into pieces of the given sizes, taken in turn. */
function* chunksOf(bytes: Buffer, sizes: readonly number[]): Generator<Buffer> {
  let offset = 0;
  for (let turn = 0; offset < bytes.length; turn++) {
    const size = sizes[turn % sizes.length] ?? 1;
    yield bytes.subarray(offset, offset + size);
    offset += size;
  }
}

function decoded(bytes: Buffer, sizes: readonly number[]): Frame[] {
  const decoder = new FrameDecoder();
  return [...chunksOf(bytes, sizes)].flatMap((chunk) => decoder.push(chunk));
}

/** NaN payloads count: compared as bytes. */
function comparable(frames: readonly Frame[]): unknown {
  return frames.map((one) => ({
    ...one,
    tensors: Object.entries(one.tensors).map(([name, { dtype, dims, data }]) => ({
      name,
      dtype,
      dims,
      array: data.constructor.name,
      bytes: ArrayBuffer.isView(data)
        ? Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('hex')
        : data,
    })),
  }));
}

describe('frames', () => {
  it('survive any cutting of the stream, with tensors of every type', () => {
    fc.assert(
      fc.property(
        fc.array(frame, { maxLength: 4 }),
        fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1 }),
        (frames, sizes) => {
          expect(comparable(decoded(encoded(frames), sizes))).toEqual(comparable(frames));
        },
      ),
    );
  });

  it('come out one by one from single bytes', () => {
    const frames: Frame[] = [
      {
        id: 1,
        kind: 'run',
        meta: {},
        tensors: { a: { dtype: 'int64', dims: [], data: BigInt64Array.of(-5n) } },
      },
      { id: 2, kind: 'ping', meta: { deep: [{ x: null }] }, tensors: {} },
    ];
    expect(decoded(encoded(frames), [1])).toEqual(frames);
  });

  it('give every tensor a view of one buffer, without a copy of each', () => {
    const tensors = {
      odd: { dtype: 'uint8' as const, dims: [3], data: Uint8Array.of(1, 2, 3) },
      wide: { dtype: 'float64' as const, dims: [1], data: Float64Array.of(Math.PI) },
    };
    const [one] = decoded(encoded([{ id: 1, kind: 'run', meta: {}, tensors }]), [7]);
    const odd = one?.tensors['odd']?.data as Uint8Array;
    const wide = one?.tensors['wide']?.data as Float64Array;
    expect(wide.buffer).toBe(odd.buffer);
    expect(wide).toEqual(Float64Array.of(Math.PI));
  });

  it('that come whole are not copied', () => {
    const tensors = { wide: { dtype: 'float64' as const, dims: [1], data: Float64Array.of(Math.PI) } };
    const bytes = encoded([
      { id: 1, kind: 'ping', meta: {}, tensors: {} },
      { id: 2, kind: 'run', meta: {}, tensors },
    ]);
    const chunk = Buffer.from(new Uint8Array(bytes).buffer);
    const [, second] = new FrameDecoder().push(chunk);
    expect(second?.tensors['wide']?.data).toEqual(Float64Array.of(Math.PI));
    expect((second?.tensors['wide']?.data as Float64Array).buffer).toBe(chunk.buffer);
  });

  it.each([1_000, 100_000])('of %d floats hold them as they were', (length) => {
    const data = Float32Array.from({ length }, (_, index) => index);
    const one: Frame = {
      id: 1,
      kind: 'run',
      meta: {},
      tensors: { a: { dtype: 'float32', dims: [length], data } },
    };
    const chunks = encodeFrame(one);
    // Small ones are one chunk, the tensors of large ones are not copied.
    expect(chunks.length === 1).toBe(length < 10_000);
    expect(chunks.some((chunk) => chunk.buffer === data.buffer)).toBe(length > 10_000);
    expect(decoded(Buffer.concat(chunks), [65_536])).toEqual([one]);
  });

  it('are refused over the size limit, on both sides, however they come', () => {
    const large = run({ a: { dtype: 'uint8', dims: [2000], data: new Uint8Array(2000) } });
    expect(errorCode(() => encodeFrame(large, 1000))).toBe('INPUT_TOO_LARGE');
    const decoder = new FrameDecoder(1000);
    expect(errorCode(() => decoder.push(encoded([large])))).toBe('INPUT_TOO_LARGE');
    const slowly = new FrameDecoder(1000);
    slowly.push(encoded([large]).subarray(0, 10));
    expect(errorCode(() => slowly.push(encoded([large]).subarray(10, 100)))).toBe('INPUT_TOO_LARGE');
    expect(new FrameDecoder(3000).push(encoded([large]))).toHaveLength(1);
  });

  it('are refused when the stream is not one of frames', () => {
    for (const bytes of [Buffer.from('GET / HTTP/1.1\r\nHost: whittle\r\n\r\n'), Buffer.alloc(64)])
      expect(errorCode(() => new FrameDecoder().push(bytes))).toBe('RUNNER_FAILED');
  });

  it.each([
    ['fewer', [3], new Float32Array(2)],
    ['more', [1], new Float32Array(2)],
    ['as many elements as no memory has', [4294967295, 4294967295, 4294967295], new Float32Array(2)],
    ['elements in a dimension of zero', [0, 4294967295], new Float32Array(2)],
  ])('are refused when a tensor has %s for its dims', (_, dims, data) => {
    const wrong = run({ a: { dtype: 'float32', dims, data } });
    expect(errorCode(() => new FrameDecoder().push(encoded([wrong])))).toBe('RUNNER_FAILED');
  });

  it('refuse dims outside 32 bits before anything is sent', () => {
    for (const dim of [-1, 2 ** 32]) {
      const wrong = run({ a: { dtype: 'float32', dims: [dim], data: new Float32Array(1) } });
      expect(() => encodeFrame(wrong), String(dim)).toThrow();
    }
  });

  it('are refused, or read as another frame, whatever bytes are changed: never a crash, never a wild view', () => {
    const whole = encoded([
      run({
        history: { dtype: 'int64', dims: [1, 2], data: BigInt64Array.of(1n, 2n) },
        title: { dtype: 'string', dims: [2], data: ['a', 'b'] },
      }),
    ]);
    const edit = fc.record({ at: fc.nat({ max: whole.length - 1 }), byte: fc.nat({ max: 255 }) });
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
        const bytes = Buffer.from(whole);
        for (const { at, byte } of edits) bytes[at] = byte;
        let frames: Frame[] = [];
        const code = errorCode(() => (frames = new FrameDecoder().push(bytes)));
        expect(['RUNNER_FAILED', 'INPUT_TOO_LARGE', undefined]).toContain(code);
        for (const { tensors } of frames)
          for (const { dims, data } of Object.values(tensors)) {
            const elements = dims.reduce((product, dim) => product * dim, 1);
            expect(data.length === elements || data.length === Math.ceil(elements / 2)).toBe(true);
          }
      }),
      { numRuns: 2_000 },
    );
  });
});

function run(tensors: Frame['tensors']): Frame {
  return { id: 1, kind: 'run', meta: {}, tensors };
}

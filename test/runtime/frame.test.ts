import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DataType, Tensor } from '../../src/core/index.js';
import { encodeFrame, FrameDecoder } from '../../src/runtime/frame.js';
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
  id: fc.nat(),
  kind: fc.string(),
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

  it('are encoded without a copy of the tensors', () => {
    const data = new Float32Array(1000);
    const chunks = encodeFrame({
      id: 1,
      kind: 'run',
      meta: {},
      tensors: { a: { dtype: 'float32', dims: [1000], data } },
    });
    expect(chunks.some((chunk) => chunk.buffer === data.buffer)).toBe(true);
  });

  it('are refused over the size limit, on both sides', () => {
    const large: Frame = {
      id: 1,
      kind: 'run',
      meta: {},
      tensors: { a: { dtype: 'uint8', dims: [2000], data: new Uint8Array(2000) } },
    };
    expect(errorCode(() => encodeFrame(large, 1000))).toBe('INPUT_TOO_LARGE');
    expect(errorCode(() => new FrameDecoder(1000).push(encoded([large])))).toBe('INPUT_TOO_LARGE');
    expect(new FrameDecoder(3000).push(encoded([large]))).toHaveLength(1);
  });

  it('are refused when the stream is not one of frames', () => {
    const text = Buffer.from('GET / HTTP/1.1\r\n\r\n');
    expect(errorCode(() => new FrameDecoder().push(text))).toBe('INPUT_TOO_LARGE');
    const noHeader = Buffer.alloc(64);
    noHeader.writeUInt32LE(56, 0);
    expect(errorCode(() => new FrameDecoder().push(noHeader))).toBe('RUNNER_FAILED');
    noHeader.writeUInt32LE(8, 4);
    expect(errorCode(() => new FrameDecoder().push(noHeader))).toBe('RUNNER_FAILED');
  });

  it('are refused when a tensor does not have the elements of its dims', () => {
    const wrong: Frame = {
      id: 1,
      kind: 'run',
      meta: {},
      tensors: { a: { dtype: 'float32', dims: [3], data: new Float32Array(2) } },
    };
    expect(errorCode(() => new FrameDecoder().push(encoded([wrong])))).toBe('RUNNER_FAILED');
  });
});

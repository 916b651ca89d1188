import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { float32 } from '../../src/core/index.js';
import type { DataType, Tensor } from '../../src/core/index.js';
import {
  bfloat16ToFloat32,
  byteLength,
  dataTypeCode,
  dataTypeOfCode,
  float16ToFloat32,
  initializerOf,
  packedBytes,
  tensorOf,
} from '../../src/onnx/index.js';
import { errorCode } from '../support/error-code.js';

describe('tensors', () => {
  test('an initializer shares the buffer of its tensor and gives it back', () => {
    const data = new Float32Array(8).subarray(2, 6);
    const initializer = initializerOf('w', float32(data, [2, 2]));
    const back = tensorOf(initializer);
    expect(back).toEqual({ dtype: 'float32', dims: [2, 2], data });
    data[0] = 5;
    expect(back.data).toEqual(data);
    expect(byteLength(initializer)).toBe(16);
  });

  test('bytes at any offset are read', () => {
    fc.assert(
      fc.property(fc.float64Array(), fc.nat(15), (values, shift) => {
        const bytes = new Uint8Array(values.byteLength + shift);
        bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), shift);
        const content = { kind: 'bytes', bytes: bytes.subarray(shift) } as const;
        const { data } = tensorOf({ name: 'w', dtype: 'float64', dims: [values.length], content });
        expect(data).toEqual(Float64Array.from(values));
      }),
    );
  });

  test('strings survive', () => {
    const tensor: Tensor = { dtype: 'string', dims: [2], data: ['a', 'ü'] };
    expect(tensorOf(initializerOf('s', tensor))).toEqual(tensor);
    expect(byteLength(initializerOf('s', tensor))).toBe(3);
  });

  test('a length that does not fit the shape is refused', () => {
    const content = { kind: 'bytes', bytes: new Uint8Array(7) } as const;
    expect(errorCode(() => tensorOf({ name: 'w', dtype: 'float32', dims: [2], content }))).toBe(
      'MODEL_INVALID',
    );
  });

  test('int4 is packed two to a byte', () => {
    expect(packedBytes('int4', 5)).toBe(3);
    const content = { kind: 'bytes', bytes: Uint8Array.of(0x21, 0x43, 0x05) } as const;
    expect(tensorOf({ name: 'w', dtype: 'int4', dims: [5], content }).data).toEqual(content.bytes);
  });

  test('codes of element types are those of onnx.proto', () => {
    // TensorProto.DataType, https://github.com/onnx/onnx/blob/v1.20.0/onnx/onnx.proto
    const codes: readonly [DataType, number][] = [
      ['float32', 1],
      ['int64', 7],
      ['string', 8],
      ['bool', 9],
      ['float16', 10],
      ['float64', 11],
      ['bfloat16', 16],
      ['uint4', 21],
      ['int4', 22],
    ];
    for (const [dtype, code] of codes) {
      expect(dataTypeCode(dtype)).toBe(code);
      expect(dataTypeOfCode(code)).toBe(dtype);
    }
    expect(dataTypeOfCode(14)).toBeUndefined();
  });
});

describe('half floats', () => {
  test('values of IEEE 754 binary16', () => {
    // Table "Half precision examples" of https://en.wikipedia.org/wiki/Half-precision_floating-point_format
    const bits = [
      0x0001, 0x03ff, 0x0400, 0x3555, 0x3bff, 0x3c00, 0x3c01, 0x7bff, 0x7c00, 0x8000, 0xc000, 0xfc00,
    ];
    const values = [
      0.000000059604645,
      0.000060975552,
      0.00006103515625,
      0.33325195,
      0.99951172,
      1,
      1.00097656,
      65504,
      Infinity,
      -0,
      -2,
      -Infinity,
    ];
    const actual = float16ToFloat32(Uint16Array.from(bits));
    values.forEach((value, index) => {
      if (Number.isFinite(value) && value !== 0) expect((actual[index] ?? 0) / value).toBeCloseTo(1, 6);
      else expect(actual[index]).toBe(value);
    });
    expect(float16ToFloat32(Uint16Array.of(0x7e00))[0]).toBeNaN();
  });

  test('bfloat16 is the upper half of float32', () => {
    fc.assert(
      fc.property(fc.float({ noNaN: true }), (value) => {
        const words = new Uint32Array(Float32Array.of(value).buffer);
        const upper = (words[0] ?? 0) >>> 16;
        const kept = new Float32Array(Uint32Array.of(upper << 16).buffer);
        expect(bfloat16ToFloat32(Uint16Array.of(upper))).toEqual(kept);
      }),
    );
    expect(bfloat16ToFloat32(Uint16Array.of(0x3f80, 0xc000))).toEqual(Float32Array.of(1, -2));
  });
});

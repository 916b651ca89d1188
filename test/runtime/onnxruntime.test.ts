import { describe, expect, test } from 'vitest';
import { float32 } from '../../src/core/index.js';
import { encodeModel, GraphBuilder } from '../../src/onnx/index.js';
import { openSession } from '../../src/runtime/index.js';
import { rejectionCode } from '../support/error-code.js';

/** y = 2x and s = Σx for x [n, 2]. */
function doubling(): Uint8Array {
  const builder = new GraphBuilder();
  const x = builder.input('x', 'float32', ['n', 2]);
  builder.node('Mul', [x, 2], {}, ['y']);
  builder.node('ReduceSum', [x, [0, 1]], { keepdims: 0 }, ['s']);
  builder.output('y', 'float32', ['n', 2]);
  builder.output('s', 'float32', []);
  return encodeModel(builder.build());
}

const x = float32(Float32Array.of(1, 2, 3, 4), [2, 2]);

describe('openSession', () => {
  test('tells names, types and shapes', async () => {
    const session = await openSession(doubling());
    expect(session.inputs).toEqual([{ name: 'x', dtype: 'float32', dims: ['n', 2] }]);
    expect(session.outputs).toEqual([
      { name: 'y', dtype: 'float32', dims: ['n', 2] },
      { name: 's', dtype: 'float32', dims: [] },
    ]);
    await session.release();
  });

  test('fetches all outputs, some of them, or into a buffer of the caller', async () => {
    const session = await openSession(doubling());
    expect(await session.run({ x })).toEqual({
      y: float32(Float32Array.of(2, 4, 6, 8), [2, 2]),
      s: float32(Float32Array.of(10), []),
    });
    expect(Object.keys(await session.run({ x }, ['s']))).toEqual(['s']);
    const y = float32(new Float32Array(4), [2, 2]);
    await session.run({ x }, { y, s: null });
    expect(y.data).toEqual(Float32Array.of(2, 4, 6, 8));
  });

  test('passes half floats as bit patterns, texts and booleans', async () => {
    const builder = new GraphBuilder();
    const half = builder.input('half', 'float16', [2]);
    const text = builder.input('text', 'string', [1]);
    builder.node('Identity', [half], {}, ['same_half']);
    builder.node('Identity', [text], {}, ['same_text']);
    builder.node('Greater', [half, builder.op.Cast(0, { to: 'float16' })], {}, ['positive']);
    for (const name of ['same_half', 'same_text', 'positive']) builder.output(name);
    const session = await openSession(encodeModel(builder.build()));
    const outputs = await session.run({
      half: { dtype: 'float16', dims: [2], data: Uint16Array.of(0x3c00, 0xc000) },
      text: { dtype: 'string', dims: [1], data: ['grün'] },
    });
    expect(outputs['same_half']?.data).toEqual(Uint16Array.of(0x3c00, 0xc000));
    expect(outputs['same_text']?.data).toEqual(['grün']);
    expect(outputs['positive']).toEqual({ dtype: 'bool', dims: [2], data: Uint8Array.of(1, 0) });
  });

  test('leaves out outputs that are no tensors', async () => {
    const builder = new GraphBuilder();
    const input = builder.input('x', 'float32', [2]);
    builder.node('SplitToSequence', [input], { axis: 0 }, ['parts']);
    builder.node('Neg', [input], {}, ['y']);
    builder.output('parts');
    builder.output('y');
    const session = await openSession(encodeModel(builder.build()));
    expect(session.outputs.map((output) => output.name)).toEqual(['y']);
    expect(Object.keys(await session.run({ x: float32(Float32Array.of(1, 2)) }))).toEqual(['y']);
  });

  test('what it cannot load or run is an error with a code', async () => {
    expect(await rejectionCode(openSession('/nowhere/model.onnx'))).toBe('MODEL_INVALID');
    expect(await rejectionCode(openSession(Uint8Array.of(1, 2, 3)))).toBe('MODEL_INVALID');
    const session = await openSession(doubling());
    expect(await rejectionCode(session.run({}))).toBe('MODEL_INVALID');
    const wrong = float32(new Float32Array(3), [1, 3]);
    expect(await rejectionCode(session.run({ x: wrong }))).toBe('MODEL_INVALID');
  });
});

import { fromBinary, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { GraphProtoSchema, ModelProtoSchema } from 'onnx-buf';
import { describe, expect, test } from 'vitest';
import { float32, must, WhittleError } from '../../src/core/index.js';
import { checkModel, decodeModel, encodeModel, GraphBuilder, tensorOf } from '../../src/onnx/index.js';
import { openSession } from '../../src/runtime/index.js';
import { rejectionCode } from '../support/error-code.js';
import { oddModelBytes } from './odd-model.js';

function smallModelBytes(): Uint8Array {
  const builder = new GraphBuilder();
  const x = builder.input('x', 'float32', ['n', 4]);
  const w = builder.initializer('w', float32(new Float32Array(8).fill(0.5), [4, 2]));
  builder.output(builder.op.Softmax(builder.op.MatMul(x, w), { axis: -1 }));
  return encodeModel(builder.build());
}

const FILES = [oddModelBytes(), smallModelBytes()];

/** Reads as much of a model as a program would; undefined where it is refused. Anything but a refusal throws. */
function readAll(bytes: Uint8Array): WhittleError | undefined {
  try {
    const model = decodeModel(bytes);
    for (const initializer of model.graph.initializers.values()) tensorOf(initializer);
    checkModel(model);
    encodeModel(model);
    return undefined;
  } catch (error) {
    if (error instanceof WhittleError && error.code !== 'INTERNAL') return error;
    throw error;
  }
}

describe('broken files', () => {
  test.each(FILES.map((file) => [file.length, file] as const))(
    'a file of %i bytes cut anywhere inside its graph is refused with the place',
    (_, file) => {
      const graph = must(fromBinary(ModelProtoSchema, file).graph, 'graph');
      const start = file.indexOf(0x3a);
      const end = start + toBinary(GraphProtoSchema, graph).length;
      expect(end - start).toBeGreaterThan(file.length / 2);
      for (let length = start + 1; length < end; length++)
        expect(readAll(file.subarray(0, length))).toMatchObject({
          code: 'MODEL_INVALID',
          details: { byteOffset: start },
        });
    },
  );

  test('flipped bits and random bytes are read or refused, never worse', () => {
    const flips = fc.array(fc.tuple(fc.nat(), fc.nat(7)), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(fc.constantFrom(...FILES), flips, (file, places) => {
        const bytes = Uint8Array.from(file);
        for (const [place, bit] of places) {
          const index = place % bytes.length;
          bytes[index] = (bytes[index] ?? 0) ^ (1 << bit);
        }
        readAll(bytes);
      }),
      { numRuns: 1000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        readAll(bytes);
      }),
      { numRuns: 500 },
    );
  });

  test('ONNX Runtime refuses a cut model too, as MODEL_INVALID', async () => {
    const [, file = new Uint8Array()] = FILES;
    expect(await rejectionCode(openSession(file.subarray(0, file.length - 20)))).toBe('MODEL_INVALID');
  });
});

import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { float32, int64, sha256 } from '../../src/core/index.js';
import type { TensorMap } from '../../src/core/index.js';
import {
  checkModel,
  decodeModel,
  encodeModel,
  readModel,
  removeUnused,
  writeModel,
  bytesOf,
  initializerOf,
} from '../../src/onnx/index.js';
import { openSession } from '../../src/runtime/index.js';
import { sharedData } from '../support/shared-data.js';
import { randomFeeds } from './random-feeds.js';
import { structureOf } from './structure.js';

interface Case {
  readonly sizes?: Readonly<Record<string, number>>;
  readonly fixed?: TensorMap;
}

const one = (value: number): TensorMap[string] => ({ dtype: 'int32', dims: [1], data: Int32Array.of(value) });

/** Models of other people's exporters; all of them run in ONNX Runtime. */
const CASES: Readonly<Record<string, Case>> = {
  'TFBertForQuestionAnswering.onnx': {},
  'attention_past_state.u8s8.onnx': { sizes: { C: 1 } },
  'bert_toy_optimized.onnx': {},
  'cnn_mnist_pytorch.onnx': {},
  'dynamic_quantize_matmul_int8.onnx': { sizes: { C: 1, M: 3, K: 5, N: 4 } },
  'gpt2_past.onnx': {},
  'silero_vad_v6.onnx': {
    fixed: {
      input: float32(
        Float32Array.from({ length: 576 }, (_, index) => Math.sin(index / 5)),
        [1, 576],
      ),
      state: float32(new Float32Array(256).fill(0.1), [2, 1, 128]),
      sr: int64([16000], []),
    },
  },
  'squeezenet_tensor_input.onnx': { sizes: { None: 1 } },
  'tiny_gpt2_beamsearch.onnx': {
    fixed: {
      max_length: one(10),
      min_length: one(1),
      num_beams: one(2),
      num_return_sequences: one(1),
      length_penalty: float32(Float32Array.of(1)),
      repetition_penalty: float32(Float32Array.of(1)),
    },
    sizes: { sequence_length: 4 },
  },
  'vespa_custom_similarity.onnx': {},
  'vespa_pairwise_ranker.onnx': {},
  'vespa_pca_transformer.onnx': {},
  'vespa_transformer.onnx': { sizes: { tokens: 5 } },
};

const folder = sharedData('onnx');

/** Types, shapes and hashes of the bytes of what a model answers. */
async function outputs(model: Uint8Array | string, { sizes, fixed }: Case): Promise<unknown> {
  const session = await openSession(model, { optimization: 'basic' });
  const result = await session.run(randomFeeds(session.inputs, sizes, fixed));
  await session.release();
  return Object.entries(result).map(([name, tensor]) => {
    const { dtype, dims, data } = tensor;
    const values = ArrayBuffer.isView(data) ? bytesOf(initializerOf(name, tensor)) : JSON.stringify(data);
    return { name, dtype, dims, hash: sha256(values) };
  });
}

describe.skipIf(folder === undefined)('models from other exporters', () => {
  const pathOf = (file: string): string => join(folder ?? '', file);
  let temporary = '';
  beforeAll(async () => {
    temporary = await mkdtemp(join(tmpdir(), 'whittle-onnx-'));
  });
  afterAll(() => rm(temporary, { recursive: true }));

  test('every one has a case here', async () => {
    const files = (await readdir(folder ?? '')).filter((file) => file.endsWith('.onnx'));
    expect(files.sort()).toEqual(Object.keys(CASES).sort());
  });

  test.each(Object.entries(CASES))(
    '%s keeps its structure and its outputs, bit for bit',
    async (file, inputs) => {
      const model = await readModel(pathOf(file));
      expect(() => {
        checkModel(model);
      }).not.toThrow();
      const original = await readFile(pathOf(file));
      const encoded = encodeModel(model);
      // Compared as text first: building the difference of two large objects takes seconds.
      if (JSON.stringify(structureOf(encoded)) !== JSON.stringify(structureOf(original)))
        expect(structureOf(encoded)).toEqual(structureOf(original));
      expect(sha256(encodeModel(decodeModel(encoded)))).toBe(sha256(encoded));

      const expected = await outputs(pathOf(file), inputs);
      expect(await outputs(encoded, inputs)).toEqual(expected);

      const external = join(temporary, file);
      await writeModel({ ...model, graph: removeUnused(model.graph) }, external);
      expect(await outputs(external, inputs)).toEqual(expected);
      expect(await outputs(encodeModel(await readModel(external)), inputs)).toEqual(expected);
    },
  );
});

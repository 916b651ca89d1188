import { join } from 'node:path';
import { float32, int64, sha256 } from '../../src/core/index.js';
import type { TensorMap } from '../../src/core/index.js';
import { bytesOf, encodeModel, readModel, subgraphsOf } from '../../src/onnx/index.js';
import type { Graph, Model, Node } from '../../src/onnx/index.js';
import { openSession } from '../../src/runtime/index.js';
import { randomFeeds } from '../onnx/random-feeds.js';
import { sharedData } from '../support/shared-data.js';

interface Inputs {
  readonly sizes?: Readonly<Record<string, number>>;
  readonly fixed?: TensorMap;
}

const one = (value: number): TensorMap[string] => ({ dtype: 'int32', dims: [1], data: Int32Array.of(value) });

/** Models of other people's exporters, with what random inputs they need to run. */
const INPUTS: Readonly<Record<string, Inputs>> = {
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
    sizes: { sequence_length: 4 },
    fixed: {
      max_length: one(10),
      min_length: one(1),
      num_beams: one(2),
      num_return_sequences: one(1),
      length_penalty: float32(Float32Array.of(1)),
      repetition_penalty: float32(Float32Array.of(1)),
    },
  },
  'vespa_custom_similarity.onnx': {},
  'vespa_pairwise_ranker.onnx': {},
  'vespa_pca_transformer.onnx': {},
  'vespa_transformer.onnx': { sizes: { tokens: 5 } },
};

/** Folder of the models; undefined where they are not on this machine. */
export const exporterModels = sharedData('onnx');
export const EXPORTER_FILES = Object.keys(INPUTS);

/** A model with feeds that it runs on. */
export async function readExporterModel(
  file: string,
): Promise<{ model: Model; feeds: readonly TensorMap[] }> {
  const path = join(exporterModels ?? '', file);
  const session = await openSession(path);
  const { sizes, fixed } = INPUTS[file] ?? {};
  const feeds = [7, 8].map((seed) => randomFeeds(session.inputs, sizes, fixed, seed));
  await session.release();
  return { model: await readModel(path), feeds };
}

/** What a model answers to each feed. */
export async function outputsOf(model: Model, feeds: readonly TensorMap[]): Promise<readonly TensorMap[]> {
  const session = await openSession(encodeModel(model));
  const answers: TensorMap[] = [];
  for (const feed of feeds) answers.push(await session.run(feed));
  await session.release();
  return answers;
}

/** Every node by its outputs and every tensor by its name, in all graphs, each as a text that tells any change. */
export function partsOf({ graph }: Model): ReadonlyMap<string, string> {
  const plain = (_: string, value: unknown): unknown => {
    if (value instanceof Map) return [...(value as Map<unknown, unknown>)];
    if (ArrayBuffer.isView(value))
      return sha256(Buffer.from(value.buffer, value.byteOffset, value.byteLength));
    return typeof value === 'bigint' ? String(value) : value;
  };
  const textOf = ({ op, domain, inputs, attributes }: Node): string =>
    JSON.stringify(
      [op, domain, inputs, [...attributes].filter(([, { kind }]) => !kind.startsWith('graph'))],
      plain,
    );
  const parts = new Map<string, string>();
  const visit = (current: Graph, path: string): void => {
    for (const [name, tensor] of current.initializers) parts.set(path + name, sha256(bytesOf(tensor)));
    for (const node of current.nodes) {
      parts.set(path + node.outputs.join(), textOf(node));
      subgraphsOf(node).forEach((inner, index) => visit(inner, `${path}${node.outputs.join()}[${index}]/`));
    }
  };
  visit(graph, '');
  return parts;
}

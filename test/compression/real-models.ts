import { join } from 'node:path';
import { expect, test } from 'vitest';
import { float32, int64, must, sha256 } from '../../src/core/index.js';
import type { Tensor, TensorMap } from '../../src/core/index.js';
import type { Pass, PassReport } from '../../src/compression/pass.js';
import { withSession } from '../../src/compression/calibration/session.js';
import { bytesOf, readModel, subgraphsOf } from '../../src/onnx/index.js';
import type { Graph, Model, Node } from '../../src/onnx/index.js';
import { openSession } from '../../src/runtime/index.js';
import { randomFeeds } from '../onnx/random-feeds.js';
import { sharedData } from '../support/shared-data.js';
import { contextWith, relativeRms } from './support.js';

interface RealModel {
  /** Lengths of dynamic dimensions. */
  readonly sizes?: Readonly<Record<string, number>>;
  /** Inputs that cannot be random. */
  readonly fixed?: TensorMap;
}

const int32 = (value: number): Tensor => ({ dtype: 'int32', dims: [1], data: Int32Array.of(value) });

/** Models of other people's exporters, and what they need to run. */
const REAL_MODELS: Readonly<Record<string, RealModel>> = {
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
      max_length: int32(10),
      min_length: int32(1),
      num_beams: int32(2),
      num_return_sequences: int32(1),
      length_penalty: float32(Float32Array.of(1)),
      repetition_penalty: float32(Float32Array.of(1)),
    },
  },
  'vespa_custom_similarity.onnx': {},
  'vespa_pairwise_ranker.onnx': {},
  'vespa_pca_transformer.onnx': {},
  'vespa_transformer.onnx': { sizes: { tokens: 5 } },
};

/** What a pass is to do on a model: layers changed, and the largest relative error of any output. */
export type Expected = readonly [changed: number, relativeError: number];

/**
 * One test for each of the models of other people's exporters: the pass changes as many layers as expected, ONNX
 * Runtime runs the result with outputs about as before, and whatever is not reported as changed is bit for bit the same.
 * `expected` names every model; one with no changes must come back as it was. A change may concern `nodesPerChange`
 * nodes: those that read what is pruned, too.
 */
export function testOnRealModels(
  pass: Pass,
  expected: Readonly<Record<string, Expected>>,
  nodesPerChange = 1,
): void {
  const folder = sharedData('onnx');
  test.skipIf(folder === undefined).each(Object.entries(REAL_MODELS))('%s', async (file, each) => {
    const [changed, relativeError] = must(expected[file], file);
    const path = join(folder ?? '', file);
    const model = await readModel(path);
    const feeds = await feedsOf(path, each);
    const partsBefore = parts(model);
    const { model: compressed, report } = await pass(model, contextWith(feeds));
    expect(report.changed).toHaveLength(changed);
    expect([...parts(model)]).toEqual([...partsBefore]);
    if (changed === 0) expect(compressed).toBe(model);
    expectLeftAlone(partsBefore, parts(compressed), report, nodesPerChange);
    const [before, after] = [await outputsOf(model, feeds), await outputsOf(compressed, feeds)];
    expect([...after.keys()]).toEqual([...before.keys()]);
    for (const [name, values] of before)
      expect(differenceOf(values, must(after.get(name), name)), name).toBeLessThanOrEqual(relativeError);
  });
}

async function feedsOf(path: string, { sizes, fixed }: RealModel): Promise<readonly TensorMap[]> {
  const session = await openSession(path);
  const feeds = [7, 8].map((seed) => randomFeeds(session.inputs, sizes, fixed, seed));
  await session.release();
  return feeds;
}

function outputsOf(model: Model, feeds: readonly TensorMap[]): Promise<ReadonlyMap<string, unknown[]>> {
  return withSession(model, openSession, async (session) => {
    const outputs = new Map<string, unknown[]>();
    for (const feed of feeds)
      for (const [name, { data }] of Object.entries(await session.run(feed)))
        outputs.set(name, [...(outputs.get(name) ?? []), ...Array.from<unknown>(data)]);
    return outputs;
  });
}

function differenceOf(before: readonly unknown[], after: readonly unknown[]): number {
  expect(after).toHaveLength(before.length);
  if (before.every((value, index) => Object.is(value, after[index]))) return 0;
  return relativeRms(before.map(Number), after.map(Number));
}

/** Nodes that are not named as changed, and constants that keep their name, are the same. */
function expectLeftAlone(
  before: ReadonlyMap<string, string>,
  after: ReadonlyMap<string, string>,
  { changed, left }: PassReport,
  nodesPerChange: number,
): void {
  const layers = changed.map(({ layer }) => layer);
  expect(new Set([...layers, ...left.map(({ layer }) => layer)]).size).toBe(changed.length + left.length);
  const differing = [...before].filter(([name, part]) => after.has(name) && after.get(name) !== part);
  expect(differing.length).toBeLessThanOrEqual(nodesPerChange * layers.length);
}

/** Every node and constant of every graph by what it defines, as text. */
function parts(model: Model): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  collect(model.graph, '', found);
  return found;
}

function collect(graph: Graph, path: string, found: Map<string, string>): void {
  for (const [name, tensor] of graph.initializers) found.set(`${path}${name}`, sha256(bytesOf(tensor)));
  for (const node of graph.nodes) {
    found.set(path + node.outputs.join(), textOf(node));
    subgraphsOf(node).forEach((inner, index) => {
      collect(inner, `${path}${node.outputs.join()}/${index}/`, found);
    });
  }
}

/** What a node says itself, without the graphs inside it. */
function textOf({ op, domain, inputs, attributes }: Node): string {
  const own = [...attributes].filter(([, { kind }]) => kind !== 'graph' && kind !== 'graphs');
  return JSON.stringify([op, domain, inputs, own], (_, value: unknown) => {
    if (typeof value === 'bigint') return String(value);
    return value instanceof Uint8Array ? sha256(value) : value;
  });
}

import { must, WhittleError } from '../../core/index.js';
import type { TensorMap } from '../../core/index.js';
import { consumers, probeShapes } from '../../onnx/index.js';
import type { Graph, Model, Node } from '../../onnx/index.js';
import { findDenseLayers, weightOf } from '../graph/dense-layers.js';
import { exampleFeed } from '../calibration/find-feeds.js';
import { dot } from '../kernels/linear-algebra-kernel.js';
import { traceNeurons } from '../graph/neuron-chain.js';
import type { ChainContext, NeuronChain } from '../graph/neuron-chain.js';
import { calibrationOf, BASIS, SHARE } from '../pass.js';
import type { Basis, LayerChange, LeftLayer, Pass, PassContext, PassDefinition } from '../pass.js';
import { writePruned } from '../graph/prune-edit.js';
import { removeInputs, smallestRows } from '../kernels/prune-kernel.js';
import type { Repair } from '../kernels/prune-kernel.js';
import { readerWeights } from '../graph/reader-weights.js';
import type { ReaderWeights } from '../graph/reader-weights.js';
import { secondMoments, withoutOnes } from '../calibration/second-moments.js';

export interface PruneStructuredParameters {
  /** Share of each hidden layer's neurons to remove, above 0 and below 1. Default 0.5. */
  readonly share?: number;
  /** Default `activations`; with `weights` nothing is refitted. */
  readonly basis?: Basis;
  /**
   * How strongly refitted weights are held to the old ones, in mean squared activations. Default 0.01, which was the
   * best or near it for 100 to 10,000 calibration rows of 256 neurons.
   */
  readonly ridge?: number;
}

/**
 * Structured pruning: removes neurons of hidden dense layers, that is columns of one layer's weights and rows of the
 * next one's. Layer after layer, front to back, the neurons whose loss changes the next layers' outputs least on the
 * calibration requests go, and the next layers' weights and biases are refitted by least squares. Handles MatMul and
 * Gemm with constant float32 weights, from opset 7 on, with elementwise operators (with constants at most one a neuron)
 * between them, and a Concat on the last axis before the layers that read. A layer whose neurons go anywhere else
 * (residual sums, products, outputs) is left.
 */
export function pruneStructured(parameters: PruneStructuredParameters = {}): Pass {
  return async (model, context) => {
    const { layers, left } = findDenseLayers(model);
    const choose = chooser(parameters, context);
    const changed: LayerChange[] = [];
    const refused: LeftLayer[] = [];
    let current = model;
    let view = layers.length === 0 ? undefined : await viewOf(model, context);
    for (const { name, node, output } of layers) {
      const chain = chainFrom(must(view, 'view of the graph'), output);
      if (typeof chain === 'string') refused.push({ layer: name, op: node.op, reason: chain });
      else {
        const pruned = await pruneChain(current, chain, parameters.share ?? 0.5, choose);
        changed.push(pruned.change);
        current = pruned.model;
        view = await viewOf(current, context);
      }
    }
    return { model: current, report: { changed, left: [...left, ...refused] } };
  };
}

async function viewOf(model: Model, context: PassContext): Promise<ChainContext> {
  const { graph } = model;
  const shapes = await probeShapes(model, context.openSession, await exampleFeed(model, context));
  return { graph, layers: findDenseLayers(model).layers, shapes, readersOf: readersIn(graph) };
}

/** The neurons of the layer that computes `output`, or the reason why they must stay. */
function chainFrom(view: ChainContext, output: string): NeuronChain | string {
  const producer = must(
    view.layers.find((layer) => layer.output === output),
    `layer of ${output}`,
  );
  if (producer.outputs === 1) return 'it has one neuron';
  const chain = traceNeurons(view, producer);
  if (typeof chain === 'string') return chain;
  const shared = [producer, ...chain.readers].find(({ weightName }) => view.readersOf(weightName).length > 1);
  return shared === undefined ? chain : `the weights ${shared.weightName} are shared by several nodes`;
}

/** Says which neurons go, and what the readers' weights become. */
type Choose = (model: Model, chain: NeuronChain, weights: ReaderWeights, count: number) => Promise<Repair>;

function chooser(parameters: PruneStructuredParameters, context: PassContext): Choose {
  if (parameters.basis === 'weights')
    return (model, ...rest) => Promise.resolve(chooseByWeights(model, ...rest));
  const feeds = calibrationOf(context, 'prune-structured');
  return (model, ...rest) => chooseByActivations(model, ...rest, parameters.ridge ?? 0.01, feeds, context);
}

async function chooseByActivations(
  model: Model,
  { producer, readers, offset }: NeuronChain,
  { weight, inputs, outputs, biased }: ReaderWeights,
  count: number,
  ridge: number,
  feeds: readonly TensorMap[],
  context: PassContext,
): Promise<Repair> {
  const value = must(readers[0], 'reader').input;
  const moments = await secondMoments(model, [{ value, width: inputs }], feeds, context);
  const moment = must(moments.get(value), 'second moment');
  const gram = biased ? moment.gram : withoutOnes(moment);
  const candidates = { start: offset, end: offset + producer.outputs };
  const repair = removeInputs(gram, weight, biased ? inputs + 1 : inputs, outputs, candidates, count, ridge);
  if (repair !== undefined) return repair;
  throw new WhittleError('GRAPH_UNSUPPORTED', `${value} is not finite on the calibration requests`, {
    value,
  });
}

function chooseByWeights(
  model: Model,
  { producer, offset }: NeuronChain,
  { weight, inputs, outputs }: ReaderWeights,
  count: number,
): Repair {
  const incoming = columnNorms(weightOf(model.graph, producer), producer.inputs, producer.outputs);
  const candidates = { start: offset, end: offset + producer.outputs };
  const removed = smallestRows(weight.subarray(0, inputs * outputs), outputs, incoming, candidates, count);
  const kept = weight.slice();
  removed.forEach((gone, row) => {
    if (gone === 1) kept.fill(0, row * outputs, (row + 1) * outputs);
  });
  return { removed, weight: kept, relativeError: droppedWeight(weight, kept) };
}

async function pruneChain(
  model: Model,
  chain: NeuronChain,
  share: number,
  choose: Choose,
): Promise<{ model: Model; change: LayerChange }> {
  const { producer, readers } = chain;
  const count = Math.min(producer.outputs - 1, Math.round(producer.outputs * share));
  const weights = readerWeights(model.graph, readers, readersIn(model.graph));
  const repair = await choose(model, chain, weights, count);
  const kept = producer.outputs - count;
  const change = {
    layer: producer.name,
    change: `${producer.outputs} neurons to ${kept}; read by ${readers.map((reader) => reader.name).join(', ')}`,
    weightsBefore: producer.inputs * producer.outputs + weights.inputs * weights.outputs,
    weightsAfter: producer.inputs * kept + (weights.inputs - count) * weights.outputs,
    relativeError: repair.relativeError,
  };
  return { model: writePruned(model, chain, weights, repair), change };
}

function readersIn(graph: Graph): (value: string) => readonly Node[] {
  const uses = consumers(graph);
  return (value) => uses.get(value) ?? [];
}

function columnNorms(weight: Float64Array, rows: number, columns: number): Float64Array {
  const squares = new Float64Array(columns);
  for (let at = 0; at < rows * columns; at++)
    squares[at % columns] = (squares[at % columns] ?? 0) + (weight[at] ?? 0) ** 2;
  return squares.map(Math.sqrt);
}

function droppedWeight(before: Float64Array, after: Float64Array): number {
  const total = dot(before, 0, before, 0, before.length);
  return total === 0 ? 0 : Math.sqrt(1 - dot(after, 0, after, 0, after.length) / total);
}

/** As recipes name it. */
export const pruneStructuredPass: PassDefinition<PruneStructuredParameters> = {
  summary:
    'Removes hidden neurons and refits what reads them by least squares: smaller and faster on every machine.',
  parameters: { share: SHARE, basis: BASIS, ridge: { type: 'number', exclusiveMinimum: 0 } },
  create: pruneStructured,
};

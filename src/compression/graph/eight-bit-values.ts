import { producers } from '../../onnx/index.js';
import type { Graph, Node } from '../../onnx/index.js';
import { behindRelu } from './readers.js';
import type { StaticLayer } from './static-layers.js';

/** A value that is stored in 8 bits, so that all that read it read the 8 bits. */
export interface EightBitValue {
  /** The node that computes it. */
  readonly node: Node;
  /** The value whose range gives its scale: itself, or one that only moved on the way. */
  readonly scaleOf: string;
}

/** Operators that only move elements: their output has the scale of their input. */
const MOVING = new Set(['Flatten', 'MaxPool', 'Reshape', 'Squeeze', 'Transpose', 'Unsqueeze']);
/** Operators that ONNX Runtime has 8-bit kernels for, with a scale of their own for the output. */
const JOINING = new Set(['Add', 'AveragePool', 'Concat', 'GlobalAveragePool']);

/**
 * The values that are stored in 8 bits where `layers` are quantized: what convolutions give, since ONNX Runtime has no
 * 8-bit convolution with a float32 result, and what is computed from these alone on the way to another of the layers.
 * A Relu that nothing else goes between is worked in: the value is what it gives.
 */
export function eightBitValues(
  graph: Graph,
  layers: readonly StaticLayer[],
): ReadonlyMap<string, EightBitValue> {
  const producerOf = producers(graph);
  const stored = new Map<string, EightBitValue>();
  const store = (end: string, scaleOf: string): void => {
    const node = producerOf.get(end);
    if (node !== undefined) stored.set(end, { node, scaleOf });
  };
  const wanted = wantedValues(graph, layers);
  const convolutions = new Map(
    layers.filter(({ kind }) => kind === 'conv').map((layer) => [layer.node, layer.output]),
  );
  for (const node of graph.nodes) {
    const output = convolutions.get(node);
    if (output !== undefined) {
      const end = behindRelu(graph, output);
      store(end, end);
      continue;
    }
    const end = carrierEnd(graph, node);
    if (end === undefined || !wanted.has(end)) continue;
    const sources = dataInputs(node).map((input) => stored.get(input)?.scaleOf);
    if (sources.includes(undefined)) continue;
    store(end, MOVING.has(node.op) ? (sources[0] ?? end) : end);
  }
  return stored;
}

/** What the layers read, and what operators that could carry 8 bits read on the way there. */
function wantedValues(graph: Graph, layers: readonly StaticLayer[]): ReadonlySet<string> {
  const wanted = new Set(layers.map((layer) => layer.input));
  for (const node of graph.nodes.toReversed()) {
    const end = carrierEnd(graph, node);
    if (end !== undefined && wanted.has(end)) for (const input of dataInputs(node)) wanted.add(input);
  }
  return wanted;
}

/** Where the result of an operator that can carry 8 bits is stored; undefined for other operators. */
function carrierEnd(graph: Graph, node: Node): string | undefined {
  const [output] = node.outputs;
  const carries = node.domain === '' && (MOVING.has(node.op) || JOINING.has(node.op));
  if (!carries || output === undefined || node.outputs.length > 1) return undefined;
  return node.op === 'Add' ? behindRelu(graph, output) : output;
}

function dataInputs(node: Node): readonly string[] {
  return JOINING.has(node.op) ? node.inputs : node.inputs.slice(0, 1);
}

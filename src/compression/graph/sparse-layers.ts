import { elementCount, float32Data, must } from '../../core/index.js';
import { constantInfo, constantTensor, consumers, intAttribute, producers } from '../../onnx/index.js';
import type { Graph, Model, Node } from '../../onnx/index.js';
import type { LeftLayer } from '../pass.js';
import type { InputAxis } from '../kernels/sparsity-kernel.js';
import { findDenseLayers, layerName } from './dense-layers.js';

/** A constant float32 weight tensor whose single weights may become zero, and the layers that use it. */
export interface SparseWeight {
  readonly weightName: string;
  readonly dims: readonly number[];
  /** Where its input axis lies. */
  readonly axis: InputAxis;
  readonly layers: readonly {
    readonly name: string;
    readonly node: Node;
    /** The value that is multiplied with the weights. */
    readonly input: string;
  }[];
  readonly kind: 'dense' | 'conv';
}

/** The size of each input of a weight tensor, `[inputs]`, by which its weights' magnitudes count. */
export type InputSizes = (weight: SparseWeight) => Float64Array;

/** All inputs alike. */
export const unitSizes: InputSizes = ({ axis }) => new Float64Array(axis.length).fill(1);

/** The values as they are used, in the order of `dims`. Do not write to them. */
export function valuesOf(graph: Graph, { weightName }: SparseWeight): Float32Array {
  return float32Data(must(constantTensor(graph, weightName), weightName));
}

export interface SparseWeights {
  readonly weights: readonly SparseWeight[];
  readonly left: readonly LeftLayer[];
}

type Candidate = SparseWeight & { readonly layers: readonly [SparseWeight['layers'][number]] };

/** The weights of dense layers, and of convolutions where `conv` is set, that nothing else reads. */
export function findSparseWeights(model: Model, conv: boolean): SparseWeights {
  const { layers, left: leftDense } = findDenseLayers(model);
  const dense = layers.map((layer): Candidate => {
    const { name, node, input, inputs, outputs, weightName } = layer;
    const { dims } = constantInfo(model.graph, weightName) ?? { dims: [] };
    // `[inputs, outputs]`, or `[outputs, inputs]` of a transposed Gemm.
    const transposed = node.op === 'Gemm' && intAttribute(node, 'transB', 0) !== 0;
    const axis = { length: inputs, stride: transposed ? 1 : outputs };
    return { weightName, dims, axis, layers: [{ name, node, input }], kind: 'dense' };
  });
  const convolutions = conv ? findConvolutions(model.graph) : { found: [], left: [] };
  const weights: SparseWeight[] = [];
  const left: LeftLayer[] = [...leftDense, ...convolutions.left];
  for (const group of groupsOf([...dense, ...convolutions.found])) {
    const reason = whyShared(model.graph, group);
    if (reason === undefined) weights.push(group);
    else left.push(...group.layers.map(({ name, node }) => ({ layer: name, op: node.op, reason })));
  }
  return { weights, left };
}

function findConvolutions(graph: Graph): { found: Candidate[]; left: LeftLayer[] } {
  const found: Candidate[] = [];
  const left: LeftLayer[] = [];
  for (const node of graph.nodes) {
    if (node.op !== 'Conv' || node.domain !== '') continue;
    const [input = '', weightName = ''] = node.inputs;
    const name = layerName(node);
    const info = constantInfo(graph, weightName);
    if (info?.dtype === 'float32' && elementCount(info.dims) > 0)
      found.push({
        weightName,
        dims: info.dims,
        axis: { length: info.dims[1] ?? 1, stride: elementCount(info.dims.slice(2)) },
        layers: [{ name, node, input }],
        kind: 'conv',
      });
    else left.push({ layer: name, op: node.op, reason: 'its weights are not a float32 constant' });
  }
  return { found, left };
}

/** One for each tensor; the first layer's axis, which {@link whyShared} compares with the others'. */
function groupsOf(candidates: readonly Candidate[]): (SparseWeight & { readonly axes: number })[] {
  const groups = new Map<string, Candidate[]>();
  for (const each of candidates) groups.set(each.weightName, [...(groups.get(each.weightName) ?? []), each]);
  return [...groups.values()].flatMap((group) => {
    const [first] = group;
    if (first === undefined) return [];
    const axes = new Set(group.map(({ axis, kind }) => `${kind} ${axis.length} ${axis.stride}`)).size;
    return [{ ...first, layers: group.flatMap(({ layers }) => layers), axes }];
  });
}

/** Why zeros would need a tensor of their own beside the one that is there. */
function whyShared(
  graph: Graph,
  { weightName, layers, axes }: SparseWeight & { readonly axes: number },
): string | undefined {
  if (axes > 1) return `the weights ${weightName} are used in two directions`;
  const readersOf = consumers(graph);
  const producerOf = producers(graph);
  let own = new Set(layers.map(({ node }) => node));
  for (let name = weightName; ;) {
    const other = readersOf.get(name)?.find((node) => !own.has(node));
    if (other !== undefined) return `the weights ${name} are also read by ${layerName(other)} (${other.op})`;
    if (graph.outputs.some((output) => output.name === name)) return `the weights ${name} are an output`;
    const node = producerOf.get(name);
    if (node?.inputs[0] === undefined) return undefined;
    own = new Set([node]);
    name = node.inputs[0];
  }
}

import { elementCount, float32, int64, must } from '../core/index.js';
import type { Tensor } from '../core/index.js';
import { isMove, movedInfo, movedTensor } from './constant-moves.js';
import type { TensorInfo } from './constant-moves.js';
import { producers } from './edit.js';
import type { Attribute, Graph, Initializer, Node } from './model.js';
import { tensorOf } from './tensors.js';

/** Longest constant that is taken for a shape or a list of axes. */
const MAX_RANK = 64;

/** Where a constant is stored, and the nodes it passes on its way to the value, in their order. */
interface Chain {
  readonly stored: Stored;
  readonly moves: readonly Node[];
}

interface Stored {
  readonly info: TensorInfo;
  readonly read: () => Tensor;
}

/**
 * The constant behind a value of this graph: an initializer or a Constant node, also behind Identity, Transpose,
 * Reshape, Squeeze, Unsqueeze and Flatten with constant shapes, and Casts to float32 from another float type. Undefined
 * where the value is computed, fed, or belongs to an outer graph. An initializer that is also listed as an input counts
 * as constant: Whittle never feeds it. Do not write to the tensor. Where elements move or change, each call works them
 * out anew, so that no copy stays behind.
 * @throws FILE_MISSING, FILE_CORRUPT, MODEL_TOO_LARGE as `tensorOf`, where its values are in a file.
 */
export function constantTensor(graph: Graph, valueName: string): Tensor | undefined {
  const chain = chainOf(graph, valueName);
  const infos = chain && infosOf(graph, chain);
  if (infos === undefined) return undefined;
  return chain?.moves.reduce(
    (tensor, node, index) => movedTensor(node, tensor, must(infos[index + 1], 'shape of a constant')),
    chain.stored.read(),
  );
}

/** Type and shape of {@link constantTensor}, without its values being read, wherever they are. */
export function constantInfo(graph: Graph, valueName: string): TensorInfo | undefined {
  const chain = chainOf(graph, valueName);
  return chain && infosOf(graph, chain)?.at(-1);
}

function chainOf(graph: Graph, valueName: string): Chain | undefined {
  const producerOf = producers(graph);
  const moves: Node[] = [];
  // A chain in a broken graph may be a ring.
  const seen = new Set<string>();
  for (let name = valueName; !seen.has(name);) {
    seen.add(name);
    const initializer = graph.initializers.get(name);
    if (initializer !== undefined) return { stored: storedTensor(initializer), moves };
    const node = producerOf.get(name);
    if (node?.domain !== '') return undefined;
    if (node.op === 'Constant') {
      const stored = storedConstant(node);
      return stored && { stored, moves };
    }
    if (isMove(node)) moves.unshift(node);
    else if (node.op !== 'Identity') return undefined;
    name = node.inputs[0] ?? name;
  }
  return undefined;
}

/** Type and shape as stored and behind each of the moves; undefined where one is not known. */
function infosOf(graph: Graph, { stored, moves }: Chain): readonly TensorInfo[] | undefined {
  const infos = [stored.info];
  let info = stored.info;
  for (const node of moves) {
    const moved = movedInfo(node, info, (reader) => shapeOperand(graph, reader.inputs[1] ?? ''));
    if (moved === undefined) return undefined;
    infos.push(moved);
    info = moved;
  }
  return infos;
}

/** Integers of a shape or of axes. Ones that are moved themselves are left out, or a graph could ask without end. */
function shapeOperand(graph: Graph, name: string): readonly number[] | undefined {
  const chain = chainOf(graph, name);
  if (chain === undefined || chain.moves.length > 0) return undefined;
  const { info, read } = chain.stored;
  if (info.dtype !== 'int64' || info.dims.length > 1 || elementCount(info.dims) > MAX_RANK) return undefined;
  return Array.from(read().data, Number);
}

function storedTensor(initializer: Initializer): Stored {
  const { dtype, dims } = initializer;
  return { info: { dtype, dims }, read: () => tensorOf(initializer) };
}

function storedConstant(node: Node): Stored | undefined {
  const [name, attribute] = [...node.attributes][0] ?? [];
  if (attribute === undefined || name?.startsWith('value') !== true) return undefined;
  if (attribute.kind === 'tensor') return storedTensor(attribute.value);
  const tensor = plainTensor(attribute);
  return tensor && { info: { dtype: tensor.dtype, dims: tensor.dims }, read: () => tensor };
}

function plainTensor(attribute: Attribute): Tensor | undefined {
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  switch (attribute.kind) {
    case 'float':
      return float32(Float32Array.of(attribute.value), []);
    case 'floats':
      return float32(Float32Array.from(attribute.value));
    case 'int':
      return int64(BigInt64Array.of(attribute.value), []);
    case 'ints':
      return int64(BigInt64Array.from(attribute.value));
    case 'string':
      return { dtype: 'string', dims: [], data: [text(attribute.value)] };
    case 'strings':
      return { dtype: 'string', dims: [attribute.value.length], data: attribute.value.map(text) };
    default:
      return undefined;
  }
}

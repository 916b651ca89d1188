import { dirname } from 'node:path';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema, OperatorSetIdProtoSchema, StringStringEntryProtoSchema } from 'onnx-buf';
import type { ModelProto } from 'onnx-buf';
import { toWhittleError, WhittleError } from '../core/index.js';
import { decodeGraph, encodeGraph } from './codec-graph.js';
import { canonicalDomain } from './codec-node.js';
import type { Placement, TensorSource } from './codec-tensor.js';
import { ModelFile } from './model-file.js';
import type { Graph, Initializer, Model } from './model.js';
import { subgraphsOf } from './names.js';
import { opaqueMessage, preserve, preservedIn, restore } from './preserved.js';
import { byteLength } from './tensors.js';
import { checkWire } from './wire.js';
import { WireReader } from './wire-reader.js';

/** A protobuf message may not be longer, and ONNX Runtime reads none that is. */
const MAX_MODEL_BYTES = 2 ** 31 - 1;
const EXTERNAL_REMEDY = 'keep large tensors in external data files (writeModel does)';

export interface DecodeOptions {
  /** Folder that external data is relative to. */
  readonly directory?: string;
}

export type ReadOptions = Pick<TensorSource, 'onExternal'>;

/**
 * A model as plain data. Weights stored raw are views on `bytes`, which must not change afterwards; external weights
 * stay in their files until asked for.
 * @throws MODEL_INVALID naming the byte, node or tensor that is wrong; FILE_MISSING for an external file;
 *   GRAPH_UNSUPPORTED for external data in parts that are only passed on.
 */
export function decodeModel(bytes: Uint8Array, options: DecodeOptions = {}): Model {
  checkWire(ModelProtoSchema, WireReader.of(bytes));
  return decode(bytes, { directory: options.directory });
}

/**
 * Reads and decodes a model file; external weights are looked up in its folder. Large tensors stay in the file until
 * they are asked for: they cannot be read any more once it is written to or replaced.
 * @throws as {@link decodeModel}, with `details.path`; FILE_MISSING; MODEL_TOO_LARGE above 2 GiB.
 */
export function readModel(path: string, options: ReadOptions = {}): Promise<Model> {
  const source: TensorSource = { directory: dirname(path), ...options };
  try {
    return Promise.resolve(ModelFile.read(path, (file) => modelOfFile(file, source)));
  } catch (thrown) {
    const error = toWhittleError(thrown, 'MODEL_INVALID');
    return Promise.reject(
      new WhittleError(error.code, `${path}: ${error.message}`, { ...error.details, path }, error),
    );
  }
}

function modelOfFile(file: ModelFile, source: TensorSource): Model {
  if (file.byteLength > MAX_MODEL_BYTES) throw tooLarge(file.path, file.byteLength);
  return modelOfOutline(file, source) ?? decode(file.all(), source);
}

/** Undefined where a tensor whose values were left out is not decoded as such, but passed on or overwritten. */
function modelOfOutline(file: ModelFile, source: TensorSource): Model | undefined {
  const { bytes, deferred } = file.outline();
  try {
    const model = decode(bytes, { ...source, deferred });
    return deferred.complete ? model : undefined;
  } catch (error) {
    if (deferred.complete) throw error;
    return undefined;
  }
}

function decode(bytes: Uint8Array, source: TensorSource): Model {
  try {
    return modelOf(fromBinary(ModelProtoSchema, bytes), source);
  } catch (error) {
    throw toWhittleError(error, 'MODEL_INVALID');
  }
}

/**
 * The model in one piece, external weights read in.
 * @throws MODEL_TOO_LARGE above 2 GiB; MODEL_INVALID for a number that its field cannot hold.
 */
export function encodeModel(model: Model): Uint8Array {
  return encodeWith(model, () => undefined);
}

/** The model with some weights in the files that `placement` names; these are not read. */
export function encodeWith(model: Model, placement: Placement): Uint8Array {
  let inside = 0;
  for (const initializer of initializersOf(model.graph))
    if (placement(initializer) === undefined) inside += byteLength(initializer);
  if (inside > MAX_MODEL_BYTES) throw tooLarge('The model to write', inside);
  try {
    return toBinary(ModelProtoSchema, messageOf(model, placement));
  } catch (error) {
    throw toWhittleError(error, 'MODEL_INVALID');
  }
}

/** Initializers of a graph and of its subgraphs. */
export function* initializersOf(graph: Graph): Generator<Initializer> {
  yield* graph.initializers.values();
  for (const node of graph.nodes) for (const subgraph of subgraphsOf(node)) yield* initializersOf(subgraph);
}

function tooLarge(what: string, size: number): WhittleError {
  return new WhittleError(
    'MODEL_TOO_LARGE',
    `${what} has ${size} bytes, more than a protobuf message of 2 GiB can hold: ${EXTERNAL_REMEDY}`,
    { byteLength: size, limit: MAX_MODEL_BYTES, remedy: EXTERNAL_REMEDY },
  );
}

const MODELLED = ['irVersion', 'graph'];

function modelOf(message: ModelProto, source: TensorSource): Model {
  if (message.graph === undefined)
    throw new WhittleError('MODEL_INVALID', 'The model has no graph: it is empty or not an ONNX model');
  return {
    irVersion: message.irVersion,
    opsets: opsetsOf(message),
    graph: decodeGraph(message.graph, source),
    metadata: new Map(message.metadataProps.map((entry) => [entry.key, entry.value])),
    ...preservedIn(preserve(ModelProtoSchema, message, [...MODELLED, ...plainEntries(message)])),
  };
}

function opsetsOf(message: ModelProto): ReadonlyMap<string, number> {
  const opsets = new Map<string, number>();
  for (const { domain, version } of message.opsetImport) {
    const known = opsets.get(canonicalDomain(domain));
    if (known !== undefined && known !== Number(version))
      throw new WhittleError('MODEL_INVALID', `The operators of "${domain}" are imported in two versions`, {
        domain,
        versions: [known, Number(version)],
      });
    opsets.set(canonicalDomain(domain), Number(version));
  }
  return opsets;
}

/** Lists of entries without fields that the schema does not know need not be preserved. */
function plainEntries(message: ModelProto): string[] {
  const isPlain = (entry: { $unknown?: unknown }): boolean => entry.$unknown === undefined;
  return [
    ...(message.opsetImport.every(isPlain) ? ['opsetImport'] : []),
    ...(message.metadataProps.every(isPlain) ? ['metadataProps'] : []),
  ];
}

function messageOf(model: Model, placement: Placement): ModelProto {
  const original = opaqueMessage(ModelProtoSchema, model.preserved);
  return restore(ModelProtoSchema, model.preserved, {
    irVersion: model.irVersion,
    graph: encodeGraph(model.graph, placement),
    opsetImport: [...model.opsets].map(([domain, version]) => {
      const entry = original?.opsetImport.find((candidate) => canonicalDomain(candidate.domain) === domain);
      return Object.assign(create(OperatorSetIdProtoSchema), entry, { domain, version: BigInt(version) });
    }),
    metadataProps: [...model.metadata].map(([key, value]) => {
      const entry = original?.metadataProps.find((candidate) => candidate.key === key);
      return Object.assign(create(StringStringEntryProtoSchema), entry, { key, value });
    }),
  });
}

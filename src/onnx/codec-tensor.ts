import { create } from '@bufbuild/protobuf';
import { StringStringEntryProtoSchema, TensorProto_DataLocation, TensorProtoSchema } from 'onnx-buf';
import type { TensorProto } from 'onnx-buf';
import { elementCount, WhittleError } from '../core/index.js';
import type { DataType } from '../core/index.js';
import type { DeferredPayloads } from './deferred-payloads.js';
import { dataTypeCode, dataTypeOfCode, packedBytes } from './dtypes.js';
import { externalContent } from './external-data.js';
import type { FileContent, Initializer, TensorContent } from './model.js';
import { preserve, preservedIn, restore } from './preserved.js';
import { bytesOf } from './tensors.js';

/** Where values are stored beside the model: a path relative to its folder, with forward slashes, and the first byte. */
export interface ExternalPlace {
  readonly location: string;
  readonly offset: number;
}

/** Where an initializer's values go; undefined for inside the model. */
export type Placement = (initializer: Initializer) => ExternalPlace | undefined;

/** Where values are that a tensor's message does not hold. */
export interface TensorSource {
  /** Folder that external data is relative to; undefined for a model without one. */
  readonly directory: string | undefined;
  /** Values that were left in the model's file. */
  readonly deferred?: DeferredPayloads;
  /** Told of each tensor in a file of its own. */
  readonly onExternal?: (tensor: ExternalTensor) => void;
}

/** A tensor whose values are in another file than the model's, also one that the graph never uses. */
export interface ExternalTensor extends Pick<FileContent, 'path' | 'offset' | 'byteLength'> {
  readonly name: string;
  readonly dtype: DataType;
}

const MODELLED = [
  ...['name', 'dims', 'dataType', 'rawData', 'dataLocation', 'externalData', 'stringData'],
  ...['floatData', 'doubleData', 'int32Data', 'int64Data', 'uint64Data'],
];

/**
 * A tensor as plain data; its bytes look into the model's buffer where they are stored raw. Undefined for tensors that
 * Whittle only passes on: element types it does not compute with, segments.
 * @throws MODEL_INVALID where the values do not fill the shape.
 */
export function decodeTensor(tensor: TensorProto, source: TensorSource): Initializer | undefined {
  const dtype = dataTypeOfCode(tensor.dataType);
  if (dtype === undefined || tensor.segment !== undefined) return undefined;
  const dims = tensor.dims.map(Number);
  if (dims.some((dim) => dim < 0 || !Number.isSafeInteger(dim)))
    throw invalid(tensor.name, `has the impossible shape [${dims.join(', ')}]`);
  return {
    name: tensor.name,
    dtype,
    dims,
    content: contentOf(tensor, dtype, elementCount(dims), source),
    ...preservedIn(preserve(TensorProtoSchema, tensor, MODELLED)),
  };
}

/** The message of an initializer, its values as raw bytes inside or in the file that `placement` names. */
export function encodeTensor(initializer: Initializer, placement: Placement): TensorProto {
  const { name, dtype, dims, content, preserved } = initializer;
  const place = placement(initializer);
  const shape = { dataType: dataTypeCode(dtype), dims: dims.map(BigInt), ...(name === '' ? {} : { name }) };
  if (content.kind === 'strings') {
    const stringData = content.values.map((value) => Uint8Array.from(value));
    return restore(TensorProtoSchema, preserved, { ...shape, stringData });
  }
  if (place === undefined)
    return restore(TensorProtoSchema, preserved, { ...shape, rawData: ownBuffer(bytesOf(initializer)) });
  const length = content.kind === 'file' ? content.byteLength : content.bytes.byteLength;
  return restore(TensorProtoSchema, preserved, {
    ...shape,
    dataLocation: TensorProto_DataLocation.EXTERNAL,
    externalData: Object.entries({ ...place, length }).map(([key, value]) =>
      create(StringStringEntryProtoSchema, { key, value: String(value) }),
    ),
  });
}

function contentOf(tensor: TensorProto, dtype: DataType, count: number, source: TensorSource): TensorContent {
  const expectedBytes = packedBytes(dtype, count);
  if (tensor.dataLocation === TensorProto_DataLocation.EXTERNAL) {
    if (dtype === 'string') throw invalid(tensor.name, 'holds strings, which cannot be external data');
    const content = externalContent(tensor, source.directory, expectedBytes);
    const { path, offset, byteLength } = content;
    source.onExternal?.({ name: tensor.name, dtype, path, offset, byteLength });
    return content;
  }
  if (dtype === 'string') {
    if (tensor.stringData.length !== count)
      throw invalid(tensor.name, `has ${tensor.stringData.length} strings, not ${count}`);
    return { kind: 'strings', values: tensor.stringData };
  }
  const content = source.deferred?.contentOf(tensor.rawData, dtype) ?? contentInside(tensor, dtype);
  const actualBytes = content.kind === 'file' ? content.byteLength : content.bytes.byteLength;
  if (actualBytes !== expectedBytes)
    throw invalid(tensor.name, `has ${actualBytes} bytes of values, not ${expectedBytes}`);
  return content;
}

function contentInside(
  tensor: TensorProto,
  dtype: Exclude<DataType, 'string'>,
): TensorContent & { kind: 'bytes' } {
  return {
    kind: 'bytes',
    bytes: tensor.rawData.byteLength > 0 ? tensor.rawData : typedBytes(tensor, dtype),
  };
}

/** Bytes of values in the typed fields; narrow integers and half floats sit in `int32_data` by their bit patterns. */
function typedBytes(tensor: TensorProto, dtype: Exclude<DataType, 'string'>): Uint8Array {
  switch (dtype) {
    case 'float32':
      return bytesOfArray(Float32Array.from(tensor.floatData));
    case 'float64':
      return bytesOfArray(Float64Array.from(tensor.doubleData));
    case 'int64':
      return bytesOfArray(BigInt64Array.from(tensor.int64Data));
    case 'uint64':
      return bytesOfArray(BigUint64Array.from(tensor.uint64Data));
    case 'uint32':
      return bytesOfArray(Uint32Array.from(tensor.uint64Data, Number));
    case 'int32':
      return bytesOfArray(Int32Array.from(tensor.int32Data));
    case 'int16':
    case 'uint16':
    case 'float16':
    case 'bfloat16':
      return bytesOfArray(Uint16Array.from(tensor.int32Data));
    default:
      return Uint8Array.from(tensor.int32Data);
  }
}

function bytesOfArray(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

// The schema's type asks for plain ArrayBuffers; only a view on shared memory has to be copied.
function ownBuffer(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer, byteOffset, byteLength } = bytes;
  return buffer instanceof ArrayBuffer
    ? new Uint8Array(buffer, byteOffset, byteLength)
    : Uint8Array.from(bytes);
}

function invalid(name: string, reason: string): WhittleError {
  return new WhittleError('MODEL_INVALID', `Tensor ${name} ${reason}`, { tensor: name, reason });
}

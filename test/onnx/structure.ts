import { fromBinary, isMessage } from '@bufbuild/protobuf';
import { ModelProtoSchema, NodeProtoSchema, TensorProtoSchema } from 'onnx-buf';
import type { TensorProto } from 'onnx-buf';
import { sha256 } from '../../src/core/index.js';

/**
 * What a model file says, for comparison: defaults left out as if unset, tensors' values as one hash however they are
 * stored, nodes by their outputs in alphabetical order, since a file may list them in any; of several constants with
 * one name the last, which is the one ONNX Runtime uses.
 */
export function structureOf(bytes: Uint8Array): unknown {
  return structure(fromBinary(ModelProtoSchema, bytes));
}

function structure(value: unknown): unknown {
  if (typeof value === 'bigint') return `${value}n`;
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (Array.isArray(value)) return listStructure(value);
  if (typeof value !== 'object' || value === null) return value;
  if (isMessage(value, TensorProtoSchema))
    return { ...fields(withoutValues(value)), values: valuesHash(value) };
  return fields(value);
}

function listStructure(values: readonly unknown[]): unknown {
  if (!values.every((value) => isMessage(value, NodeProtoSchema))) return values.map(structure);
  const nodes = new Map(values.map((node) => [node.output.join(), structure(node)]));
  return Object.fromEntries([...nodes].sort(([one], [other]) => (one < other ? -1 : 1)));
}

function fields(value: object): Record<string, unknown> {
  const entries = Object.entries(value).map(([name, field]) => [name, structure(field)] as const);
  return Object.fromEntries(entries.filter(([name, field]) => !isDefault(name, field)));
}

function isDefault(name: string, field: unknown): boolean {
  if (name === 'domain' && field === 'ai.onnx') return true;
  return (
    field === '' ||
    field === 0 ||
    field === '0n' ||
    field === undefined ||
    (Array.isArray(field) && field.length === 0)
  );
}

const VALUE_FIELDS = [
  'rawData',
  'floatData',
  'doubleData',
  'int32Data',
  'int64Data',
  'uint64Data',
  'stringData',
];

function withoutValues(tensor: TensorProto): object {
  return Object.fromEntries(Object.entries(tensor).filter(([name]) => !VALUE_FIELDS.includes(name)));
}

/** Hash of the values as little-endian bytes, and of texts with their lengths. */
function valuesHash(tensor: TensorProto): string {
  if (tensor.rawData.length > 0) return sha256(tensor.rawData);
  const texts = tensor.stringData.map((text) => `${text.length}:${Buffer.from(text).toString('hex')}`);
  const bits = { 4: 16, 5: 16, 6: 32, 10: 16, 16: 16 }[tensor.dataType] ?? 8;
  const integers = { 8: Uint8Array, 16: Uint16Array, 32: Int32Array }[bits] ?? Uint8Array;
  const arrays = [
    Float32Array.from(tensor.floatData),
    Float64Array.from(tensor.doubleData),
    BigInt64Array.from(tensor.int64Data),
    tensor.dataType === 12
      ? Uint32Array.from(tensor.uint64Data, Number)
      : BigUint64Array.from(tensor.uint64Data),
    integers.from(tensor.int32Data),
  ];
  const bytes = arrays.map((array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength));
  return sha256(Buffer.concat([Buffer.from(texts.join()), ...bytes]));
}

import { create, createRegistry, equals } from '@bufbuild/protobuf';
import {
  file_onnx,
  TensorShapeProto_DimensionSchema,
  TensorShapeProtoSchema,
  TypeProto_TensorSchema,
  TypeProtoSchema,
  ValueInfoProtoSchema,
} from 'onnx-buf';
import type { TensorShapeProto_Dimension, TypeProto, ValueInfoProto } from 'onnx-buf';
import { dataTypeCode, dataTypeOfCode } from './dtypes.js';
import type { ValueInfo } from './model.js';
import { opaqueMessage, preserve, preservedIn, restore } from './preserved.js';

type TensorType = Pick<ValueInfo, 'dtype' | 'dims'>;

/** A declared value. A type that dtype and dims do not say in full (sequences, denotations) is preserved whole. */
export function decodeValueInfo(value: ValueInfoProto): ValueInfo {
  const type = decodeType(value.type);
  const plain = encodeType(type);
  const said =
    plain === undefined || value.type === undefined ? plain === value.type : same(plain, value.type);
  const preserved = preserve(ValueInfoProtoSchema, value, said ? ['name', 'type'] : ['name']);
  return { name: value.name, ...type, ...preservedIn(preserved) };
}

/** The message of a declared value: the type it was read with, unless dtype or dims have changed since. */
export function encodeValueInfo(value: ValueInfo): ValueInfoProto {
  const original = opaqueMessage(ValueInfoProtoSchema, value.preserved)?.type;
  const type = original !== undefined && saysSame(decodeType(original), value) ? original : encodeType(value);
  return restore(ValueInfoProtoSchema, value.preserved, {
    name: value.name,
    ...(type === undefined ? {} : { type }),
  });
}

function decodeType(type: TypeProto | undefined): TensorType {
  if (type?.value.case !== 'tensorType') return { dtype: undefined, dims: undefined };
  const { elemType, shape } = type.value.value;
  const dtype = dataTypeOfCode(elemType);
  return { dtype, dims: dtype === undefined ? undefined : shape?.dim.map(decodeDimension) };
}

function decodeDimension({ value }: TensorShapeProto_Dimension): number | string {
  return value.case === undefined ? '' : value.case === 'dimValue' ? Number(value.value) : value.value;
}

function encodeType({ dtype, dims }: TensorType): TypeProto | undefined {
  if (dtype === undefined) return undefined;
  const tensor = create(TypeProto_TensorSchema, { elemType: dataTypeCode(dtype) });
  if (dims !== undefined)
    tensor.shape = create(TensorShapeProtoSchema, { dim: dims.map((dim) => encodeDimension(dim)) });
  return create(TypeProtoSchema, { value: { case: 'tensorType', value: tensor } });
}

function encodeDimension(dim: number | string): TensorShapeProto_Dimension {
  if (dim === '') return create(TensorShapeProto_DimensionSchema);
  return create(TensorShapeProto_DimensionSchema, {
    value:
      typeof dim === 'number' ? { case: 'dimValue', value: BigInt(dim) } : { case: 'dimParam', value: dim },
  });
}

const registry = createRegistry(file_onnx);

function same(one: TypeProto, other: TypeProto): boolean {
  return equals(TypeProtoSchema, one, other, { unknown: true, registry });
}

function saysSame(one: TensorType, other: TensorType): boolean {
  return one.dtype === other.dtype && JSON.stringify(one.dims) === JSON.stringify(other.dims);
}

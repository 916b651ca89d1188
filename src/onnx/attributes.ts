import { WhittleError } from '../core/index.js';
import type { Tensor } from '../core/index.js';
import { dataTypeCode, isDataType } from './dtypes.js';
import type { Attribute, Graph } from './model.js';
import { initializerOf } from './tensors.js';

/**
 * How an attribute is written in code. A number is an int or a float by the attribute's name ({@link FLOATS}); `to` and
 * `dtype` also take the name of an element type; an {@link Attribute} is used as it is.
 */
export type AttributeValue =
  number | bigint | string | readonly number[] | readonly string[] | Tensor | Graph | Attribute;

export type Attributes = Readonly<Record<string, AttributeValue>>;

// Float attributes of ai.onnx and com.microsoft operators; every other numeric attribute is an integer.
const FLOATS = new Set([
  'activation_alpha',
  'activation_beta',
  'alpha',
  'beta',
  'bias',
  'clip',
  'epsilon',
  'extrapolation_value',
  'gamma',
  'high',
  'lambd',
  'layer_norm_epsilon',
  'low',
  'mask_filter_value',
  'mean',
  'momentum',
  'norm_factor',
  'ratio',
  'scale',
  'softcap',
  'scales',
  'spatial_scale',
  'value_float',
  'value_floats',
]);

/** The attributes of a node as the model holds them. @throws GRAPH_UNSUPPORTED for an integer attribute that is none. */
export function attributesOf(values: Attributes): ReadonlyMap<string, Attribute> {
  return new Map(Object.entries(values).map(([name, value]) => [name, attributeOf(name, value)]));
}

function attributeOf(name: string, value: AttributeValue): Attribute {
  if (typeof value === 'bigint') return { kind: 'int', value };
  if (typeof value === 'number')
    return FLOATS.has(name) ? { kind: 'float', value } : { kind: 'int', value: integer(name, value) };
  if (typeof value === 'string') return textAttribute(name, value);
  if (isList(value)) return listAttribute(name, value);
  if ('kind' in value) return value;
  if ('nodes' in value) return { kind: 'graph', value };
  return { kind: 'tensor', value: initializerOf('', value) };
}

function textAttribute(name: string, value: string): Attribute {
  if ((name === 'to' || name === 'dtype') && isDataType(value))
    return { kind: 'int', value: BigInt(dataTypeCode(value)) };
  return { kind: 'string', value: new TextEncoder().encode(value) };
}

function listAttribute(name: string, values: readonly number[] | readonly string[]): Attribute {
  const texts = values.filter((value) => typeof value === 'string');
  if (texts.length > 0)
    return { kind: 'strings', value: texts.map((text) => new TextEncoder().encode(text)) };
  const numbers = values.filter((value) => typeof value === 'number');
  if (FLOATS.has(name)) return { kind: 'floats', value: numbers };
  return { kind: 'ints', value: numbers.map((value) => integer(name, value)) };
}

function isList(value: AttributeValue): value is readonly number[] | readonly string[] {
  return Array.isArray(value);
}

function integer(name: string, value: number): bigint {
  if (Number.isSafeInteger(value)) return BigInt(value);
  throw new WhittleError('GRAPH_UNSUPPORTED', `Attribute ${name} is an integer, not ${value}`, {
    attribute: name,
    value,
    allowed: 'an integer, or { kind: "float", value }',
  });
}

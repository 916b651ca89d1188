import { create, isMessage } from '@bufbuild/protobuf';
import type { DescMessage, Message, MessageShape } from '@bufbuild/protobuf';
import { TensorProto_DataLocation, TensorProtoSchema } from 'onnx-buf';
import { WhittleError } from '../core/index.js';
import type { Preserved } from './model.js';

/**
 * What of a message is not in `modelled` (names of fields), to be written back by {@link restore}: documentation,
 * metadata, functions, fields newer than the schema. Undefined where there is nothing of the kind.
 * @throws GRAPH_UNSUPPORTED where that holds a tensor in an external file, which would not follow the model.
 */
export function preserve<Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
  modelled: readonly string[],
): Preserved | undefined {
  const rest = Object.entries(message).filter(([name]) => !modelled.includes(name) && name !== '$typeName');
  if (rest.every(([, value]) => Array.isArray(value) && value.length === 0)) return undefined;
  for (const [, value] of rest) refuseExternal(value);
  return { opaque: Object.assign(create(schema), Object.fromEntries(rest)) };
}

/** `{ preserved }` for spreading into an object, or nothing. */
export function preservedIn(preserved: Preserved | undefined): { preserved?: Preserved } {
  return preserved === undefined ? {} : { preserved };
}

/** A message with what was preserved and then `fields`. */
export function restore<Desc extends DescMessage>(
  schema: Desc,
  preserved: Preserved | undefined,
  fields: Partial<MessageShape<Desc>>,
): MessageShape<Desc> {
  return Object.assign(create(schema), opaqueMessage(schema, preserved), fields);
}

/** The message that was preserved, if it is one of this schema. Do not write to it. */
export function opaqueMessage<Desc extends DescMessage>(
  schema: Desc,
  preserved: Preserved | undefined,
): MessageShape<Desc> | undefined {
  const opaque = preserved?.opaque;
  return isMessage(opaque, schema) ? opaque : undefined;
}

function refuseExternal(value: unknown): void {
  if (Array.isArray(value)) {
    for (const item of value) refuseExternal(item);
    return;
  }
  if (isMessage(value, TensorProtoSchema) && value.dataLocation === TensorProto_DataLocation.EXTERNAL)
    throw new WhittleError(
      'GRAPH_UNSUPPORTED',
      `Tensor ${value.name} has a type or a place that Whittle only passes on, and its values are in another file`,
      { tensor: value.name, remedy: 'save the model with this tensor inside' },
    );
  if (isMessageLike(value)) for (const field of Object.values(value)) refuseExternal(field);
}

// Messages and the { case, value } of a oneof; byte arrays have no fields worth a visit.
function isMessageLike(value: unknown): value is Message {
  return typeof value === 'object' && value !== null && !ArrayBuffer.isView(value);
}

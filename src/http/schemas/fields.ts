/** JSON schemas of the fields that several bodies share: used for validation, serialisation and the API's page alike. */

/** A JSON schema, as fastify takes it. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** What an id of a request may be; anything else is replaced by a generated one. */
export const REQUEST_ID_PATTERN = '^[A-Za-z0-9_.-]{1,64}$';

export const MAX_ID_CHARACTERS = 256;
/** Items that one request may name, to order or as its history. */
export const MAX_ITEMS = 1_000;
const MAX_QUERY_CHARACTERS = 512;
const MAX_VECTOR_NUMBERS = 4_096;
const MAX_INPUT_FIELDS = 32;
/** The last moment a JavaScript date can hold, unix milliseconds. */
const MAX_TIME_MS = 8.64e15;

export const id = { type: 'string', minLength: 1, maxLength: MAX_ID_CHARACTERS };

export const k = {
  type: 'integer',
  minimum: 1,
  maximum: 200,
  default: 10,
  description: 'Number of items wanted.',
  examples: [10],
};

export const user = { ...id, description: 'User id: it decides the arm and finds the stored history.' };

export const history = {
  type: 'array',
  minItems: 0,
  maxItems: MAX_ITEMS,
  items: id,
  description: 'Item ids, oldest first; used instead of the stored history.',
};

export const items = {
  type: 'array',
  minItems: 1,
  maxItems: MAX_ITEMS,
  items: id,
  description: 'Item ids to order.',
};

export const query = {
  type: 'string',
  minLength: 1,
  maxLength: MAX_QUERY_CHARACTERS,
  description: 'Text to search for; not blank.',
};

export const queryVector = {
  type: 'array',
  minItems: 1,
  maxItems: MAX_VECTOR_NUMBERS,
  items: { type: 'number' },
  description: 'Vector to search for, as long as those of the bundle.',
};

export const inputs = {
  type: 'object',
  maxProperties: MAX_INPUT_FIELDS,
  additionalProperties: {
    type: ['number', 'array'],
    minItems: 1,
    maxItems: MAX_VECTOR_NUMBERS,
    items: { type: 'number' },
  },
  description: "Values that the bundle's contract takes from the request: a number or a vector each.",
};

export const timeMs = {
  type: 'integer',
  minimum: 0,
  maximum: MAX_TIME_MS,
  description: 'Moment in unix milliseconds; now where absent.',
};

export const includeSeen = {
  type: 'boolean',
  description: 'Keep items of the history in the answer.',
};

/** An object that takes these properties and no others. */
export function closedObject(
  properties: Readonly<Record<string, JsonSchema>>,
  required: readonly string[] = Object.keys(properties),
): JsonSchema {
  return { type: 'object', properties, required, additionalProperties: false };
}

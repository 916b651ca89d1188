import type { Schema } from 'ajv';

/** JSON schema of bundle.json, the same as the types in `bundle.ts`. */

// Upper bounds are far above what anybody uses, and below what would take the server's memory or processes.
const text = { type: 'string', minLength: 1, maxLength: 1024 } as const;
/** A path inside the bundle: relative, forward slashes, no step upwards, no control characters. */
const path = {
  type: 'string',
  maxLength: 1024,
  pattern: '^(?!/)(?!.*\\.\\.)[^\\\\\\u0000-\\u001f]+$',
} as const;
const MAX_INT32 = 2 ** 31 - 1;
const upTo = (maximum: number): object => ({ type: 'integer', minimum: 1, maximum });
const dimensions = upTo(65_536);

function object(properties: Record<string, unknown>, required: readonly string[]): Record<string, unknown> {
  return { type: 'object', properties, required, additionalProperties: false };
}

function mapOf(values: unknown, maxProperties: number, names: unknown = text): Record<string, unknown> {
  return { type: 'object', additionalProperties: values, propertyNames: names, maxProperties, required: [] };
}

function tagged(
  tag: string,
  value: string,
  properties: Record<string, unknown>,
  required: readonly string[],
): unknown {
  return object({ [tag]: { const: value }, ...properties }, [tag, ...required]);
}

const integer = { type: 'integer', minimum: -MAX_INT32, maximum: MAX_INT32 } as const;
const source = {
  type: 'object',
  discriminator: { propertyName: 'from' },
  required: ['from'],
  oneOf: [
    tagged('from', 'history', { maxLength: upTo(100_000), offset: integer, pad: integer }, [
      'maxLength',
      'offset',
      'pad',
    ]),
    tagged('from', 'candidate', { offset: integer }, ['offset']),
    tagged('from', 'request_index', {}, []),
    tagged('from', 'request', { field: text }, ['field']),
    tagged('from', 'column', { column: text }, ['column']),
    tagged('from', 'vectors', { file: path, dimensions }, ['file', 'dimensions']),
    tagged('from', 'retrieval', {}, []),
    tagged('from', 'time', { boundaries: { type: 'array', items: { type: 'number' }, maxItems: 100_000 } }, [
      'boundaries',
    ]),
  ],
};

const binding = object(
  {
    name: text,
    dtype: { enum: ['float32', 'float64', 'int32', 'int64'] },
    dims: {
      type: 'array',
      items: { type: ['integer', 'string'], minimum: 1, maximum: MAX_INT32, maxLength: 1024 },
      minItems: 1,
      maxItems: 8,
    },
    per: { enum: ['request', 'candidate'] },
    source,
  },
  ['name', 'dtype', 'dims', 'per', 'source'],
);

const bindings = { type: 'array', items: binding, maxItems: 256 } as const;

const index = object(
  {
    kind: { enum: ['hnsw', 'flat'] },
    metric: { enum: ['dot', 'cosine'] },
    dimensions,
    vectors: path,
    file: path,
    m: upTo(1024),
    efConstruction: upTo(100_000),
    efSearch: upTo(100_000),
    space: { enum: ['ip', 'l2'] },
    recall: object({ k: upTo(100_000), recall: { type: 'number', minimum: 0, maximum: 1 } }, ['k', 'recall']),
  },
  ['kind', 'metric', 'dimensions', 'vectors'],
);

const retriever = {
  type: 'object',
  discriminator: { propertyName: 'kind' },
  required: ['kind'],
  oneOf: [
    tagged('kind', 'tower', { file: path, inputs: bindings, output: text, index }, [
      'file',
      'inputs',
      'output',
      'index',
    ]),
    tagged('kind', 'vector', { index }, ['index']),
    tagged('kind', 'text', { file: path }, ['file']),
  ],
};

const variant = object({ file: path, parent: text, recipe: {}, report: path }, ['file']);
const pipeline = object(
  {
    ranker: text,
    candidates: upTo(100_000),
    recommend: text,
    search: text,
    searchRankerWeight: { type: 'number', minimum: 0, maximum: 1 },
  },
  ['candidates'],
);

export const bundleSchema = object(
  {
    format: { const: 1 },
    name: text,
    provenance: { type: 'object' },
    catalogue: object(
      { file: path, idColumn: text, titleColumn: text, popularityColumn: text, rows: upTo(MAX_INT32) },
      ['file', 'idColumn', 'rows'],
    ),
    users: object({ file: path }, ['file']),
    contract: object({ inputs: { ...bindings, minItems: 1 }, output: text }, ['inputs', 'output']),
    retrievers: mapOf(retriever, 64),
    variants: mapOf(variant, 64),
    pipelines: { ...mapOf(pipeline, 1024), minProperties: 1 },
    defaultPipeline: text,
    files: mapOf(
      object(
        { sha256: { type: 'string', pattern: '^[0-9a-f]{64}$' }, bytes: { type: 'integer', minimum: 0 } },
        ['sha256', 'bytes'],
      ),
      100_000,
      path,
    ),
  },
  [
    'format',
    'name',
    'provenance',
    'catalogue',
    'retrievers',
    'variants',
    'pipelines',
    'defaultPipeline',
    'files',
  ],
) as Schema;

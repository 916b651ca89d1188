import type { Schema } from 'ajv';

/** JSON schema of bundle.json, the same as the types in `bundle.ts`. */

const text = { type: 'string', minLength: 1 } as const;
/** A path inside the bundle: relative, forward slashes, no step upwards. */
const path = { type: 'string', pattern: '^(?!/)(?!.*\\.\\.)[^\\\\]+$' } as const;
const count = { type: 'integer', minimum: 1 } as const;

function object(properties: Record<string, unknown>, required: readonly string[]): Record<string, unknown> {
  return { type: 'object', properties, required, additionalProperties: false };
}

function mapOf(values: unknown): Record<string, unknown> {
  return { type: 'object', additionalProperties: values, propertyNames: { minLength: 1 }, required: [] };
}

function tagged(
  tag: string,
  value: string,
  properties: Record<string, unknown>,
  required: readonly string[],
): unknown {
  return object({ [tag]: { const: value }, ...properties }, [tag, ...required]);
}

const integer = { type: 'integer' } as const;
const source = {
  type: 'object',
  discriminator: { propertyName: 'from' },
  required: ['from'],
  oneOf: [
    tagged('from', 'history', { maxLength: count, offset: integer, pad: integer }, [
      'maxLength',
      'offset',
      'pad',
    ]),
    tagged('from', 'candidate', { offset: integer }, ['offset']),
    tagged('from', 'request_index', {}, []),
    tagged('from', 'request', { field: text }, ['field']),
    tagged('from', 'column', { column: text }, ['column']),
    tagged('from', 'vectors', { file: path, dimensions: count }, ['file', 'dimensions']),
    tagged('from', 'retrieval', {}, []),
    tagged('from', 'time', { boundaries: { type: 'array', items: { type: 'number' } } }, ['boundaries']),
  ],
};

const binding = object(
  {
    name: text,
    dtype: { enum: ['float32', 'float64', 'int32', 'int64'] },
    dims: { type: 'array', items: { type: ['integer', 'string'] }, minItems: 1 },
    per: { enum: ['request', 'candidate'] },
    source,
  },
  ['name', 'dtype', 'dims', 'per', 'source'],
);

const index = object(
  {
    kind: { enum: ['hnsw', 'flat'] },
    metric: { enum: ['dot', 'cosine'] },
    dimensions: count,
    vectors: path,
    file: path,
    m: count,
    efConstruction: count,
    efSearch: count,
    space: { enum: ['ip', 'l2'] },
    recall: object({ k: count, recall: { type: 'number', minimum: 0, maximum: 1 } }, ['k', 'recall']),
  },
  ['kind', 'metric', 'dimensions', 'vectors'],
);

const retriever = {
  type: 'object',
  discriminator: { propertyName: 'kind' },
  required: ['kind'],
  oneOf: [
    tagged('kind', 'tower', { file: path, inputs: { type: 'array', items: binding }, output: text, index }, [
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
    candidates: count,
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
      { file: path, idColumn: text, titleColumn: text, popularityColumn: text, rows: count },
      ['file', 'idColumn', 'rows'],
    ),
    users: object({ file: path }, ['file']),
    contract: object({ inputs: { type: 'array', items: binding, minItems: 1 }, output: text }, [
      'inputs',
      'output',
    ]),
    retrievers: mapOf(retriever),
    variants: mapOf(variant),
    pipelines: { ...mapOf(pipeline), minProperties: 1 },
    defaultPipeline: text,
    files: mapOf(
      object(
        { sha256: { type: 'string', pattern: '^[0-9a-f]{64}$' }, bytes: { type: 'integer', minimum: 0 } },
        ['sha256', 'bytes'],
      ),
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

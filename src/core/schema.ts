import { createRequire } from 'node:module';
import type { Ajv, ErrorObject, Schema, ValidateFunction } from 'ajv';
import type * as AjvModule from 'ajv';
import { WhittleError, type ErrorCode } from './errors.js';

let loaded: Ajv | undefined;

/** Loaded by the first check: a runner checks nothing, and would pay for it with its start and its memory. */
function compile(schema: Schema): ValidateFunction {
  loaded ??= new (createRequire(import.meta.url)('ajv') as typeof AjvModule).Ajv({
    allErrors: false,
    useDefaults: true,
    strict: true,
    strictRequired: false,
    strictTypes: false,
    allowUnionTypes: true,
    discriminator: true,
    verbose: true,
  });
  return loaded.compile(schema);
}

/** Bounds that belong together, with the type they bound and how to say them. */
const BOUNDS = [
  {
    low: 'minimum',
    high: 'maximum',
    types: ['integer', 'number'],
    say: (range: string, type: string) => `${type} from ${range}`,
  },
  {
    low: 'minLength',
    high: 'maxLength',
    types: ['string'],
    say: (range: string) => `text of ${range} characters`,
  },
  { low: 'minItems', high: 'maxItems', types: ['array'], say: (range: string) => `list of ${range} entries` },
];

/** What the schema allows where the error is, in words. */
function allowedBy({ keyword, params, parentSchema, message }: ErrorObject): string {
  const rule = (parentSchema ?? {}) as Record<string, unknown>;
  const allowedValues = (params as Record<string, unknown>)['allowedValues'];
  if (Array.isArray(allowedValues)) return `one of ${allowedValues.join(', ')}`;
  if (keyword === 'additionalProperties') return `one of ${Object.keys(rule['properties'] ?? {}).join(', ')}`;
  const type = String(rule['type']);
  const bounds = BOUNDS.find(({ low, high, types }) => types.includes(type) && low in rule && high in rule);
  if (bounds !== undefined && ['type', bounds.low, bounds.high].includes(keyword))
    return bounds.say(`${String(rule[bounds.low])} to ${String(rule[bounds.high])}`, type);
  return message ?? 'another value';
}

/** What ajv says in words: the field, its value, what is allowed. */
function describe(error: ErrorObject, root: string): { field: string; value: unknown; allowed: string } {
  const path = error.instancePath.replaceAll('/', '.').replace(/^\./, '');
  const params = error.params as Record<string, unknown>;
  const extra = params['additionalProperty'] ?? params['missingProperty'];
  const field = [path, extra].filter((part) => part !== undefined && part !== '').join('.');
  const allowed = allowedBy(error);
  return { field: field === '' ? root : field, value: extra === undefined ? error.data : undefined, allowed };
}

/**
 * A check that fills in a JSON schema's defaults (in place) and narrows the type; compiled when it is first used.
 *
 * @param what names the checked thing in messages, for example `bundle.json`.
 * @throws the given code, with `field`, `value` and `allowed` in its details.
 */
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- the schema is the proof of T; a cast at every caller would say no more
export function schemaCheck<T>(schema: Schema, code: ErrorCode, what: string): (value: unknown) => T {
  let compiled: ValidateFunction | undefined;
  return (value) => {
    const validate = (compiled ??= compile(schema));
    if (validate(value)) return value as T;
    const first = validate.errors?.[0];
    const said =
      first === undefined ? { field: what, value, allowed: 'another value' } : describe(first, what);
    throw new WhittleError(code, `${what}: field ${said.field} is wrong; allowed: ${said.allowed}`, said);
  };
}

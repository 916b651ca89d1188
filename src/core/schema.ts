import { Ajv, type ErrorObject, type Schema } from 'ajv';
import { WhittleError, type ErrorCode } from './errors.js';

const ajv = new Ajv({
  allErrors: false,
  useDefaults: true,
  strict: true,
  strictRequired: false,
  strictTypes: false,
  allowUnionTypes: true,
  discriminator: true,
  verbose: true,
});

/** What the schema allows where the error is, in words. */
function allowedBy({ keyword, params, parentSchema, message }: ErrorObject): string {
  const rule = (parentSchema ?? {}) as Record<string, unknown>;
  const range = (low: string, high: string): string => `${String(rule[low])} to ${String(rule[high])}`;
  const has = (...keys: readonly string[]): boolean =>
    keys.includes(keyword) && keys.every((key) => key in rule);
  const allowedValues = (params as Record<string, unknown>)['allowedValues'];
  if (Array.isArray(allowedValues)) return `one of ${allowedValues.join(', ')}`;
  if (keyword === 'additionalProperties') return `one of ${Object.keys(rule['properties'] ?? {}).join(', ')}`;
  if (has('minimum', 'maximum')) return `${String(rule['type'])} from ${range('minimum', 'maximum')}`;
  if (has('minLength', 'maxLength')) return `text of ${range('minLength', 'maxLength')} characters`;
  if (has('minItems', 'maxItems')) return `list of ${range('minItems', 'maxItems')} entries`;
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
 * Compiles a JSON schema into a check that fills in defaults (in place) and narrows the type.
 *
 * @param what names the checked thing in messages, for example `bundle.json`.
 * @throws the given code, with `field`, `value` and `allowed` in its details.
 */
export function schemaCheck<T>(schema: Schema, code: ErrorCode, what: string): (value: unknown) => T {
  const validate = ajv.compile(schema);
  return (value) => {
    if (validate(value)) return value as T;
    const first = validate.errors?.[0];
    const said =
      first === undefined ? { field: what, value, allowed: 'another value' } : describe(first, what);
    throw new WhittleError(code, `${what}: field ${said.field} is wrong: ${said.allowed}`, said);
  };
}

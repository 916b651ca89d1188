import { schemaCheck, WhittleError } from '../../core/index.js';
import type { ColumnMapping } from '../../data/index.js';

const NEEDED: readonly (keyof ColumnMapping)[] = ['user', 'item', 'time'];
const OPTIONAL: readonly (keyof ColumnMapping)[] = ['rating', 'quantity', 'query', 'text'];

const checkMapping = schemaCheck<ColumnMapping>(
  {
    type: 'object',
    properties: Object.fromEntries(
      [...NEEDED, ...OPTIONAL].map((name) => [name, { type: 'string', minLength: 1 }]),
    ),
    required: [...NEEDED],
    additionalProperties: false,
  },
  'USAGE_INVALID',
  '--map',
);

/** The columns of a single file from pairs such as `user=customer`. @throws USAGE_INVALID naming the pair or field. */
export function parseMapping(pairs: readonly string[] | undefined): ColumnMapping | undefined {
  if (pairs === undefined) return undefined;
  const entries = pairs.map((pair): [string, string] => {
    const at = pair.indexOf('=');
    if (at > 0) return [pair.slice(0, at), pair.slice(at + 1)];
    throw new WhittleError('USAGE_INVALID', `--map ${pair}: expected a pair such as user=customer`, {
      field: 'map',
      value: pair,
      allowed: [...NEEDED, ...OPTIONAL].map((name) => `${name}=COLUMN`),
    });
  });
  return checkMapping(Object.fromEntries(entries));
}

/** The mapping that a bundle's data set was read with. */
export function recordedMapping(provenance: Readonly<Record<string, unknown>>): ColumnMapping | undefined {
  const { mapping } = provenance;
  return mapping === undefined ? undefined : checkMapping(mapping);
}

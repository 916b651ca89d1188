import type { BundleManifest, InputBinding, InputSource } from './bundle.js';
import { WhittleError } from './errors.js';

/** What one request may need for its inputs: more does not fit in a message to a runner. */
const MAX_REQUEST_BYTES = 256 * 2 ** 20;
/** The widest element type. */
const ELEMENT_BYTES = 8;
/** Nesting of provenance and recipes; code that walks them calls itself once a level. */
const MAX_DEPTH = 64;

const REQUEST_SOURCES: ReadonlySet<InputSource['from']> = new Set(['history', 'time', 'request']);

/**
 * Checks what the schema cannot say: that each input's shape fits its source, and that no request would need an
 * unreasonable amount of memory. Nothing is allocated by these numbers before they are checked here.
 * @throws BUNDLE_INVALID naming the field, its value and what is allowed.
 */
export function checkBundleLimits(manifest: BundleManifest): void {
  const { contract, retrievers, pipelines } = manifest;
  for (const [field, value] of Object.entries(manifest)) checkDepth(field, value);
  const inputs = contract?.inputs ?? [];
  for (const binding of inputs) checkBinding(`contract.inputs.${binding.name}`, binding);
  for (const [name, retriever] of Object.entries(retrievers)) {
    if (retriever.kind !== 'tower') continue;
    const field = `retrievers.${name}.inputs`;
    for (const binding of retriever.inputs) {
      checkBinding(`${field}.${binding.name}`, binding);
      if (binding.per !== 'request')
        throw refused(`${field}.${binding.name}`, 'per candidate', 'per request: a tower sees no candidates');
    }
    checkBytes(field, retriever.inputs, 0);
  }
  for (const [name, { ranker, candidates }] of Object.entries(pipelines))
    checkBytes(`pipelines.${name}.candidates`, ranker === undefined ? [] : inputs, candidates);
}

function checkBinding(field: string, binding: InputBinding): void {
  const { source, per } = binding;
  const expected = REQUEST_SOURCES.has(source.from) ? 'request' : 'candidate';
  if (per !== expected) throw refused(field, `per ${per} from ${source.from}`, `per ${expected}`);
  if (source.from === 'history' || source.from === 'time' || source.from === 'request_index') return;
  const elements = rowElements(binding);
  const allowed = allowedElements(source);
  if (!Number.isNaN(elements) && (allowed === undefined || elements === allowed)) return;
  const found = `a row of ${Number.isNaN(elements) ? 'unknown size' : `${String(elements)} elements`}`;
  throw refused(`${field}.dims`, found, `${String(allowed ?? 'a known number of')} elements a row`);
}

/** Elements of one row of what a source gives; undefined for any number. */
function allowedElements(source: InputSource): number | undefined {
  if (source.from === 'request') return undefined;
  return source.from === 'vectors' ? source.dimensions : 1;
}

/** NaN where a dimension behind the first is dynamic. */
function rowElements({ dims }: InputBinding): number {
  return dims.slice(1).reduce<number>((size, dim) => size * Number(dim), 1);
}

function checkBytes(field: string, inputs: readonly InputBinding[], candidates: number): void {
  let elements = 0;
  for (const binding of inputs) {
    const { per, source } = binding;
    const row = source.from === 'history' ? source.maxLength : rowElements(binding);
    elements += Number.isNaN(row) ? 1 : row * (per === 'request' ? 1 : candidates);
  }
  const bytes = elements * ELEMENT_BYTES;
  if (bytes > MAX_REQUEST_BYTES)
    throw refused(
      field,
      `inputs of ${String(bytes)} bytes a request`,
      `at most ${String(MAX_REQUEST_BYTES)} bytes`,
    );
}

function checkDepth(field: string, root: unknown): void {
  let level: unknown[] = [root];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MAX_DEPTH)
      throw refused(field, `more than ${String(MAX_DEPTH)} levels`, `${String(MAX_DEPTH)} levels`);
    level = level.flatMap(childrenOf);
  }
}

function childrenOf(value: unknown): unknown[] {
  return typeof value === 'object' && value !== null ? Object.values(value as Record<string, unknown>) : [];
}

function refused(field: string, value: string, allowed: string): WhittleError {
  return new WhittleError('BUNDLE_INVALID', `bundle.json: ${field}: ${value}; allowed: ${allowed}`, {
    field,
    value,
    allowed,
  });
}

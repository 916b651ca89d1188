import { WhittleError, type InputBinding, type InputSource } from '../../core/index.js';
import {
  namesCandidate,
  namesHistory,
  namesRequestIndex,
  namesRetrieval,
  plainName,
  sideOf,
} from './input-names.js';
import { idOffset, misfitOf, sourceOf, vectorsSource, type RowInput, type Supply } from './sources.js';

/** An input with the source that was found for it. */
export interface BoundInput {
  readonly binding: InputBinding;
  /** For people: what the binding follows from. */
  readonly why: string;
}

/** An input that somebody must decide on. */
export interface UnboundInput {
  readonly input: RowInput;
  readonly reason: string;
  /** Sources for `--bind`, the likeliest first. */
  readonly suggestions: readonly string[];
}

export interface Proposal {
  readonly bound: readonly BoundInput[];
  readonly unbound: readonly UnboundInput[];
}

interface Claim {
  readonly source: InputSource;
  readonly why: string;
}

/**
 * Finds the source of each input of a model: the one that `--bind` names, else the only one that its name, type and
 * shape point at. Inputs without one, with several, or after the same thing are left unbound.
 * @throws USAGE_INVALID for a `--bind` that does not fit.
 */
export function proposeContract(
  inputs: readonly RowInput[],
  supply: Supply,
  binds: ReadonlyMap<string, string>,
): Proposal {
  checkNames(inputs, binds);
  const claims = inputs.map((input): readonly Claim[] => {
    const bind = binds.get(input.name);
    if (bind !== undefined) return [{ source: sourceOf(bind, input, supply), why: `--bind ${bind}` }];
    return claimsOf(input, inputs, supply);
  });
  const bound: BoundInput[] = [];
  const unbound: UnboundInput[] = [];
  inputs.forEach((input, index) => {
    const own = claims[index] ?? [];
    const [claim] = own;
    const rivals = binds.has(input.name) ? [] : rivalsOf(index, inputs, claims);
    if (own.length === 1 && claim !== undefined && rivals.length === 0)
      bound.push({ binding: bindingOf(input, claim.source), why: claim.why });
    else
      unbound.push({
        input,
        reason: reasonOf(own, rivals, input, supply),
        suggestions: suggestionsFor(input, own, supply),
      });
  });
  return { bound, unbound };
}

function checkNames(inputs: readonly RowInput[], binds: ReadonlyMap<string, string>): void {
  const allowed = inputs.map(({ name }) => name);
  const unknown = [...binds.keys()].find((name) => !allowed.includes(name));
  if (unknown === undefined) return;
  throw new WhittleError(
    'USAGE_INVALID',
    `--bind ${unknown}: the model has no such input; it has ${allowed.join(', ')}`,
    { field: 'bind', value: unknown, allowed },
  );
}

/** Every rule that speaks for a source of the input; see docs/bring-your-own-model.md. */
function claimsOf(input: RowInput, inputs: readonly RowInput[], supply: Supply): Claim[] {
  const found = [
    requestIndexClaim(input),
    vectorClaim(input, inputs, supply),
    historyClaim(input, supply),
    candidateClaim(input, supply),
    ...columnClaims(input, supply),
    retrievalClaim(input, supply),
  ];
  return found.filter(
    (claim) => claim !== undefined && misfitOf(claim.source, input, supply) === undefined,
  ) as Claim[];
}

function requestIndexClaim({ name }: RowInput): Claim | undefined {
  return namesRequestIndex(name) ? { source: { from: 'request_index' }, why: 'its name' } : undefined;
}

/** An input as wide as the vectors: the item's where its name says so or it is the only one, else the query's. */
function vectorClaim(
  { name, dtype, width }: RowInput,
  inputs: readonly RowInput[],
  { vectorDimensions }: Supply,
): Claim | undefined {
  if (vectorDimensions === undefined || width !== vectorDimensions || !dtype.startsWith('float'))
    return undefined;
  const isOnly =
    inputs.filter((other) => other.width === width && other.dtype.startsWith('float')).length === 1;
  const side = sideOf(name) ?? (isOnly ? 'item' : undefined);
  const why = `its name, and ${width} wide as the vectors`;
  if (side === 'query') return { source: { from: 'request', field: 'query_vector' }, why };
  return side === 'item' ? { source: vectorsSource(vectorDimensions), why } : undefined;
}

function historyClaim(input: RowInput, supply: Supply): Claim | undefined {
  const { name, width, tableRows } = input;
  // A table without a row of its own for padding leaves open what fills a short history.
  if (!namesHistory(name) || width === undefined || idOffset(input, supply) !== 1) return undefined;
  const why = `its name; its table has ${tableRows} rows, one for padding`;
  return { source: { from: 'history', maxLength: width, offset: 1, pad: 0 }, why };
}

function candidateClaim(input: RowInput, supply: Supply): Claim | undefined {
  const offset = idOffset(input, supply);
  if (!namesCandidate(input.name) || offset === undefined) return undefined;
  return { source: { from: 'candidate', offset }, why: `its name; its table has ${input.tableRows} rows` };
}

function columnClaims({ name }: RowInput, { numberColumns }: Supply): Claim[] {
  const exact = numberColumns.filter((column) => column === name);
  const named =
    exact.length > 0 ? exact : numberColumns.filter((column) => plainName(column) === plainName(name));
  return named.map((column) => ({
    source: { from: 'column', column },
    why: `the column ${column} of the items`,
  }));
}

function retrievalClaim({ name, dtype }: RowInput, { retrieves }: Supply): Claim | undefined {
  if (!retrieves || !namesRetrieval(name) || !dtype.startsWith('float')) return undefined;
  return { source: { from: 'retrieval' }, why: 'its name' };
}

/** Names of other inputs that claim the same source. */
function rivalsOf(
  index: number,
  inputs: readonly RowInput[],
  claims: readonly (readonly Claim[])[],
): readonly string[] {
  const own = new Set(claims[index]?.map(({ source }) => JSON.stringify(source)));
  return inputs
    .filter(
      (_, other) => other !== index && claims[other]?.some(({ source }) => own.has(JSON.stringify(source))),
    )
    .map(({ name }) => name);
}

function reasonOf(
  own: readonly Claim[],
  rivals: readonly string[],
  { width, rowDims, dtype }: RowInput,
  { vectorDimensions }: Supply,
): string {
  if (own.length > 1) return 'several sources fit';
  if (rivals.length > 0) return `${rivals.join(' and ')} could be the same`;
  if (width === undefined) return `its dimension ${rowDims.join(', ')} is open`;
  if (width === 1 || width === vectorDimensions || !dtype.startsWith('float'))
    return 'nothing says what it is';
  return vectorDimensions === undefined
    ? 'if it is a vector of the item, give --vectors'
    : `it is ${width} wide, the vectors ${vectorDimensions}`;
}

/** What the shape allows, after what the rules said. */
function suggestionsFor(input: RowInput, own: readonly Claim[], supply: Supply): string[] {
  const columns = supply.numberColumns.map((column): InputSource => ({ from: 'column', column }));
  const maxLength = input.width ?? 50;
  const ids = [0, 1].map((offset): InputSource => ({ from: 'candidate', offset }));
  const { dtype, width = 1 } = input;
  const isVector = dtype.startsWith('float') && width > 1;
  const sides: InputSource[] = [
    vectorsSource(supply.vectorDimensions ?? 0),
    ...(width === supply.vectorDimensions || sideOf(input.name) === 'query'
      ? [{ from: 'request', field: 'query_vector' } as const]
      : []),
  ];
  const possible: InputSource[] = [
    ...own.map(({ source }) => source),
    ...(isVector ? sides : []),
    { from: 'history', maxLength, offset: 1, pad: 0 },
    ...ids,
    ...columns,
    ...(supply.retrieves && dtype.startsWith('float') ? [{ from: 'retrieval' } as const] : []),
    { from: 'request', field: input.name },
  ];
  const fitting = possible.filter((source) => misfitOf(source, input, supply) === undefined);
  return [...new Set(fitting.map(sourceText))];
}

/** A source as `--bind` takes it. */
export function sourceText(source: InputSource): string {
  switch (source.from) {
    case 'request':
      return `request:${source.field}`;
    case 'column':
      return `column:${source.column}`;
    case 'history':
      return `history:${source.maxLength}:${source.offset}:${source.pad}`;
    case 'candidate':
      return `candidate:${source.offset}`;
    case 'vectors':
    case 'retrieval':
    case 'request_index':
    case 'time':
      return source.from;
  }
}

function bindingOf({ name, dtype, rowDims }: RowInput, source: InputSource): InputBinding {
  const per = source.from === 'request' || source.from === 'history' ? 'request' : 'candidate';
  const rows = per === 'request' ? 'requests' : 'candidates';
  const dims = source.from === 'history' ? [source.maxLength] : rowDims;
  return { name, dtype, dims: [rows, ...dims], per, source };
}

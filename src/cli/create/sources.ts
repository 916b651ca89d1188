import { WhittleError, type DataType, type InputSource } from '../../core/index.js';

/** Where the item vectors of a created bundle are: one file for its index and its contract. */
export const VECTORS_FILE = 'indexes/items.f32';

/** A model's input, without its row dimension. */
export interface RowInput {
  readonly name: string;
  readonly dtype: DataType;
  /** Dimensions behind the first, which is the rows. */
  readonly rowDims: readonly (number | string)[];
  /** Numbers in a row; undefined where a dimension is dynamic. */
  readonly width: number | undefined;
  /** Rows of the table that the input's numbers look up in the model; undefined where none is seen. */
  readonly tableRows?: number;
}

/** What there is to feed a model from. */
export interface Supply {
  /** Items. */
  readonly rows: number;
  readonly numberColumns: readonly string[];
  /** Dimensions of the item vectors, where there are any. */
  readonly vectorDimensions?: number;
  /** Whether candidates come with a score of retrieval. */
  readonly retrieves: boolean;
}

const FORMS =
  'request:FIELD, history:LENGTH[:OFFSET[:PAD]], candidate[:OFFSET], column:NAME, vectors, retrieval or request_index';

/** The `--bind` options as pairs. @throws USAGE_INVALID */
export function parseBinds(binds: readonly string[]): ReadonlyMap<string, string> {
  const parsed = new Map<string, string>();
  for (const bind of binds) {
    // Names of inputs may hold "=", sources do not begin with one.
    const [, name, source] = /^(.+?)=([a-z_]+(?::.*)?)$/.exec(bind) ?? [];
    if (name === undefined || source === undefined || parsed.has(name))
      throw wrongBind(bind, 'each is INPUT=SOURCE, one an input');
    parsed.set(name, source);
  }
  return parsed;
}

/**
 * The source that a `--bind` names for an input.
 * @throws USAGE_INVALID where it is none, or none that can fill the input.
 */
export function sourceOf(text: string, input: RowInput, supply: Supply): InputSource {
  const [kind = '', ...parameters] = text.split(':');
  const source = readSource(kind, parameters, input, supply);
  if (source === undefined) throw wrongBind(`${input.name}=${text}`, `a source is ${FORMS}`);
  const misfit = misfitOf(source, input, supply);
  if (misfit !== undefined) throw wrongBind(`${input.name}=${text}`, misfit);
  return source;
}

function readSource(
  kind: string,
  parameters: readonly string[],
  input: RowInput,
  supply: Supply,
): InputSource | undefined {
  const rest = parameters.join(':');
  switch (kind) {
    case 'request':
      return rest === '' ? undefined : { from: 'request', field: rest };
    case 'column':
      return rest === '' ? undefined : { from: 'column', column: rest };
    case 'history':
      return readHistory(parameters, input, supply);
    case 'candidate':
      return readCandidate(parameters, input, supply);
    case 'vectors':
      return rest === '' ? vectorsSource(supply.vectorDimensions ?? 0) : undefined;
    case 'retrieval':
    case 'request_index':
      return rest === '' ? { from: kind } : undefined;
    default:
      return undefined;
  }
}

/** Vectors of the bundle's items. */
export function vectorsSource(dimensions: number): InputSource {
  return { from: 'vectors', file: VECTORS_FILE, dimensions };
}

function readHistory(
  parameters: readonly string[],
  input: RowInput,
  supply: Supply,
): InputSource | undefined {
  const [length = NaN, offset, pad] = parameters.map(wholeNumber);
  const maxLength = Number.isNaN(length) ? input.width : length;
  if (parameters.length > 3 || maxLength === undefined || maxLength < 1) return undefined;
  const known = offset ?? idOffset(input, supply);
  if (known === undefined) throw unknownOffset(input, supply, `history:${maxLength}`);
  if ([known, pad ?? 0].some((value) => Number.isNaN(value))) return undefined;
  return { from: 'history', maxLength, offset: known, pad: pad ?? 0 };
}

function readCandidate(
  parameters: readonly string[],
  input: RowInput,
  supply: Supply,
): InputSource | undefined {
  const [offset] = parameters.map(wholeNumber);
  const known = offset ?? idOffset(input, supply);
  if (known === undefined) throw unknownOffset(input, supply, 'candidate');
  return parameters.length > 1 || Number.isNaN(known) ? undefined : { from: 'candidate', offset: known };
}

function wholeNumber(text: string): number {
  return /^-?\d+$/.test(text) ? Number(text) : NaN;
}

/**
 * What the model's ids add to an item's row, by the table they look up: nothing where it has a row an item, one where
 * it has one more, whose first is for padding. Undefined where neither is so.
 */
export function idOffset({ tableRows }: RowInput, { rows }: Supply): number | undefined {
  if (tableRows === rows) return 0;
  return tableRows === rows + 1 ? 1 : undefined;
}

function unknownOffset({ name, tableRows }: RowInput, { rows }: Supply, kind: string): WhittleError {
  const table =
    tableRows === undefined ? 'the table they look up is not seen' : `its table has ${tableRows} rows`;
  const bind = `--bind ${name}=${kind}`;
  return new WhittleError(
    'USAGE_INVALID',
    `${bind}: say which id the first of the ${rows} items has in the model, ${bind}:0 or ${bind}:1 (${table})`,
    { field: 'bind', value: `${name}=${kind}`, allowed: [`${name}=${kind}:0`, `${name}=${kind}:1`] },
  );
}

const INTEGERS: readonly DataType[] = ['int32', 'int64'];

/** Why a source cannot fill an input; undefined where it can. */
export function misfitOf(source: InputSource, input: RowInput, supply: Supply): string | undefined {
  const { dtype, rowDims, width } = input;
  const shape = `${dtype} ${shapeText(input)}`;
  switch (source.from) {
    case 'history': {
      if (!INTEGERS.includes(dtype) || rowDims.length !== 1)
        return `a history is integers [rows, length], the input is ${shape}`;
      const fits = width === undefined || width === source.maxLength;
      return fits ? undefined : `the input takes a history of ${width}`;
    }
    case 'candidate':
      return INTEGERS.includes(dtype) && width === 1
        ? undefined
        : `an id is one integer, the input is ${shape}`;
    case 'request_index':
      return dtype === 'int64' && rowDims.length === 0
        ? undefined
        : `it is int64 [rows], the input is ${shape}`;
    case 'column': {
      if (!supply.numberColumns.includes(source.column))
        return `the items have no number column ${source.column}; they have ${supply.numberColumns.join(', ') || 'none'}`;
      return width === 1 ? undefined : `a column gives one number, the input is ${shape}`;
    }
    case 'vectors': {
      if (supply.vectorDimensions === undefined) return 'there are no vectors: give --vectors';
      return width === source.dimensions
        ? undefined
        : `the vectors have ${source.dimensions} numbers, the input is ${shape}`;
    }
    case 'retrieval':
      return width === 1 ? undefined : `it is one number, the input is ${shape}`;
    case 'request':
      return width === undefined ? `a request fills fixed dimensions, the input is ${shape}` : undefined;
    case 'time':
      return 'it cannot be given here';
  }
}

/** An input's shape for people: `[rows, 384]`. */
export function shapeText({ rowDims }: RowInput): string {
  return `[${['rows', ...rowDims].join(', ')}]`;
}

function wrongBind(bind: string, reason: string): WhittleError {
  return new WhittleError('USAGE_INVALID', `--bind ${bind}: ${reason}`, {
    field: 'bind',
    value: bind,
    allowed: reason,
  });
}

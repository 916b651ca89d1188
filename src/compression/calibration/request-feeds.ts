import { must, WhittleError } from '../../core/index.js';
import type { DataType, Tensor, TensorMap } from '../../core/index.js';
import { modelInputs } from '../../onnx/index.js';
import type { Model, ValueInfo } from '../../onnx/index.js';
import { didYouMean, nearestName } from '../nearest-name.js';
import { allowedValues, cellOf, dataOf, fits } from './cells.js';
import type { Cell } from './cells.js';

/** Requests that one feed holds. */
const MAX_ROWS = 64;

/** Columns of equal length by name, each cell a number, a text or nested lists of them. */
export type RequestColumns = Readonly<Record<string, readonly unknown[]>>;

/** An input as rows fill it. */
interface Filled {
  readonly name: string;
  readonly dtype: DataType;
  /** What a cell must have the shape of. */
  readonly dims: readonly (number | string)[];
  readonly cells: readonly Cell[];
}

/**
 * Feeds of recorded requests: one column an input, named like it, one row a request. Where all inputs have the same
 * dynamic first dimension a cell holds its row of it, and rows whose cells have the same shapes are stacked, at most 64
 * a feed. Else a row is a run of its own and a cell holds the whole tensor. Leading dimensions of 1 may be left out.
 *
 * @param source Names the rows in messages.
 * @throws DATASET_INVALID where columns do not match the inputs, or a cell has another shape or type, or is null.
 */
export function requestFeeds(model: Model, columns: RequestColumns, source: string): readonly TensorMap[] {
  const inputs = modelInputs(model.graph);
  checkNames(inputs, Object.keys(columns), source);
  const stacked = isStacked(inputs);
  const filled = inputs.map((input) =>
    filledInput(input, stacked, must(columns[input.name], input.name), source),
  );
  const rows = filled[0]?.cells.length ?? 0;
  const places = Array.from({ length: rows }, (_, row) => row);
  const groups = stacked ? groupsOf(filled, places) : places.map((row) => [row]);
  return groups.map((group) => feedOf(filled, group, stacked));
}

function isStacked(inputs: readonly ValueInfo[]): boolean {
  const first = inputs.map(({ dims }) => dims?.[0]);
  return typeof first[0] === 'string' && new Set(first).size === 1;
}

function checkNames(inputs: readonly ValueInfo[], found: readonly string[], source: string): void {
  const wanted = inputs.map(({ name }) => name);
  const missing = wanted.filter((name) => !found.includes(name));
  const unknown = found.filter((name) => !wanted.includes(name));
  if (missing.length + unknown.length === 0) return;
  const meant = unknown.map((name) => `${name}${didYouMean(nearestName(name, missing))}`);
  const wrong = [
    missing.length > 0 ? `no column for ${missing.join(', ')}` : '',
    unknown.length > 0 ? `no input for ${meant.join(', ')}` : '',
  ];
  throw new WhittleError(
    'DATASET_INVALID',
    `${source} must have one column an input: ${wrong.filter((part) => part !== '').join('; ')}. Inputs: ${wanted.join(', ')}. Columns: ${found.join(', ')}`,
    { source, missing, unknown, inputs: wanted, columns: found },
  );
}

function filledInput(
  { name, dtype, dims }: ValueInfo,
  stacked: boolean,
  values: readonly unknown[],
  source: string,
): Filled {
  const allowed = dtype === undefined ? undefined : allowedValues(dtype);
  if (dtype === undefined || dims === undefined || allowed === undefined)
    throw new WhittleError(
      'GRAPH_UNSUPPORTED',
      `Input ${name} (${dtype ?? 'no tensor'}) cannot be filled from a table`,
      { input: name, dtype, dims },
    );
  const wanted = stacked ? dims.slice(1) : dims;
  const cells = values.map((value, row) => {
    const refuse = (why: string): never => {
      throw new WhittleError(
        'DATASET_INVALID',
        `${source}: row ${row + 1}, column ${name}: ${why}; allowed: ${allowed} of shape [${wanted.join(', ')}]`,
        { source, row: row + 1, column: name, allowed, dims: wanted },
      );
    };
    const cell = cellOf(value, dtype);
    if (typeof cell === 'string') return refuse(cell);
    const wrong = cell.values.find((each) => !fits(each, dtype));
    if (wrong !== undefined) return refuse(`${shown(wrong)} is not ${dtype}`);
    return fitted(cell, wanted) ?? refuse(`its shape is [${cell.shape.join(', ')}]`);
  });
  return { name, dtype, dims: wanted, cells };
}

function shown(value: unknown): string {
  return typeof value === 'string' ? `"${value}"` : String(value);
}

/** The cell with leading ones added or taken away, so that it has as many dimensions as wanted. */
function fitted({ shape, values }: Cell, dims: readonly (number | string)[]): Cell | undefined {
  const core = shape.slice(Math.max(0, shape.length - dims.length));
  const dropped = shape.slice(0, shape.length - core.length);
  const padded = [...Array.from({ length: dims.length - core.length }, () => 1), ...core];
  const isRight = padded.every((length, axis) => typeof dims[axis] === 'string' || dims[axis] === length);
  return isRight && dropped.every((length) => length === 1) ? { shape: padded, values } : undefined;
}

/** Rows whose cells have the same shapes in all columns, in the order of the rows, cut to what a feed holds. */
function groupsOf(inputs: readonly Filled[], rows: readonly number[]): number[][] {
  const byShapes = new Map<string, number[]>();
  for (const row of rows) {
    const key = JSON.stringify(inputs.map(({ cells }) => cells[row]?.shape));
    const group = byShapes.get(key);
    if (group === undefined) byShapes.set(key, [row]);
    else group.push(row);
  }
  return [...byShapes.values()].flatMap((group) =>
    Array.from({ length: Math.ceil(group.length / MAX_ROWS) }, (_, part) =>
      group.slice(part * MAX_ROWS, (part + 1) * MAX_ROWS),
    ),
  );
}

function feedOf(inputs: readonly Filled[], rows: readonly number[], stacked: boolean): TensorMap {
  const tensors = inputs.map(({ name, dtype, cells }): readonly [string, Tensor] => {
    const chosen = rows.map((row) => must(cells[row], 'cell'));
    const { shape } = must(chosen[0], 'cell');
    const dims = stacked ? [rows.length, ...shape] : shape;
    return [
      name,
      {
        dtype,
        dims,
        data: dataOf(
          chosen.flatMap(({ values }) => values),
          dtype,
        ),
      },
    ];
  });
  return Object.fromEntries(tensors);
}

import { float32, must, WhittleError } from '../../core/index.js';
import { constantTensor } from '../../onnx/index.js';
import type { Model } from '../../onnx/index.js';
import { GraphEdit } from '../graph/graph-edit.js';
import type { NodeWriter } from '../graph/graph-edit.js';
import { layerName } from '../graph/dense-layers.js';
import { findLookups, leftLookups, namesOfTable } from '../graph/lookups.js';
import type { Lookup, LookupTable } from '../graph/lookups.js';
import { excludedBy, NAME_PATTERNS } from '../graph/name-patterns.js';
import { quantizeTable } from '../kernels/quantize-table.js';
import type { QuantizedTable, RowFormat } from '../kernels/quantize-table.js';
import { visibleGraph } from '../graph/scopes.js';
import type { LayerChange, LeftLayer, Pass, PassContext, PassDefinition } from '../pass.js';

export interface QuantizeTablesParameters {
  /** Bits of an element. Default 8. */
  readonly bits?: 8 | 4;
  /** 8 bits only: a scale a row without an offset. Default true; 4 bits always have an offset. */
  readonly symmetric?: boolean;
  /** Tables with fewer elements stay as they are. Default 4096. */
  readonly minWeights?: number;
  /** Names or patterns of tables, or of nodes that read them, that stay as they are. */
  readonly exclude?: readonly string[];
}

/** First ai.onnx versions whose operators do what is written here: broadcasting; Slice and Concat from the last axis. */
const MIN_OPSET = { 8: 7, 4: 11 } as const;

/**
 * Row-wise tables in 8 or 4 bits: codes, a float16 scale a row and (4 bits, or where asked) a float16 offset a row.
 * Lookups gather the rows' codes and scales and dequantize those alone, with standard operators. Handles Gather on axis
 * 0 and GatherND of whole rows with constant float32 or float16 tables of any rank from 2 on, in all graphs of a model;
 * a table that several lookups read is stored once.
 * @throws RECIPE_INVALID for 4 symmetric bits, and for a pattern in `exclude` that names nothing.
 */
export function quantizeTables(parameters: QuantizeTablesParameters = {}): Pass {
  const { bits = 8 } = parameters;
  const format = { bits, symmetric: parameters.symmetric ?? bits === 8 };
  if (bits === 4 && format.symmetric)
    throw new WhittleError('RECIPE_INVALID', 'quantize-tables: 4 bits are never symmetric', {
      field: 'symmetric',
      value: true,
      allowed: [false, 'absent'],
    });
  return (model, context) => Promise.resolve(quantizeAll(model, context, format, parameters));
}

function quantizeAll(
  model: Model,
  context: PassContext,
  format: RowFormat,
  parameters: QuantizeTablesParameters,
): Awaited<ReturnType<Pass>> {
  const { tables, left } = findLookups(model);
  const { exclude = [] } = parameters;
  const isExcluded = excludedBy(exclude, tables.map(namesOfTable), 'quantize-tables');
  const edit = new GraphEdit(model);
  const changed: LayerChange[] = [];
  const refused: LeftLayer[] = [];
  const total = tables.reduce((rows, table) => rows + table.rows, 0);
  let done = 0;
  for (const table of tables) {
    const small = tooSmall(model, table, format, parameters);
    const kept = isExcluded(namesOfTable(table)) ? 'it is excluded' : small;
    const quantized =
      kept === undefined
        ? quantizeTable(tensorOfTable(table), format, (rows) =>
            context.progress?.(done + rows, total, table.name),
          )
        : undefined;
    if (quantized !== undefined) changed.push(writeTable(edit, table, quantized, format));
    else refused.push(...leftLookups(table, kept ?? 'it has values that are not finite'));
    done += table.rows;
  }
  const report = { changed, left: [...left, ...refused] };
  return { model: changed.length === 0 ? model : edit.build(), report };
}

/** Why the table is not worth it, or cannot be written. */
function tooSmall(
  { opsets }: Model,
  { rows, width }: LookupTable,
  { bits }: RowFormat,
  { minWeights = 4096 }: QuantizeTablesParameters,
): string | undefined {
  const opset = opsets.get('') ?? 0;
  if (opset < MIN_OPSET[bits]) return `the model has opset ${opset}; this needs ${MIN_OPSET[bits]}`;
  if (rows * width < minWeights) return `${rows * width} elements are fewer than minWeights ${minWeights}`;
  return undefined;
}

function tensorOfTable({ lookups: [{ node, scope }] }: LookupTable): Parameters<typeof quantizeTable>[0] {
  return must(constantTensor(visibleGraph(scope), node.inputs[0] ?? ''), 'table');
}

/** Names of the stored parts of a table. */
interface Stored {
  readonly codes: string;
  readonly scales: string;
  readonly offsets?: string;
  /** Whether each half of a row has a scale and an offset of its own. */
  readonly halves: boolean;
  readonly columns?: { readonly deviations: string; readonly means: string };
}

function writeTable(
  edit: GraphEdit,
  table: LookupTable,
  quantized: QuantizedTable,
  format: RowFormat,
): LayerChange {
  const { name, dtype, rows, width, dims, lookups } = table;
  const { scales, offsets, columns } = quantized;
  const stored: Stored = {
    codes: edit.tensor(`${name}/int${format.bits}`, quantized.codes),
    scales: edit.tensor(`${name}/scales`, scales),
    ...(offsets && { offsets: edit.tensor(`${name}/offsets`, offsets) }),
    halves: scales.dims.at(-1) === 2,
    ...(columns && {
      columns: {
        deviations: edit.tensor(`${name}/deviations`, columns.deviations),
        means: edit.tensor(`${name}/means`, columns.means),
      },
    }),
  };
  for (const lookup of lookups) new LookupWriter(edit, lookup, stored, quantized.factor).write(table, format);
  const parts = [
    `${rows} × ${width} from ${dtype} to ${format.bits} bits`,
    `a float16 scale ${offsets ? 'and offset ' : ''}${stored.halves ? 'each half of ' : ''}a row`,
    ...(columns ? ['columns standardized'] : []),
    ...(lookups.length > 1 ? [`${lookups.length} lookups`] : []),
  ];
  const weights = dims.reduce((product, dim) => product * dim, 1);
  return {
    layer: name,
    change: parts.join(', '),
    weightsBefore: weights,
    weightsAfter: weights,
    relativeError: quantized.relativeError,
  };
}

/** Writes one lookup: what the rows' codes stand for. */
class LookupWriter {
  readonly #edit: GraphEdit;
  readonly #lookup: Lookup;
  readonly #nodes: NodeWriter;
  readonly #stored: Stored;
  readonly #factor: number;

  constructor(edit: GraphEdit, lookup: Lookup, stored: Stored, factor: number) {
    this.#edit = edit;
    this.#lookup = lookup;
    this.#nodes = edit.writer(layerName(lookup.node));
    this.#stored = stored;
    this.#factor = factor;
  }

  write({ dtype, dims }: LookupTable, { bits }: RowFormat): void {
    const { columns } = this.#stored;
    const bytes = this.#real(this.#gather(this.#stored.codes));
    const inner = dims.at(-1) ?? 0;
    const steps: [string, string][] = this.#stored.halves ? [] : this.#fitSteps();
    if (columns !== undefined) steps.push(['Mul', columns.deviations], ['Add', columns.means]);
    const output = must(this.#lookup.node.outputs[0], 'output');
    const last = dtype === 'float32' ? steps.pop() : undefined;
    let value = bits === 8 ? bytes : this.#joined(this.#unpack(bytes), inner);
    for (const [op, operand] of steps) value = this.#nodes.value(op, [value, operand]);
    if (last === undefined) this.#nodes.value('Cast', [value], { to: dtype }, output);
    else this.#nodes.value(last[0], [value, last[1]], {}, output);
    this.#edit.replace(this.#lookup.node, this.#nodes.nodes);
  }

  /** The lookup's own operator, on another table. */
  #gather(table: string): string {
    const { op, inputs, attributes } = this.#lookup.node;
    return this.#nodes.value(op, [table, ...inputs.slice(1)], Object.fromEntries(attributes));
  }

  #real(value: string): string {
    return this.#nodes.value('Cast', [value], { to: 'float32' });
  }

  #perRow(table: string): string {
    const value = this.#real(this.#gather(table));
    return this.#factor === 1 ? value : this.#nodes.value('Mul', [value, this.#scalar(this.#factor)]);
  }

  /** What turns codes into values, but for the columns. */
  #fitSteps(): [string, string][] {
    const { scales, offsets } = this.#stored;
    const steps: [string, string][] = [['Mul', this.#perRow(scales)]];
    if (offsets !== undefined) steps.push(['Add', this.#perRow(offsets)]);
    return steps;
  }

  /** Splits a byte, as a real number, into its halves, low first: arithmetic is all that every opset has on CPUs. */
  #unpack(bytes: string): [string, string] {
    const nodes = this.#nodes;
    const high = nodes.value('Floor', [nodes.value('Mul', [bytes, this.#scalar(1 / 16)])]);
    const low = nodes.value('Sub', [bytes, nodes.value('Mul', [high, this.#scalar(16)])]);
    return [low, high];
  }

  /** The halves side by side, each with its own scale and offset where they have them; cut to an odd width. */
  #joined(halves: [string, string], inner: number): string {
    const nodes = this.#nodes;
    let [low, high] = halves;
    for (const [op, both] of this.#stored.halves ? this.#fitSteps() : []) {
      low = nodes.value(op, [low, this.#slice(both, 0, 1)]);
      high = nodes.value(op, [high, this.#slice(both, 1, 2)]);
    }
    const joined = nodes.value('Concat', [low, high], { axis: -1 });
    return inner % 2 === 0 ? joined : this.#slice(joined, 0, inner);
  }

  /** Part of the last axis. */
  #slice(value: string, start: number, end: number): string {
    const bounds = [start, end, -1].map((bound) =>
      this.#edit.sharedTensor(`${this.#stored.codes}/${bound}`, {
        dtype: 'int64',
        dims: [1],
        data: BigInt64Array.of(BigInt(bound)),
      }),
    );
    return this.#nodes.value('Slice', [value, ...bounds]);
  }

  #scalar(value: number): string {
    return this.#edit.sharedTensor(`${this.#stored.codes}/${value}`, float32(Float32Array.of(value), []));
  }
}

/** As recipes name it. */
export const quantizeTablesPass: PassDefinition<QuantizeTablesParameters> = {
  summary:
    'Embedding tables in 8 or 4 bits, a scale a row: a quarter or a seventh of their bytes; only rows looked up are dequantized.',
  parameters: {
    bits: { enum: [8, 4] },
    symmetric: { type: 'boolean' },
    minWeights: { type: 'integer', minimum: 0 },
    exclude: NAME_PATTERNS,
  },
  create: quantizeTables,
};

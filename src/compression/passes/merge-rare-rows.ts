import { float32, must, WhittleError } from '../../core/index.js';
import { constantTensor } from '../../onnx/index.js';
import { countLookups } from '../calibration/lookup-counts.js';
import { layerName } from '../graph/dense-layers.js';
import { GraphEdit } from '../graph/graph-edit.js';
import { findLookups, leftLookups, namesOfTable } from '../graph/lookups.js';
import type { LookupTable } from '../graph/lookups.js';
import { excludedBy, NAME_PATTERNS } from '../graph/name-patterns.js';
import { mergeError, mergeRows } from '../kernels/merge-rows-kernel.js';
import { calibrationOf, SHARE } from '../pass.js';
import type { LayerChange, LeftLayer, Pass, PassDefinition } from '../pass.js';

export interface MergeRareRowsParameters {
  /** Rows that the calibration requests look up less often than this are merged. Default 1: rows never looked up. */
  readonly minCount?: number;
  /** Instead: the share of rows that are kept, the most frequent ones. */
  readonly keepShare?: number;
  /** The shared row: mean of the merged ones, equal or weighted by how often they were looked up. Default `weighted`. */
  readonly sharedRow?: 'mean' | 'weighted';
  /** Tables with fewer elements stay as they are. Default 4096. */
  readonly minWeights?: number;
  /** Names or patterns of tables, or of nodes that read them, that stay as they are. */
  readonly exclude?: readonly string[];
}

/** Of an entry of the map. */
const MAP_BYTES = 4;

const NOTE =
  'Ids that the calibration requests did not look up now share one row: keep a table whole that also serves ids they could not show, such as new items or the retriever’s.';

/**
 * Rows of tables that the calibration requests look up rarely, or never, become one shared row; an int32 map of ids
 * stands in front of the smaller table. Ties at the border of `keepShare` go to the lower row. Handles Gather on axis 0
 * of the main graph with constant float32 tables of any rank from 2 on; a table that would not shrink, or whose rare rows are not finite, is left.
 * @throws RECIPE_INVALID without calibration requests, where both minCount and keepShare are given, and for a pattern
 *   in `exclude` that names nothing.
 */
export function mergeRareRows(parameters: MergeRareRowsParameters = {}): Pass {
  const { minCount, keepShare, minWeights = 4096, exclude = [] } = parameters;
  if (minCount !== undefined && keepShare !== undefined)
    throw new WhittleError('RECIPE_INVALID', 'merge-rare-rows takes minCount or keepShare, not both', {
      field: 'keepShare',
      value: keepShare,
      allowed: 'absent beside minCount',
    });
  return async (model, context) => {
    const feeds = calibrationOf(context, 'merge-rare-rows', false);
    const { tables, left } = findLookups(model);
    const isExcluded = excludedBy(exclude, tables.map(namesOfTable), 'merge-rare-rows');
    const reasonOf = (table: LookupTable): string | undefined =>
      isExcluded(namesOfTable(table)) ? 'it is excluded' : unfit(table, minWeights);
    const fit: LookupTable[] = [];
    const refused: LeftLayer[] = [];
    for (const table of tables) {
      const reason = reasonOf(table);
      if (reason === undefined) fit.push(table);
      else refused.push(...leftLookups(table, reason));
    }
    const counts = await countLookups(model, fit, feeds, context);
    const edit = new GraphEdit(model);
    const changed: LayerChange[] = [];
    fit.forEach((table, index) => {
      const merged = mergeTable(edit, table, must(counts[index], 'counts'), parameters);
      if (typeof merged === 'string') refused.push(...leftLookups(table, merged));
      else changed.push(merged);
    });
    return {
      model: changed.length === 0 ? model : edit.build(),
      report: { changed, left: [...left, ...refused], ...(changed.length > 0 && { notes: [NOTE] }) },
    };
  };
}

function unfit({ dtype, rows, width, lookups }: LookupTable, minWeights: number): string | undefined {
  if (rows * width < minWeights) return `${rows * width} elements are fewer than minWeights ${minWeights}`;
  if (dtype !== 'float32') return `it is ${dtype}, not float32`;
  if (lookups.some(({ scope }) => scope.outer !== undefined)) return 'a subgraph looks it up';
  if (lookups.some(({ node }) => node.op !== 'Gather')) return 'it is looked up by GatherND';
  return undefined;
}

/** Writes the smaller table and its map; the reason where that does not pay. */
function mergeTable(
  edit: GraphEdit,
  table: LookupTable,
  counts: Float64Array,
  { minCount = 1, keepShare, sharedRow = 'weighted' }: MergeRareRowsParameters,
): LayerChange | string {
  const { name, rows, width, dims, lookups } = table;
  const isKept = keepShare === undefined ? atLeast(counts, minCount) : mostFrequent(counts, keepShare);
  const kept = isKept.reduce((sum, each) => sum + each, 0);
  const saved = (rows - kept - 1) * width * 4;
  if (saved <= MAP_BYTES * rows)
    return `too few rows are rare (${rows - kept} of ${rows}) to pay for a map of ids`;
  const values = must(constantTensor(edit.graph, lookups[0].node.inputs[0] ?? ''), 'table')
    .data as Float32Array;
  const merged = new Float32Array((kept + 1) * width);
  const map = new Int32Array(rows);
  const weights = sharedRow === 'weighted' ? counts : new Float64Array(rows);
  mergeRows(values, width, isKept, weights, merged, map);
  if (!merged.subarray(kept * width).every(Number.isFinite))
    return 'rows to merge have values that are not finite';
  writeLookups(
    edit,
    table,
    edit.tensor(`${name}/frequent`, float32(merged, [kept + 1, ...dims.slice(1)])),
    edit.tensor(`${name}/map`, { dtype: 'int32', dims: [rows], data: map }),
  );
  return {
    layer: name,
    change: describe(isKept, counts, kept),
    weightsBefore: rows * width,
    weightsAfter: (kept + 1) * width + rows,
    relativeError: mergeError(values, width, merged, map, counts),
  };
}

function writeLookups(edit: GraphEdit, { lookups }: LookupTable, table: string, map: string): void {
  for (const { node } of lookups) {
    const nodes = edit.writer(layerName(node));
    const place = nodes.value('Gather', [map, node.inputs[1] ?? '']);
    nodes.value('Gather', [table, place], {}, node.outputs[0]);
    edit.replace(node, nodes.nodes);
  }
}

function describe(isKept: Uint8Array, counts: Float64Array, kept: number): string {
  const all = counts.reduce((sum, count) => sum + count, 0);
  const rare = counts.reduce((sum, count, row) => (isKept[row] === 1 ? sum : sum + count), 0);
  const share = all === 0 ? 0 : (100 * rare) / all;
  return `${counts.length - kept} of ${counts.length} rows, with ${share.toFixed(2)} % of ${all} lookups, share one row`;
}

function atLeast(counts: Float64Array, minCount: number): Uint8Array {
  return Uint8Array.from(counts, (count) => (count >= minCount ? 1 : 0));
}

function mostFrequent(counts: Float64Array, share: number): Uint8Array {
  const order = Int32Array.from(counts, (_, row) => row);
  order.sort((a, b) => (counts[b] ?? 0) - (counts[a] ?? 0) || a - b);
  const isKept = new Uint8Array(counts.length);
  for (const row of order.subarray(0, Math.round(share * counts.length))) isKept[row] = 1;
  return isKept;
}

/** As recipes name it. */
export const mergeRareRowsPass: PassDefinition<MergeRareRowsParameters> = {
  summary:
    'Table rows that the calibration requests rarely look up share one row: a smaller table, a map of ids.',
  parameters: {
    minCount: { type: 'integer', minimum: 1 },
    keepShare: SHARE,
    sharedRow: { enum: ['mean', 'weighted'] },
    minWeights: { type: 'integer', minimum: 0 },
    exclude: NAME_PATTERNS,
  },
  create: mergeRareRows,
};

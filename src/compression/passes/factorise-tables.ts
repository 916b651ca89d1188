import { float32Data, must, WhittleError } from '../../core/index.js';
import { constantTensor } from '../../onnx/index.js';
import type { Model } from '../../onnx/index.js';
import { Float64Products } from '../calibration/float64-products.js';
import { columnSensitivity } from '../calibration/column-sensitivity.js';
import { countLookups } from '../calibration/lookup-counts.js';
import { GraphEdit } from '../graph/graph-edit.js';
import { findLookups, leftLookups, namesOfTable } from '../graph/lookups.js';
import type { LookupTable } from '../graph/lookups.js';
import { excludedBy, NAME_PATTERNS } from '../graph/name-patterns.js';
import { visibleGraph } from '../graph/scopes.js';
import { droppedShare, energyBetween, rankForEnergy } from '../kernels/low-rank-kernel.js';
import type { Spectrum } from '../low-rank/spectrum.js';
import { tableSpectrum } from '../low-rank/table-spectrum.js';
import { TableWriter } from '../low-rank/write-table.js';
import { greatestRankOf, rankStep } from '../low-rank/weight-group.js';
import { greedyRanks } from '../low-rank/allocate-ranks.js';
import type { RankChoice } from '../low-rank/allocate-ranks.js';
import type { Basis, LayerChange, LeftLayer, Pass, PassContext, PassDefinition } from '../pass.js';
import { BASIS, calibrationOf, SHARE } from '../pass.js';

/** At most one of the first three; default `weightShare` 0.5. */
export interface FactoriseTablesParameters {
  /** Rank as a share of the table's width, the same for every table. */
  readonly rankShare?: number;
  /** The least rank that keeps this share of each table's energy: of the outputs' movement that its rows can make. */
  readonly retainedEnergy?: number;
  /** Elements after over before, of the tables that the pass may change together; those that matter more keep more. */
  readonly weightShare?: number;
  /**
   * `activations` (the default): rows count by how often the calibration requests look them up, columns by how much the
   * outputs move with them. `weights`: all elements alike.
   */
  readonly basis?: Basis;
  /** Tables with fewer elements stay as they are. Default 8192. */
  readonly minWeights?: number;
  /** Names or patterns of tables, or of nodes that read them, that stay as they are. */
  readonly exclude?: readonly string[];
}

const RULES = ['rankShare', 'retainedEnergy', 'weightShare'] as const;
const DEFAULT_SHARE = 0.5;
const MIN_WEIGHTS = 8192;
/** First ai.onnx version whose Mul and Add broadcast. */
const MIN_OPSET = 7;

/**
 * Tables as products: `[rows, width]` becomes `[rows, rank]`, which is looked up, times `[rank, width]`. This is what
 * reducing a table's columns by principal components gives, without a mean. Rows that go straight into dense layers and
 * nowhere else stay `rank` wide: the second factor goes into those layers' weights, which lose inputs. Handles the
 * lookups of `findLookups` with float32 tables of two dimensions; a table that several lookups read is stored once.
 * @throws RECIPE_INVALID where two ways to choose the rank are given, or a budget is less than the least ranks take.
 */
export function factoriseTables(parameters: FactoriseTablesParameters = {}): Pass {
  const [first, second] = RULES.filter((rule) => parameters[rule] !== undefined);
  if (first !== undefined && second !== undefined)
    throw new WhittleError('RECIPE_INVALID', `factorise-tables takes ${first} or ${second}, not both`, {
      field: second,
      value: parameters[second],
      allowed: `absent beside ${first}`,
    });
  return (model, context) =>
    Float64Products.within(context.openSession, async (products) => {
      const { tables, left } = findTables(model, parameters);
      const { found, broken } = await decompose(model, tables, parameters, products, context);
      const ranks = ranksOf(found, parameters);
      const edit = new GraphEdit(model);
      const writer = new TableWriter(model, edit, products);
      const changed: LayerChange[] = [];
      const refused: LeftLayer[] = broken.flatMap((table) => leftLookups(table, 'it is not finite'));
      for (const [index, { table, spectrum }] of found.entries()) {
        context.progress?.(index, found.length, table.name);
        const rank = must(ranks[index], 'rank');
        if (typeof rank === 'string') refused.push(...leftLookups(table, rank));
        else {
          const error = droppedShare(spectrum.values, rank);
          changed.push(...(await writer.write(table, await spectrum.factors(rank), error)));
        }
      }
      const report = { changed, left: [...left, ...refused] };
      return { model: changed.length === 0 ? model : edit.build(), report };
    });
}

interface DecomposedTable {
  readonly table: LookupTable;
  readonly spectrum: Spectrum;
}

function findTables(
  model: Model,
  parameters: FactoriseTablesParameters,
): { tables: LookupTable[]; left: LeftLayer[] } {
  const found = findLookups(model);
  const excluded = excludedBy(parameters.exclude ?? [], found.tables.map(namesOfTable), 'factorise-tables');
  const opset = model.opsets.get('') ?? 0;
  const tooOld = opset < MIN_OPSET ? `the model has opset ${opset}; this needs ${MIN_OPSET}` : undefined;
  const tables: LookupTable[] = [];
  const refused: LeftLayer[] = [];
  for (const table of found.tables) {
    const reason = excluded(namesOfTable(table)) ? 'it is excluded' : (tooOld ?? unfit(table, parameters));
    if (reason === undefined) tables.push(table);
    else refused.push(...leftLookups(table, reason));
  }
  return { tables, left: [...found.left, ...refused] };
}

/** Why the table cannot be cut. */
function unfit(
  { dtype, dims, rows, width, lookups }: LookupTable,
  { minWeights = MIN_WEIGHTS, basis }: FactoriseTablesParameters,
): string | undefined {
  if (rows * width < minWeights) return `${rows * width} elements are fewer than minWeights ${minWeights}`;
  if (dtype !== 'float32') return `it is ${dtype}, not float32`;
  if (dims.length !== 2) return `it has ${dims.length} dimensions, not 2`;
  if (greatestRankOf(rows, width) === 0) return 'no rank needs fewer elements';
  const unseen = basis !== 'weights' && lookups.some(({ scope }) => scope.outer !== undefined);
  return unseen ? 'it is looked up inside a subgraph, where the ids cannot be seen' : undefined;
}

/** Spectra of the tables, one table in memory at a time; those that are not finite have none. */
async function decompose(
  model: Model,
  tables: readonly LookupTable[],
  { basis }: FactoriseTablesParameters,
  products: Float64Products,
  context: PassContext,
): Promise<{ found: DecomposedTable[]; broken: LookupTable[] }> {
  const feeds = basis === 'weights' ? undefined : calibrationOf(context, 'factorise-tables');
  const counts = feeds && (await countLookups(model, tables, feeds, context));
  const found: DecomposedTable[] = [];
  const broken: LookupTable[] = [];
  for (const [index, table] of tables.entries()) {
    const read = (): Float32Array => tableValues(table);
    const weights = {
      // As if every row had been looked up once more, so that one which no request happened to ask for counts too.
      rows: new Float64Array(table.rows).map((_, row) => 1 + (counts?.[index]?.[row] ?? 0)),
      columns: feeds
        ? await columnSensitivity(model, table, read(), feeds, context)
        : new Float64Array(table.width).fill(1),
    };
    const spectrum = await tableSpectrum(read, weights, products, context.openSession);
    if (spectrum === undefined) broken.push(table);
    else found.push({ table, spectrum });
  }
  return { found, broken };
}

function tableValues({ lookups: [{ node, scope }] }: LookupTable): Float32Array {
  return float32Data(must(constantTensor(visibleGraph(scope), node.inputs[0] ?? ''), 'table'));
}

/** For each table the rank to cut to, or why it stays. */
function ranksOf(
  found: readonly DecomposedTable[],
  parameters: FactoriseTablesParameters,
): (number | string)[] {
  const { rankShare, retainedEnergy, weightShare = DEFAULT_SHARE } = parameters;
  if ((rankShare ?? retainedEnergy) !== undefined)
    return found.map((decomposed) => rankOf(decomposed, parameters));
  const choices = found.map(({ table: { rows, width }, spectrum: { values } }): RankChoice => ({
    values,
    rankStep: rankStep(rows, width),
    greatestRank: greatestRankOf(rows, width),
    rankCost: rows + width,
    wholeCost: rows * width,
    // Energies of all tables are in the same unit, that of the outputs.
    importance: energyBetween(values, 0, values.length),
  }));
  const budget = weightShare * choices.reduce((sum, { wholeCost }) => sum + wholeCost, 0);
  const reason = 'other tables lose less for the same budget';
  return greedyRanks(choices, budget, 'factorise-tables').map((rank) => rank ?? reason);
}

function rankOf(
  { table: { rows, width }, spectrum: { values } }: DecomposedTable,
  { rankShare = 0, retainedEnergy }: FactoriseTablesParameters,
): number | string {
  const step = rankStep(rows, width);
  const wanted =
    retainedEnergy === undefined
      ? Math.round((rankShare * width) / step)
      : Math.ceil(rankForEnergy(values, retainedEnergy) / step);
  const rank = step * Math.max(1, wanted);
  if (rank <= greatestRankOf(rows, width)) return rank;
  return `rank ${rank} would need ${rank * (rows + width)} elements, the table has ${rows * width}`;
}

/** As recipes name it. */
export const factoriseTablesPass: PassDefinition<FactoriseTablesParameters> = {
  summary:
    'Tables as products of a thin table and a small matrix, which goes into the dense layers behind where it can: smaller tables.',
  parameters: {
    rankShare: SHARE,
    retainedEnergy: SHARE,
    weightShare: SHARE,
    basis: BASIS,
    minWeights: { type: 'integer', minimum: 0 },
    exclude: NAME_PATTERNS,
  },
  create: factoriseTables,
};

import { createRandom, float32, must } from '../../core/index.js';
import type { Session, TensorMap } from '../../core/index.js';
import { freshName, GraphBuilder, namesInUse } from '../../onnx/index.js';
import type { Model } from '../../onnx/index.js';
import { GraphEdit } from '../graph/graph-edit.js';
import { layerName } from '../graph/dense-layers.js';
import type { LookupTable } from '../graph/lookups.js';
import { columnSizes } from '../kernels/low-rank-kernel.js';
import { outputErrors } from '../measure/output-error.js';
import type { Outputs } from '../measure/output-error.js';
import type { PassContext } from '../pass.js';
import { withSession } from './session.js';

/** Runs for each feed: the columns of a wider table are moved in groups. */
const MAX_GROUPS = 256;
/** Feeds that are run for every group. */
const MAX_FEEDS = 2;
/** Elements are moved by this share of their column's size: little enough that outputs follow about linearly. */
const STEP = 0.1;
/** Columns that move outputs less than this share of the most sensitive one's count as if they did. */
const FLOOR = 1e-3;

/**
 * How much the outputs of a model move, in their own sizes, for each unit that the elements of a table's column move:
 * `[width]`, measured by moving one column at a time by the same amount up or down, at random for each row. All ones
 * where no column moves them.
 * @param table one whose lookups all stand in the main graph.
 */
export async function columnSensitivity(
  model: Model,
  table: LookupTable,
  values: Float32Array,
  feeds: readonly TensorMap[],
  context: PassContext,
): Promise<Float64Array> {
  const { width } = table;
  const sizes = columnSizes(values, width);
  const sensitivity = new Float64Array(width);
  const size = Math.ceil(width / MAX_GROUPS);
  const { moved, input } = withMovedRows(model, table, context.seed);
  await withSession(moved, context.openSession, async (session) => {
    const outputsAt = (step: Float32Array): Promise<Outputs> =>
      runAll(session, feeds.slice(0, MAX_FEEDS), { [input]: float32(step) });
    const reference = await outputsAt(new Float32Array(width));
    for (let first = 0; first < width; first += size) {
      context.progress?.(first, width, `columns of ${table.name}`);
      const last = Math.min(first + size, width);
      const step = new Float32Array(width);
      const length = STEP * Math.sqrt(sizes.subarray(first, last).reduce((sum, own) => sum + own ** 2, 0));
      step.fill(length, first, last);
      const errors = Object.values(outputErrors(reference, await outputsAt(step)));
      const energy = errors.reduce((sum, { relativeRms = 0 }) => sum + relativeRms ** 2, 0);
      sensitivity.fill(Math.sqrt(energy / (last - first)) / length, first, last);
    }
  });
  const most = sensitivity.reduce((a, b) => Math.max(a, b), 0);
  return most > 0 ? sensitivity.map((own) => Math.max(own, FLOOR * most)) : sensitivity.fill(1);
}

async function runAll(session: Session, feeds: readonly TensorMap[], extra: TensorMap): Promise<Outputs> {
  const outputs: TensorMap[] = [];
  for (const feed of feeds) outputs.push(await session.run({ ...feed, ...extra }));
  return outputs;
}

/** The model with an input `[width]` that is added to each row looked up, with the row's own sign. */
function withMovedRows(
  model: Model,
  { rows, width, lookups }: LookupTable,
  seed: number,
): { moved: Model; input: string } {
  const random = createRandom(seed);
  const builder = GraphBuilder.from(model);
  const input = builder.input(freshName(namesInUse(model.graph), 'step'), 'float32', [width]);
  const edit = new GraphEdit(builder.build());
  const signs = Float32Array.from({ length: rows }, () => 2 * random.integer(2) - 1);
  const table = edit.tensor('signs', float32(signs, [rows, 1]));
  for (const { node } of lookups) {
    const nodes = edit.writer(layerName(node));
    const attributes = Object.fromEntries(node.attributes);
    const gather = (from: string): string =>
      nodes.value(node.op, [from, ...node.inputs.slice(1)], attributes);
    const change = nodes.value('Mul', [gather(table), input]);
    nodes.value('Add', [gather(must(node.inputs[0], 'table')), change], {}, node.outputs[0]);
    edit.replace(node, nodes.nodes);
  }
  return { moved: edit.build(), input };
}

import { must } from '../../core/index.js';
import type { TensorMap } from '../../core/index.js';
import { GraphBuilder, removeUnused } from '../../onnx/index.js';
import type { Model } from '../../onnx/index.js';
import type { LookupTable } from '../graph/lookups.js';
import type { PassContext } from '../pass.js';
import { withSession } from './session.js';

/**
 * How often each row of each table was looked up on the calibration feeds: `[rows]` a table, in the order given.
 * @param tables tables whose lookups all stand in the main graph.
 */
export async function countLookups(
  model: Model,
  tables: readonly LookupTable[],
  feeds: readonly TensorMap[],
  { openSession, progress }: PassContext,
): Promise<readonly Float64Array[]> {
  const counts = tables.map(({ rows }) => new Float64Array(rows));
  if (tables.length === 0) return counts;
  const { tapped, outputs } = withIds(model, tables);
  await withSession(tapped, openSession, async (session) => {
    const inputs = new Set(session.inputs.map(({ name }) => name));
    for (const [index, feed] of feeds.entries()) {
      const wanted = Object.entries(feed).filter(([name]) => inputs.has(name));
      const results = await session.run(Object.fromEntries(wanted));
      outputs.forEach((names, table) => {
        for (const name of names) addCounts(must(counts[table], 'counts'), must(results[name], name).data);
      });
      progress?.(index + 1, feeds.length, 'counting lookups');
    }
  });
  return counts;
}

function addCounts(counts: Float64Array, ids: Iterable<unknown>): void {
  for (const value of ids) {
    const id = Number(value);
    // Negative ids count from the end.
    const row = id < 0 ? id + counts.length : id;
    counts[row] = (counts[row] ?? 0) + 1;
  }
}

/** The model cut down to the ids of the lookups, with the names of the ids' outputs for each table. */
function withIds(model: Model, tables: readonly LookupTable[]): { tapped: Model; outputs: string[][] } {
  const builder = GraphBuilder.from({ ...model, graph: { ...model.graph, outputs: [] } });
  const outputs = tables.map(({ lookups }) =>
    lookups.map(({ node }) => builder.output(builder.op.Identity(node.inputs[1] ?? ''))),
  );
  const built = builder.build();
  return { tapped: { ...built, graph: removeUnused(built.graph) }, outputs };
}

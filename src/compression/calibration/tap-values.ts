import { float32Data, must } from '../../core/index.js';
import type { OpenSession, TensorMap } from '../../core/index.js';
import { GraphBuilder, removeUnused } from '../../onnx/index.js';
import type { Model } from '../../onnx/index.js';
import { withSession } from './session.js';

/** Runs the model on a feed and answers the named values, row-major, whatever their shape. */
export type ReadTaps = (feed: TensorMap) => Promise<ReadonlyMap<string, Float32Array>>;

/** Opens a model to read float32 values from inside of it, for the time of `use`. */
export async function withTaps<Result>(
  model: Model,
  names: readonly string[],
  openSession: OpenSession,
  use: (read: ReadTaps) => Promise<Result>,
): Promise<Result> {
  const { tapped, outputs } = tappedModel(model, names);
  return withSession(tapped, openSession, (session) => {
    const inputs = new Set(session.inputs.map((input) => input.name));
    return use(async (feed) => {
      // The model cut down may not read every input any more.
      const taken = Object.fromEntries(Object.entries(feed).filter(([name]) => inputs.has(name)));
      const results = await session.run(taken, outputs);
      return new Map(
        outputs.map((output, at) => [must(names[at], 'name'), float32Data(must(results[output], output))]),
      );
    });
  });
}

/** The model cut down to the named values. */
function tappedModel(model: Model, names: readonly string[]): { tapped: Model; outputs: string[] } {
  const builder = GraphBuilder.from({ ...model, graph: { ...model.graph, outputs: [] } });
  // A value of its own for each: ONNX Runtime may fuse away the one that is asked for.
  const outputs = names.map((name) => builder.output(builder.op.Reshape(name, [-1]), 'float32'));
  const built = builder.build();
  return { tapped: { ...built, graph: removeUnused(built.graph) }, outputs };
}

import { elementCount, float32Data, must } from '../../core/index.js';
import type { OpenSession, Session, Tensor, TensorMap } from '../../core/index.js';
import { GraphBuilder, removeUnused } from '../../onnx/index.js';
import type { Model } from '../../onnx/index.js';
import { withSession } from './session.js';

/** Runs the model on a feed and answers the named values, row-major, whatever their shape. */
type ReadTaps = (feed: TensorMap) => Promise<ReadonlyMap<string, Float32Array>>;

/** Opens a model to read float32 values from inside of it, for the time of `use`. */
export function withTaps<Result>(
  model: Model,
  names: readonly string[],
  openSession: OpenSession,
  use: (read: ReadTaps) => Promise<Result>,
): Promise<Result> {
  // A value of its own for each: ONNX Runtime may fuse away the one that is asked for.
  const tap = (builder: GraphBuilder, name: string): string => builder.op.Reshape(name, [-1]);
  const useTaps = (run: RunTapped): Promise<Result> =>
    use(async (feed) => new Map([...(await run(feed))].map(([name, values]) => [name, float32Data(values)])));
  return withOutputs(model, names, tap, openSession, useTaps);
}

/** Dimensions of values on a feed. */
export function valueDims(
  model: Model,
  names: readonly string[],
  feed: TensorMap,
  openSession: OpenSession,
): Promise<ReadonlyMap<string, readonly number[]>> {
  const tap = (builder: GraphBuilder, name: string): string => builder.op.Shape(name);
  const readDims = async (run: RunTapped): Promise<Map<string, readonly number[]>> =>
    new Map([...(await run(feed))].map(([name, { data }]) => [name, Array.from(data, Number)]));
  return withOutputs(model, names, tap, openSession, readDims);
}

/** Values in groups, each of which takes at most `maxBytes` in a run where one value does not take more by itself. */
export function tapGroups(
  dims: ReadonlyMap<string, readonly number[]>,
  maxBytes: number,
): readonly (readonly string[])[] {
  const groups: string[][] = [];
  let bytes = Infinity;
  for (const [name, shape] of dims) {
    const own = Float32Array.BYTES_PER_ELEMENT * elementCount(shape);
    if (bytes + own > maxBytes) {
      groups.push([]);
      bytes = 0;
    }
    groups.at(-1)?.push(name);
    bytes += own;
  }
  return groups;
}

type RunTapped = (feed: TensorMap) => Promise<ReadonlyMap<string, Tensor>>;

/** The model cut down to one new value for each name, which `tap` adds. */
function withOutputs<Result>(
  model: Model,
  names: readonly string[],
  tap: (builder: GraphBuilder, name: string) => string,
  openSession: OpenSession,
  use: (run: RunTapped) => Promise<Result>,
): Promise<Result> {
  const builder = GraphBuilder.from({ ...model, graph: { ...model.graph, outputs: [] } });
  const outputs = names.map((name) => builder.output(tap(builder, name)));
  const built = builder.build();
  const tapped = { ...built, graph: removeUnused(built.graph) };
  const open = (session: Session): Promise<Result> => {
    const inputs = new Set(session.inputs.map((input) => input.name));
    return use(async (feed) => {
      // The model cut down may not read every input any more.
      const taken = Object.fromEntries(Object.entries(feed).filter(([name]) => inputs.has(name)));
      const results = await session.run(taken, outputs);
      const found = outputs.map((output) => must(results[output], output));
      return new Map(found.map((tensor, at) => [must(names[at], 'name'), tensor]));
    });
  };
  return withSession(tapped, openSession, open);
}

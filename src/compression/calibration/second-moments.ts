import { float32Data, must } from '../../core/index.js';
import type { Session, TensorMap } from '../../core/index.js';
import { GraphBuilder, removeUnused } from '../../onnx/index.js';
import type { Model } from '../../onnx/index.js';
import { GramAccumulator } from './gram-accumulator.js';
import type { PassContext } from '../pass.js';
import { withSession } from './session.js';

/** A value of the graph and the length of its last axis. */
export interface Tap {
  readonly value: string;
  readonly width: number;
}

/**
 * `Xᵀ X` over all rows that a value had on the calibration requests, with a column of ones appended to its
 * `[rows, width]`: entry `[width, width]` is the number of rows, and the last row holds the sums of the columns.
 */
export interface SecondMoment {
  readonly width: number;
  readonly rows: number;
  /** `[width + 1, width + 1]`. */
  readonly gram: Float64Array;
}

/** Gram matrices that one run may hand back. */
const MAX_BYTES_PER_RUN = 2 ** 28;

/**
 * Second moments of values on the calibration feeds.
 */
export async function secondMoments(
  model: Model,
  taps: readonly Tap[],
  feeds: readonly TensorMap[],
  context: PassContext,
): Promise<ReadonlyMap<string, SecondMoment>> {
  const moments = new Map<string, SecondMoment>();
  for (const group of groupsOf(taps)) {
    const sums = await runGroup(model, group, feeds, context);
    group.forEach((tap, index) => {
      const gram = must(sums[index], 'second moment');
      moments.set(tap.value, { width: tap.width, rows: must(gram.at(-1), 'number of rows'), gram });
    });
  }
  return moments;
}

/** `gram` without the column of ones. */
export function withoutOnes({ gram, width }: SecondMoment): Float64Array {
  const inner = new Float64Array(width * width);
  for (let i = 0; i < width; i++)
    inner.set(gram.subarray(i * (width + 1), i * (width + 1) + width), i * width);
  return inner;
}

function groupsOf(taps: readonly Tap[]): Tap[][] {
  const groups: Tap[][] = [];
  let bytes = Infinity;
  for (const tap of new Map(taps.map((tap) => [tap.value, tap])).values()) {
    const own = 8 * (tap.width + 1) ** 2;
    if (bytes + own > MAX_BYTES_PER_RUN) {
      groups.push([]);
      bytes = 0;
    }
    groups.at(-1)?.push(tap);
    bytes += own;
  }
  return groups;
}

async function runGroup(
  model: Model,
  taps: readonly Tap[],
  feeds: readonly TensorMap[],
  { openSession }: PassContext,
): Promise<Float64Array[]> {
  const { tapped, outputs } = withRows(model, taps);
  const grams = await Promise.all(taps.map((tap) => GramAccumulator.open(tap.width, openSession)));
  try {
    await withSession(tapped, openSession, async (session) => {
      for (const feed of feeds) {
        const results = await session.run(onlyInputs(feed, session), outputs);
        for (const [index, gram] of grams.entries()) {
          const output = must(outputs[index], 'output');
          await gram.add(float32Data(must(results[output], output)));
        }
      }
    });
    for (const gram of grams) await gram.flush();
    return grams.map((gram) => gram.sum);
  } finally {
    await Promise.all(grams.map((gram) => gram.close()));
  }
}

/** What of a feed the session takes: a model cut down may not read every input any more. */
function onlyInputs(feed: TensorMap, session: Session): TensorMap {
  const wanted = new Set(session.inputs.map((input) => input.name));
  return Object.fromEntries(Object.entries(feed).filter(([name]) => wanted.has(name)));
}

/** The model cut down to the rows of `taps`. */
function withRows(model: Model, taps: readonly Tap[]): { tapped: Model; outputs: string[] } {
  const builder = GraphBuilder.from({ ...model, graph: { ...model.graph, outputs: [] } });
  // A value of its own for each: ONNX Runtime may fuse away the one that is asked for.
  const outputs = taps.map(({ value, width }) =>
    builder.output(builder.op.Reshape(value, [-1, width]), 'float32'),
  );
  const built = builder.build();
  return { tapped: { ...built, graph: removeUnused(built.graph) }, outputs };
}

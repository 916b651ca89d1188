import { FIXED } from './channel-units.js';
import type { ChannelUnits, Labels } from './channel-units.js';
import type { Lane } from './channel-trace.js';

/** Axes `[from, to)`. */
interface AxisRange {
  readonly from: number;
  readonly to: number;
}

/**
 * Where the channels of a value are after its elements were reshaped from `before` to `after`: the output axis along
 * which whole slices go when channels go. An axis that keeps them apart is taken before one that lumps them; of those
 * that lump them (heads, and places within a head) the first, each of whose slices becomes one unit. Undefined where
 * there is none.
 */
export function reshapedLane(
  units: ChannelUnits,
  lane: Lane,
  before: readonly number[],
  after: readonly number[],
): Lane | undefined {
  const ranges = alignedRanges(before, after, lane.axis);
  if (ranges === undefined) return undefined;
  const flat = flatLabels(units, lane, before, ranges.input);
  const axes = Array.from(
    { length: ranges.output.to - ranges.output.from },
    (_, at) => ranges.output.from + at,
  );
  const candidates = axes
    .filter((axis) => keepsOrder(lane, before, ranges.input, after, ranges.output, axis))
    .map((axis) => ({ axis, slices: slicesAlong(flat, after, ranges.output, axis) }));
  const apart = candidates.find(
    ({ slices }) => slices.length > 1 && slices.every((slice) => slice.size === 1),
  );
  const chosen = apart ?? candidates.find(({ slices }) => separable(slices));
  if (chosen === undefined) return undefined;
  for (const slice of chosen.slices) lump(units, slice);
  const labels = Int32Array.from(chosen.slices, (slice) =>
    slice.has(FIXED) ? FIXED : ([...slice][0] ?? FIXED),
  );
  return { axis: chosen.axis, labels };
}

/** The smallest ranges of axes around `axis` that hold the same elements before and after. */
function alignedRanges(
  before: readonly number[],
  after: readonly number[],
  axis: number,
): { input: AxisRange; output: AxisRange } | undefined {
  let [i, o] = [0, 0];
  while (i < before.length && o < after.length) {
    const start = { i, o };
    let [left, right] = [before[i++] ?? 1, after[o++] ?? 1];
    while (left !== right)
      if (left < right && i < before.length) left *= before[i++] ?? 1;
      else if (o < after.length) right *= after[o++] ?? 1;
      else return undefined;
    if (axis >= start.i && axis < i)
      return { input: { from: start.i, to: i }, output: { from: start.o, to: o } };
  }
  return undefined;
}

/**
 * Whether slices along an output axis are made of whole runs of channels whatever the lengths of the outer axes are:
 * shapes are those of one run, in which others may fit by chance.
 */
function keepsOrder(
  { axis, labels }: Lane,
  before: readonly number[],
  input: AxisRange,
  after: readonly number[],
  output: AxisRange,
  outputAxis: number,
): boolean {
  const run = periodOf(labels) * product(before, axis + 1, input.to);
  const slice = product(after, outputAxis + 1, output.to);
  return run % slice === 0 && ((after[outputAxis] ?? 1) * slice) % run === 0;
}

/** Length after which the labels repeat. */
function periodOf(labels: Labels): number {
  const { length } = labels;
  for (let period = 1; period < length; period++)
    if (length % period === 0 && labels.every((label, index) => label === labels[index % period]))
      return period;
  return length;
}

function product(dims: readonly number[], from: number, to: number): number {
  return dims.slice(from, to).reduce((all, length) => all * length, 1);
}

/** Unit of each element within the range, in row-major order. */
function flatLabels(
  units: ChannelUnits,
  { axis, labels }: Lane,
  dims: readonly number[],
  { from, to }: AxisRange,
): Labels {
  const inner = product(dims, axis + 1, to);
  const roots = labels.map((label) => (label === FIXED ? FIXED : units.root(label)));
  return Int32Array.from(
    { length: product(dims, from, to) },
    (_, at) => roots[Math.floor(at / inner) % roots.length] ?? FIXED,
  );
}

/** The labels in each slice along `axis`. */
function slicesAlong(flat: Labels, dims: readonly number[], { to }: AxisRange, axis: number): Set<number>[] {
  const length = dims[axis] ?? 1;
  const inner = product(dims, axis + 1, to);
  const slices = Array.from({ length }, () => new Set<number>());
  flat.forEach((label, at) => slices[Math.floor(at / inner) % length]?.add(label));
  return slices;
}

/** Whether slices that share labels share all of them, and there are several kinds. */
function separable(slices: readonly ReadonlySet<number>[]): boolean {
  const owner = new Map<number, ReadonlySet<number>>();
  for (const slice of slices)
    for (const label of slice) {
      const known = owner.get(label) ?? slice;
      owner.set(label, known);
      if (known.size !== slice.size || !slice.has([...known][0] ?? FIXED)) return false;
    }
  return new Set(owner.values()).size > 1;
}

function lump(units: ChannelUnits, slice: ReadonlySet<number>): void {
  const [first, ...others] = slice;
  if (slice.has(FIXED)) units.block(slice, 'a Reshape puts its neurons together with fixed ones');
  else if (first !== undefined) for (const other of others) units.joinUnits(first, other);
}

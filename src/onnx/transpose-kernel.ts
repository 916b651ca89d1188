/** Elements of any type, by their size. */
export type Words = Uint8Array | Uint16Array | Uint32Array;

/** Side of the squares that are turned one after the other, so that both sides stay in the cache. */
const BLOCK = 32;

/**
 * Writes `source`, row-major of shape `dims`, into `target` with its axes in the order `perm`, a permutation of them:
 * `target.shape[i] = dims[perm[i]]`. Both are the caller's and must not overlap.
 */
export function transposeInto(
  source: Words,
  dims: readonly number[],
  perm: readonly number[],
  target: Words,
): void {
  if (source.length === 0) return;
  const rank = dims.length;
  if (rank === 0) {
    target.set(source);
    return;
  }
  const sourceSteps = stridesOf(dims);
  const targetStrides = stridesOf(perm.map((axis) => dims[axis] as number));
  const targetSteps = new Array<number>(rank).fill(0);
  perm.forEach((axis, at) => (targetSteps[axis] = targetStrides[at] as number));
  // Rows run along the axis that is last in the target, columns along the one that is last in the source.
  const rowAxis = perm[rank - 1] as number;
  const columnAxis = rank - 1;
  const rows = rowAxis === columnAxis ? 1 : (dims[rowAxis] as number);
  const columns = dims[columnAxis] as number;
  const rowStep = sourceSteps[rowAxis] as number;
  const columnStep = targetSteps[columnAxis] as number;
  const outer = perm.filter((axis) => axis !== rowAxis && axis !== columnAxis);
  const visit = (depth: number, from: number, to: number): void => {
    if (depth === outer.length) {
      turn(source, from, rowStep, target, to, columnStep, rows, columns);
      return;
    }
    const axis = outer[depth] as number;
    const count = dims[axis] as number;
    for (let index = 0; index < count; index++)
      visit(
        depth + 1,
        from + index * (sourceSteps[axis] as number),
        to + index * (targetSteps[axis] as number),
      );
  };
  visit(0, 0, 0);
}

/** `target[to + column · columnStep + row] = source[from + row · rowStep + column]`. */
function turn(
  source: Words,
  from: number,
  rowStep: number,
  target: Words,
  to: number,
  columnStep: number,
  rows: number,
  columns: number,
): void {
  for (let rowStart = 0; rowStart < rows; rowStart += BLOCK) {
    const rowEnd = Math.min(rows, rowStart + BLOCK);
    for (let columnStart = 0; columnStart < columns; columnStart += BLOCK) {
      const columnEnd = Math.min(columns, columnStart + BLOCK);
      for (let row = rowStart; row < rowEnd; row++) {
        let read = from + row * rowStep + columnStart;
        let write = to + columnStart * columnStep + row;
        for (let column = columnStart; column < columnEnd; column++) {
          target[write] = source[read] as number;
          read++;
          write += columnStep;
        }
      }
    }
  }
}

/** Elements from one index of each axis to the next. */
function stridesOf(dims: readonly number[]): number[] {
  const strides = new Array<number>(dims.length).fill(1);
  for (let axis = dims.length - 2; axis >= 0; axis--)
    strides[axis] = (strides[axis + 1] as number) * (dims[axis + 1] as number);
  return strides;
}

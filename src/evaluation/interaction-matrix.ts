/** A sparse binary matrix: the columns of row r are `columns[starts[r]]` up to `columns[starts[r + 1]]`, distinct. */
export interface InteractionMatrix {
  readonly rows: number;
  readonly width: number;
  readonly starts: Int32Array;
  readonly columns: Int32Array;
}

/** Users × items from the users' histories; an item that repeats counts once. */
export function interactionMatrix(histories: readonly Int32Array[], items: number): InteractionMatrix {
  const distinct = histories.map((history) => Int32Array.from(new Set(history)));
  const starts = new Int32Array(histories.length + 1);
  distinct.forEach((history, row) => {
    starts[row + 1] = (starts[row] ?? 0) + history.length;
  });
  const columns = new Int32Array(starts[histories.length] ?? 0);
  distinct.forEach((history, row) => {
    columns.set(history, starts[row]);
  });
  return { rows: histories.length, width: items, starts, columns };
}

/** The same matrix with rows and columns exchanged; columns ascend within a row. */
export function transpose({ rows, width, starts, columns }: InteractionMatrix): InteractionMatrix {
  const counts = new Int32Array(width + 1);
  for (const column of columns) counts[column + 1] = (counts[column + 1] ?? 0) + 1;
  for (let column = 1; column <= width; column++)
    counts[column] = (counts[column] ?? 0) + (counts[column - 1] ?? 0);
  const next = counts.slice();
  const transposed = new Int32Array(columns.length);
  for (let row = 0; row < rows; row++)
    for (const column of rowOf({ rows, width, starts, columns }, row)) {
      const place = next[column] ?? 0;
      transposed[place] = row;
      next[column] = place + 1;
    }
  return { rows: width, width: rows, starts: counts, columns: transposed };
}

/** The columns of a row, as a view. */
export function rowOf({ starts, columns }: InteractionMatrix, row: number): Int32Array {
  return columns.subarray(starts[row], starts[row + 1]);
}
